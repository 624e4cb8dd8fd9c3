//! Desired state of the whole project.

use super::{CompressedWorkspace, DesiredWorkspace, WorkspaceRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Result of loading the whole project; workspaces are sorted and unique.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// `platform.url`, if the files set one.
    pub platform: Option<PlatformUrl>,
    /// `platform.owner`: sent as `metadata.wellspring.owner` with connected sources.
    pub owner: Option<String>,
    /// Every (workspace, scope) that a readable file declares, sorted by [`WorkspaceRef`].
    pub workspaces: Vec<Arc<CompressedWorkspace>>,
    /// Workspaces that were not assembled because nothing needs to be done for them, sorted.
    pub unchanged: Vec<UnchangedWorkspace>,
    /// Files with errors; the workspaces they are known to declare are held back.
    pub broken: Vec<BrokenFile>,
}

impl Desired {
    /// Iterates over the workspaces, each one decompressed.
    pub fn open_workspaces(&self) -> impl Iterator<Item = Arc<DesiredWorkspace>> {
        self.workspaces.iter().map(|workspace| workspace.open())
    }
}

/// `platform.url` in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformUrl {
    /// `"local"`: the embedded Data API.
    Local,
    /// A base URL, with or without `/api/v1`.
    Remote(String),
}

/// A file that is unreadable or contains errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenFile {
    /// Path below the project root.
    pub file: Arc<str>,
    /// Workspaces that its readable part names; `None` if not even that could be read.
    pub workspaces: Option<Vec<WorkspaceRef>>,
}

/// A workspace whose files are unchanged since it was found to be in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnchangedWorkspace {
    /// The workspace and scope.
    pub unit: WorkspaceRef,
    /// Files that declare it, sorted.
    pub files: Vec<Arc<str>>,
}
