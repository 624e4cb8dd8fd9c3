//! Sources on the platform that are neither declared nor managed.

use crate::model::compress::{compress, decompress};
use crate::model::{SourceId, SourceName};
use serde::{Deserialize, Serialize};

/// A source on the platform that is neither declared nor managed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmanaged {
    /// Name on the platform.
    pub name: SourceName,
    /// Type, if returned.
    pub kind: Option<String>,
    /// Id, if returned.
    pub id: Option<SourceId>,
}

/// The unmanaged sources of a workspace, sorted by name.
///
/// A platform may list 200,000 of them in each of many workspaces, and the plans of all workspaces are in memory before
/// the first write. Therefore all but the first are compressed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnmanagedSources {
    first: Vec<Unmanaged>,
    chunks: Vec<Box<[u8]>>,
    compressed: usize,
}

/// Number of sources that are not compressed, and of those in each compressed chunk.
const CHUNK: usize = 1_000;

impl UnmanagedSources {
    /// Returns the number of sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.compressed
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the sources; decompresses one chunk at a time.
    pub fn iter(&self) -> impl Iterator<Item = Unmanaged> + use<'_> {
        self.first.iter().cloned().chain(self.chunks.iter().flat_map(|small| {
            let text = decompress(small, CHUNK * 64).unwrap_or_default();
            serde_json::from_slice::<Vec<Unmanaged>>(&text).unwrap_or_default()
        }))
    }

    /// Keeps the sources for which `keep` returns true.
    pub fn retain(&mut self, keep: impl Fn(&Unmanaged) -> bool) {
        *self = self.iter().filter(keep).collect();
    }

    fn push_chunk(&mut self, chunk: &mut Vec<Unmanaged>) {
        let text = serde_json::to_vec(chunk).ok();
        match text.and_then(|text| compress(&text)) {
            Some(small) => {
                self.compressed += chunk.len();
                self.chunks.push(small);
                chunk.clear();
            }
            None => self.first.append(chunk),
        }
    }
}

impl FromIterator<Unmanaged> for UnmanagedSources {
    fn from_iter<I: IntoIterator<Item = Unmanaged>>(sources: I) -> Self {
        let mut sources = sources.into_iter();
        let mut all = Self { first: sources.by_ref().take(CHUNK).collect(), ..Self::default() };
        let mut chunk = Vec::new();
        for source in sources {
            chunk.push(source);
            if chunk.len() == CHUNK {
                all.push_chunk(&mut chunk);
            }
        }
        if !chunk.is_empty() {
            all.push_chunk(&mut chunk);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_number_of_sources_comes_back_in_order() {
        for number in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
            let source = |n: usize| Unmanaged {
                name: SourceName::parse(&format!("s{n}")).unwrap(),
                kind: n.is_multiple_of(2).then(|| "database".to_owned()),
                id: SourceId::from_json(&if n.is_multiple_of(3) {
                    json!(n)
                } else {
                    json!(format!("id-{n}"))
                }),
            };
            let all: Vec<Unmanaged> = (0..number).map(source).collect();
            let mut kept: UnmanagedSources = all.iter().cloned().collect();
            assert_eq!(kept.len(), number);
            assert_eq!(kept.iter().collect::<Vec<_>>(), all);
            kept.retain(|source| source.kind.is_some());
            assert_eq!(kept.len(), number.div_ceil(2));
        }
    }
}
