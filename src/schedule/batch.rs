//! Which sources share one call.

use crate::model::{NonEmpty, Unit};
use std::collections::HashMap;
use std::time::Duration;

/// What one sync call says once for all its sources. Equal terms may share a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms<'a> {
    /// The workspace and scope the call addresses.
    pub unit: &'a Unit,
    /// The call's `sync_options`.
    pub options: &'a serde_json::Map<String, serde_json::Value>,
    /// The longest the call may take.
    pub timeout: Option<Duration>,
}

/// One sync call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// What all members have in common.
    pub terms: Terms<'a>,
    /// The members' indices, in the order given.
    pub members: NonEmpty<usize>,
}

/// Groups sources, given by index, into calls of at most `max` (at least one).
///
/// Stable: calls stand in the order of their first member, members in the order given.
#[must_use]
pub fn batches<'a>(sources: impl IntoIterator<Item = (usize, Terms<'a>)>, max: usize) -> Vec<Batch<'a>> {
    let mut groups: Vec<(Terms<'a>, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<Terms<'a>, usize> = HashMap::new();
    for (index, terms) in sources {
        let group = *group_of.entry(terms).or_insert(groups.len());
        match groups.get_mut(group) {
            Some((_, members)) => members.push(index),
            None => groups.push((terms, vec![index])),
        }
    }
    let calls = groups.iter().flat_map(|(terms, members)| {
        let of_one_call = members.chunks(max.max(1)).map(<[usize]>::to_vec);
        of_one_call
            .filter_map(|members| NonEmpty::from_vec(members).map(|members| Batch { terms: *terms, members }))
    });
    calls.collect()
}
