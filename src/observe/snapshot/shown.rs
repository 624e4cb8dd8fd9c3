//! Shown properties of a declared source.
//!
//! A snapshot of thousands of workspaces cannot hold the complete declarations.

use crate::model::{
    DesiredSource, DesiredWorkspace, SourceKey, SourceLocation, SourceName, Suspend, SyncSpec,
};
use std::sync::Arc;

/// Shown properties of one source; equal parts are shared with its neighbours.
#[derive(Debug, Clone)]
pub struct ShownSources {
    pub key: SourceKey,
    pub name: SourceName,
    pub kind: Arc<str>,
    /// Position of the source's table.
    pub at: SourceLocation,
    pub suspend: Option<Box<Suspend>>,
    pub sync: Option<Arc<SyncSpec>>,
}

impl ShownSources {
    /// Extracts the properties of every source of a workspace.
    pub(super) fn all(desired: &DesiredWorkspace) -> Arc<[Self]> {
        let mut all: Vec<Self> = Vec::with_capacity(desired.sources.len());
        for source in &desired.sources {
            all.push(Self::of(source, all.last()));
        }
        all.into()
    }

    fn of(source: &DesiredSource, before: Option<&Self>) -> Self {
        let kind = &source.definition.kind;
        let kind = match before.filter(|before| *before.kind == **kind) {
            Some(before) => Arc::clone(&before.kind),
            None => kind.as_str().into(),
        };
        let file = match before.filter(|before| before.at.file == source.at.file) {
            Some(before) => Arc::clone(&before.at.file),
            None => Arc::clone(&source.at.file),
        };
        let sync = source.sync.as_ref().map(|sync| {
            match before.and_then(|before| before.sync.as_ref()).filter(|before| ***before == *sync) {
                Some(before) => Arc::clone(before),
                None => Arc::new(sync.clone()),
            }
        });
        Self {
            key: source.key.clone(),
            name: source.name.clone(),
            kind,
            at: SourceLocation { file, line: source.at.line },
            suspend: source.suspend.clone().map(Box::new),
            sync,
        }
    }
}
