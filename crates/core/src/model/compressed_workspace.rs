//! Desired state of one workspace, compressed while it is not in use.
//!
//! A daemon holds many workspaces and needs only those that change.

use super::compress::{compress, decompress};
use super::{DesiredWorkspace, WorkspaceRef};
use crate::mutex::lock;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// A [`DesiredWorkspace`], plain or compressed.
///
/// Frequently used parts are kept uncompressed.
pub struct CompressedWorkspace {
    /// The workspace and scope.
    pub unit: WorkspaceRef,
    /// The alias from `wellspring.toml`, if any.
    pub alias: Option<String>,
    /// Files that declare the workspace, sorted.
    pub files: Vec<Arc<str>>,
    /// Number of sources.
    pub count: usize,
    contents: WorkspaceContents,
}

enum WorkspaceContents {
    Plain(Arc<DesiredWorkspace>),
    Compressed {
        bytes: Box<[u8]>,
        /// Length of the JSON in bytes.
        length: usize,
        handle: Mutex<OpenHandle>,
    },
}

enum OpenHandle {
    /// The original, kept for the first caller of `open`.
    Original(Arc<DesiredWorkspace>),
    /// The last opened value, while a caller still holds it.
    LastOpened(Weak<DesiredWorkspace>),
}

impl CompressedWorkspace {
    /// Wraps a workspace without compressing it.
    #[must_use]
    pub fn uncompressed(desired: Arc<DesiredWorkspace>) -> Self {
        Self::new(desired, WorkspaceContents::Plain)
    }

    /// Compresses a workspace.
    #[must_use]
    pub fn compress(desired: Arc<DesiredWorkspace>) -> Self {
        let folded = serde_json::to_vec(&*desired).ok().and_then(|json| Some((json.len(), compress(&json)?)));
        // All parts can be serialised; if one ever cannot, the workspace stays uncompressed.
        let Some((length, bytes)) = folded else { return Self::uncompressed(desired) };
        let opened = |desired| Mutex::new(OpenHandle::LastOpened(Arc::downgrade(&desired)));
        Self::new(desired, |desired| WorkspaceContents::Compressed { bytes, length, handle: opened(desired) })
    }

    /// Compresses a workspace and keeps the original for the first caller of `open`.
    #[must_use]
    pub fn compress_keep_open(desired: Arc<DesiredWorkspace>) -> Self {
        let mut folded = Self::compress(Arc::clone(&desired));
        if let WorkspaceContents::Compressed { handle: opened, .. } = &mut folded.contents {
            *opened = Mutex::new(OpenHandle::Original(desired));
        }
        folded
    }

    fn new(
        desired: Arc<DesiredWorkspace>,
        whole: impl FnOnce(Arc<DesiredWorkspace>) -> WorkspaceContents,
    ) -> Self {
        Self {
            unit: desired.unit.clone(),
            alias: desired.alias.clone(),
            files: desired.files.clone(),
            count: desired.sources.len(),
            contents: whole(desired),
        }
    }

    /// Returns the complete workspace, decompressed if necessary.
    #[must_use]
    pub fn open(&self) -> Arc<DesiredWorkspace> {
        match &self.contents {
            WorkspaceContents::Plain(workspace) => Arc::clone(workspace),
            WorkspaceContents::Compressed { bytes, length, handle: opened } => {
                let mut opened = lock(opened);
                let workspace = match &*opened {
                    OpenHandle::Original(workspace) => Arc::clone(workspace),
                    OpenHandle::LastOpened(workspace) => {
                        workspace.upgrade().unwrap_or_else(|| Arc::new(decompress_workspace(bytes, *length)))
                    }
                };
                *opened = OpenHandle::LastOpened(Arc::downgrade(&workspace));
                workspace
            }
        }
    }

