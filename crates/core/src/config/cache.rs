//! Cache of earlier loads.
//!
//! Unchanged files are not parsed and unchanged workspaces not assembled again. Valid for unchanged settings.
//! Only files without diagnostics are cached: any other file is parsed in each load, together with every file
//! that contributes to the same workspaces.

use super::SourceFile;
use crate::model::{CompressedWorkspace, WorkspaceRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// SHA-256 of a file's text.
pub type TextDigest = [u8; 32];

/// One file of the project, for a load that may have cached it.
#[derive(Debug, Clone)]
pub struct CachedFileText<'a> {
    /// Path below the project root, with `/`.
    pub path: Arc<str>,
    /// Digest of the text; `None` if there is no text, or it must not be cached.
    pub digest: Option<TextDigest>,
    /// Contents, or why they could not be read.
    ///
    /// `None` if unchanged according to the digest.
    pub text: Option<Result<&'a str, String>>,
}

/// Paths of files whose text is needed after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsText(pub Vec<Arc<str>>);

/// Results of a load, for use by the next one.
#[derive(Default)]
pub struct ParseCache {
    /// Cache key; `None` if the cache cannot be reused.
    pub(super) key: Option<CacheKey>,
    pub(super) files: HashMap<Arc<str>, CachedFile>,
    pub(super) workspaces: HashMap<WorkspaceRef, CachedWorkspace>,
}

/// Inputs that invalidate every cached file.
#[derive(PartialEq, Eq)]
pub(super) struct CacheKey {
    /// Digest of `wellspring.toml`; `None` if there is none.
    pub(super) settings: Option<TextDigest>,
    /// Values of the variables that it refers to.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

#[derive(Clone)]
pub(super) struct CachedFile {
    pub(super) digest: TextDigest,
    pub(super) workspaces: Arc<[WorkspaceRef]>,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

/// A workspace, assembled from valid files only.
#[derive(Clone)]
pub(super) struct CachedWorkspace {
    pub(super) files: Vec<(Arc<str>, TextDigest)>,
    /// True if the workspaces of every file were known, as checks of `[moved]` require.
    pub(super) complete: bool,
    /// True if the workspace has `[moved]` entries.
    pub(super) moved: bool,
    pub(super) desired: CachedContent,
}

#[derive(Clone)]
pub(super) enum CachedContent {
    Workspace(Arc<CompressedWorkspace>),
    /// Only that nothing needs to be done for it: see [`WorkspaceFingerprint`].
    Unchanged,
}

/// Serialised cache entry of a workspace for which nothing needs to be done.
///
/// A later process need not parse the workspace's files while they are unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceFingerprint {
    files: Vec<FileFingerprint>,
    moved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileFingerprint {
    path: Arc<str>,
    digest: TextDigest,
    weight: usize,
    #[serde(rename = "units")]
    workspaces: Arc<[WorkspaceRef]>,
}

impl WorkspaceFingerprint {
    /// Returns true if all files of the workspace are unchanged.
    pub fn is_current(&self, digest: impl Fn(&str) -> Option<TextDigest>) -> bool {
        self.files.iter().all(|file| digest(&file.path) == Some(file.digest))
    }
}

impl<'a> CachedFileText<'a> {
    /// Wraps a file that must not be cached.
    pub(super) fn of(file: &'a SourceFile<'_>) -> Self {
        let text = file.text.as_deref().map_err(Clone::clone);
        Self { path: Arc::clone(&file.path), digest: None, text: Some(text) }
    }

    /// Returns the text, empty if there is none.
    pub(super) fn text(&self) -> &'a str {
        match &self.text {
            Some(Ok(text)) => text,
            _ => "",
        }
    }
}

impl ParseCache {
    /// Creates a cache from the records of an earlier process.
    ///
    /// The records are of workspaces for which nothing needs to be done, with these settings and variables.
    /// Workspaces with unchanged files become [`Desired::unchanged`].
    ///
    /// [`Desired::unchanged`]: crate::model::Desired::unchanged
    #[must_use]
    pub fn from_unchanged(
        settings: Option<TextDigest>,
        variables: BTreeMap<String, Option<String>>,
        workspaces: impl IntoIterator<Item = (WorkspaceRef, WorkspaceFingerprint)>,
    ) -> Self {
        let mut known = Self { key: Some(CacheKey { settings, variables }), ..Self::default() };
        for (workspace, record) in workspaces {
            let files = record.files.iter().map(|file| (Arc::clone(&file.path), file.digest)).collect();
            known.files.extend(record.files.into_iter().map(|file| {
                (
                    file.path,
                    CachedFile { digest: file.digest, workspaces: file.workspaces, weight: file.weight },
                )
            }));
            let cached = CachedWorkspace {
                files,
                complete: true,
                moved: record.moved,
                desired: CachedContent::Unchanged,
            };
            known.workspaces.insert(workspace, cached);
        }
        known
    }

    /// Returns the record of a workspace for a later process.
    ///
    /// `None` if the workspace has errors, or the workspaces of some file are unknown.
    #[must_use]
    pub fn record(&self, workspace: &WorkspaceRef) -> Option<WorkspaceFingerprint> {
        let known = self.workspaces.get(workspace).filter(|known| known.complete)?;
        let record = |(path, digest): &(Arc<str>, TextDigest)| {
            let CachedFile { workspaces, weight, .. } = self.files.get(path)?;
            let path = Arc::clone(path);
            Some(FileFingerprint {
                path,
                digest: *digest,
                weight: *weight,
                workspaces: Arc::clone(workspaces),
            })
        };
        let files = known.files.iter().map(record).collect::<Option<_>>()?;
        Some(WorkspaceFingerprint { files, moved: known.moved })
    }

    /// Returns the cache if it was filled with the same settings and variables.
    pub(super) fn on(&self, ground: Option<&CacheKey>) -> Option<&Self> {
        ground.is_some_and(|ground| self.key.as_ref() == Some(ground)).then_some(self)
    }
}
