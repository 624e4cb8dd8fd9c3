//! Groups sources into sync requests.

use crate::model::{NonEmpty, WorkspaceRef};
use std::collections::HashMap;
use std::time::Duration;

/// Parameters of a sync request; sources with equal terms may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchKey<'a> {
    /// Workspace and scope of the request.
    pub workspace: &'a WorkspaceRef,
    /// `sync_options` of the request.
    pub options: &'a serde_json::Map<String, serde_json::Value>,
    /// Maximum duration of the request.
    pub timeout: Option<Duration>,
}

/// One sync request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncBatch<'a> {
    /// Terms that all members share.
    pub key: BatchKey<'a>,
    /// Indices of the members, in input order.
    pub members: NonEmpty<usize>,
}

/// Groups sources, given by index, into requests of at most `max` (at least one).
///
/// Stable: members keep their input order, groups are ordered by their first member, and the
/// requests of a group are adjacent.
#[must_use]
pub fn batches<'a>(
    sources: impl IntoIterator<Item = (usize, BatchKey<'a>)>,
    max: usize,
) -> Vec<SyncBatch<'a>> {
    let mut groups: Vec<(BatchKey<'a>, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<BatchKey<'a>, usize> = HashMap::new();
    for (index, terms) in sources {
        let group = *group_of.entry(terms).or_insert(groups.len());
        match groups.get_mut(group) {
            Some((_, members)) => members.push(index),
            None => groups.push((terms, vec![index])),
        }
    }
    let calls = groups.iter().flat_map(|(terms, members)| {
        let of_one_call = members.chunks(max.max(1)).map(<[usize]>::to_vec);
        of_one_call.filter_map(|members| {
            NonEmpty::from_vec(members).map(|members| SyncBatch { key: *terms, members })
        })
    });
    calls.collect()
}

#[cfg(test)]
mod tests {
    use super::{BatchKey, batches};
    use crate::model::{Scope, WorkspaceId, WorkspaceRef};
    use std::time::Duration;

    #[test]
    fn calls_keep_the_order_given_and_the_limit() {
        let workspace = WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
        let options = serde_json::Map::new();
        let quick = BatchKey { workspace: &workspace, options: &options, timeout: None };
        let slow = BatchKey { timeout: Some(Duration::from_secs(60)), ..quick };
        let sources = [(7, slow), (3, quick), (5, slow), (1, quick), (9, slow)];
        let calls = batches(sources, 2);
        let members: Vec<_> = calls.iter().map(|call| call.members.as_slice()).collect();
        assert_eq!(members, [&[7, 5][..], &[9], &[3, 1]]);
        assert_eq!(calls[2].key, quick);
        assert_eq!(batches(sources, 0).len(), 5);
        assert!(batches([], 10).is_empty());
    }
}