    /// Returns true if both have the same content.
    #[must_use]
    pub fn content_eq(&self, other: &Self) -> bool {
        match (&self.contents, &other.contents) {
            (
                WorkspaceContents::Compressed { bytes, .. },
                WorkspaceContents::Compressed { bytes: others, .. },
            ) => bytes == others,
            _ => *self.open() == *other.open(),
        }
    }

    /// Returns the display name of the workspace: its alias, else its id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.unit.workspace.as_str())
    }

    /// Returns all names of the workspace: alias (or id) and id.
    #[must_use]
    pub fn names(&self) -> [&str; 2] {
        [self.label(), self.unit.workspace.as_str()]
    }
}

#[expect(
    clippy::expect_used,
    reason = "these bytes were made from such a workspace, and never left this process"
)]
fn decompress_workspace(bytes: &[u8], length: usize) -> DesiredWorkspace {
    let json = decompress(bytes, length).expect("what was deflated here inflates");
    serde_json::from_slice(&json).expect("what was written as JSON here is read back")
}

impl fmt::Debug for CompressedWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.open(), f)
    }
}

impl PartialEq for CompressedWorkspace {
    fn eq(&self, other: &Self) -> bool {
        self.content_eq(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Definition, DesiredSource, Policy, Scope, SortedMap, SourceKey, SourceLocation, SourceName, TestSpec,
        WorkspaceId,
    };

    fn workspace(sources: usize, host: &str) -> Arc<DesiredWorkspace> {
        let source = |n: usize| DesiredSource {
            key: SourceKey::parse(&format!("s{n:05}")).unwrap(),
            name: SourceName::parse(&format!("s{n:05}")).unwrap(),
            definition: Arc::new(Definition {
                kind: "database".to_owned(),
                connection_config: SortedMap::default(),
                metadata: [("host", format!("{host}{n}").into())].into(),
            }),
            protect: false,
            adopt: None,
            sync: None,
            sync_options: serde_json::Map::new(),
            suspend: None,
            test: TestSpec::default(),
            at: SourceLocation { file: "a.toml".into(), line: 3 },
        };
        Arc::new(DesiredWorkspace {
            unit: WorkspaceRef { workspace: WorkspaceId::parse("ws").unwrap(), scope: Scope::default() },
            alias: None,
            policy: Policy::default(),
            sources: (0..sources).map(source).collect(),
            moved: Vec::new(),
            removed: Vec::new(),
            files: vec!["a.toml".into()],
        })
    }

    #[test]
    fn what_is_folded_opens_as_it_was_and_is_open_once_for_all() {
        for sources in [0, 1, 1_000] {
            let whole = workspace(sources, "host");
            let folded = CompressedWorkspace::compress(Arc::clone(&whole));
            assert!(Arc::ptr_eq(&folded.open(), &whole), "it is held open here");
            let expected = DesiredWorkspace::clone(&whole);
            drop(whole);
            let opened = folded.open();
            assert_eq!(*opened, expected);
            assert!(Arc::ptr_eq(&folded.open(), &opened));
            assert_eq!((folded.count, folded.label()), (sources, "ws"));
        }
    }

    #[test]
    fn what_is_soon_opened_is_held_until_then_and_no_longer() {
        let whole = workspace(10, "host");
        let folded = CompressedWorkspace::compress_keep_open(Arc::clone(&whole));
        let held = Arc::downgrade(&whole);
        drop(whole);
        let opened = folded.open();
        assert!(held.upgrade().is_some_and(|held| Arc::ptr_eq(&held, &opened)));
        drop(opened);
        assert!(held.upgrade().is_none());
        assert_eq!(*folded.open(), *workspace(10, "host"));
    }

    #[test]
    fn folded_or_open_what_says_the_same_is_the_same() {
        let both = |host| {
            [
                CompressedWorkspace::compress(workspace(3, host)),
                CompressedWorkspace::uncompressed(workspace(3, host)),
            ]
        };
        for one in both("a") {
            assert!(both("a").iter().all(|other| one == *other));
            assert!(both("b").iter().all(|other| one != *other));
        }
    }
}
