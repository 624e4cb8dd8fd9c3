//! A single read of the files, and the workspaces it is authoritative for.
//!
//! A broken file does not mean that its sources are absent: it holds back the workspaces it is
//! known to declare. If nothing is known about it, it blocks every removal.
//!
//! Invariant: reads only the tree; never calls the platform and never writes the state.

use crate::config::{self, Diagnostic, EffectiveValue, Lookup, NeedsText, Severity, WorkspaceFingerprint};
use crate::model::{Desired, DesiredSource, WorkspaceRef};
use crate::plan::{Declarations, Rejected, RemovalBlock, WithheldReason};
use crate::reconcile::Task;
use crate::tree::{self, Checkout, TreeError};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Content of the directory at one time.
pub struct LoadedConfig {
    /// Desired sources of the readable files.
    pub desired: Desired,
    pub diagnostics: Vec<Diagnostic>,
    /// Digest of the tree; equal for equal trees.
    pub digest: tree::Digest,
    pub settings_digest: Option<[u8; 32]>,
    /// Git holds its index lock, so the checkout is changing.
    pub git_locked: bool,
    /// Files known to be open for writing, whose content may be incomplete.
    pub open_files: BTreeSet<String>,
    /// Git checkout of the files, if any.
    pub checkout: Option<Arc<Checkout>>,
    /// Aliases of `[workspaces]` whose id is known.
    pub aliases: BTreeMap<String, WorkspaceRef>,
    pub variables: Vec<String>,
    /// Value of `platform.settle`.
    pub settle: Option<Duration>,
    /// Patterns of `files`, if set.
    pub patterns: Option<Vec<String>>,
    pub cache: Arc<LoadCache>,
    tree: tree::TreeSnapshot,
}

/// Cache that one read passes to the next.
#[derive(Default)]
pub struct LoadCache {
    files: config::ParseCache,
    /// Kept without the file contents.
    tree: Option<tree::TreeSnapshot>,
}

/// Workspaces that each file declared in earlier reads.
pub type FileIndex = BTreeMap<String, Vec<WorkspaceRef>>;

/// Tasks and restrictions that follow from a read.
#[derive(Default)]
pub struct WorkSet {
    /// One task for each workspace whose files are all valid.
    pub tasks: Vec<Task>,
    /// Workspaces held back by broken files, with the file.
    pub blocked: BTreeMap<WorkspaceRef, Arc<str>>,
    /// Workspaces held back until a writer closes one of their files.
    pub awaiting_close: BTreeSet<WorkspaceRef>,
    /// A broken file of unknown content, which may declare any workspace.
    pub unattributed_error: Option<Arc<str>>,
}

impl WorkSet {
    /// Returns true if the workspace keeps its previous task.
    pub fn is_blocked(&self, workspace: &WorkspaceRef) -> bool {
        self.blocked.contains_key(workspace) || self.awaiting_close.contains(workspace)
    }
}

impl LoadedConfig {
    pub fn load(root: &Path, variable: &dyn Fn(&str) -> Lookup) -> Result<Self, TreeError> {
        Ok(Self::from_snapshot(tree::read(root)?, variable, &config::ParseCache::default()))
    }

    /// Reads the tree again, without opening the files that are unchanged by their inode, size and times.
    pub fn rescan(&self) -> Result<tree::TreeSnapshot, TreeError> {
        tree::rescan_by_stat(&self.tree.root, &self.tree.stat_cache)
    }

    /// Interprets a tree with all its contents, using the cache of an earlier process.
    pub fn from_snapshot(
        tree: tree::TreeSnapshot,
        variable: &dyn Fn(&str) -> Lookup,
        known: &config::ParseCache,
    ) -> Self {
        let (manifest, files) =
            config::read_with_cache(&tree.for_manifest(), variable, known, &tree::for_each_index);
        Self::of(tree, manifest, files)
    }

    /// Like [`LoadedConfig::load`], but does not parse unchanged files again.
    ///
    /// Unchanged files are not even opened, unless `whole` is set.
    pub fn reload(
        root: &Path,
        variable: &dyn Fn(&str) -> Lookup,
        known: &LoadCache,
        whole: bool,
    ) -> Result<Self, TreeError> {
        // Maximum number of attempts, because a file may change before it is opened.
        const MAX_ATTEMPTS: usize = 4;
        let nothing = tree::StatCache::default();
        let seen = match &known.tree {
            Some(before) if !whole => &before.stat_cache,
            _ => &nothing,
        };
        for _ in 0..MAX_ATTEMPTS {
            if let Some(reading) = Self::try_interpret(tree::rescan_by_stat(root, seen)?, variable, known) {
                return Ok(reading);
            }
        }
        Err(TreeError::Unsettled(root.to_owned()))
    }

    /// Like [`LoadedConfig::reload`], but looks only at the files in `touched`.
    ///
    /// The caller guarantees that no other file changed; the value is true if the writer closed the
    /// file. `None` if these files are not sufficient.
    pub fn reload_paths(
        variable: &dyn Fn(&str) -> Lookup,
        known: &LoadCache,
        touched: &BTreeMap<String, bool>,
    ) -> Option<Self> {
        Self::try_interpret(tree::rescan_paths(known.tree.as_ref()?, touched)?, variable, known)
    }

    /// Returns `None` if a file that must be opened changed meanwhile.
    fn try_interpret(
        mut tree: tree::TreeSnapshot,
        variable: &dyn Fn(&str) -> Lookup,
        known: &LoadCache,
    ) -> Option<Self> {
        loop {
            let read =
                config::read_compressed(&tree.for_manifest(), variable, &known.files, &tree::for_each_index);
            match read {
                Ok((manifest, files)) => return Some(Self::of(tree, manifest, files)),
                Err(NeedsText(paths)) if tree.load(&paths) => {}
                Err(_) => return None,
            }
        }
    }

    /// Adds a warning for each unused alias and template of `wellspring.toml`.
    pub fn warn_unused(&mut self) {
        if !self.has_errors() {
            let unused = config::unused(&self.tree.sources());
            self.diagnostics.extend(unused);
        }
    }

    /// Adds a warning for each suspension whose last day is before `today`.
    pub fn warn_ended_suspensions(&mut self, today: jiff::civil::Date) {
        let mut ended = BTreeMap::new();
        for workspace in self.desired.open_workspaces() {
            for source in &workspace.sources {
                let until = source.suspend.as_ref().and_then(|suspend| suspend.until);
                if let Some(until) = until.filter(|until| *until < today)
                    && let Some(text) = self.tree.text(&source.at.file)
                {
                    let at = (Arc::clone(&source.at.file), source.at.line);
                    ended.entry(at).or_insert_with(|| Diagnostic::suspend_ended(source, until, &text));
                }
            }
        }
        self.diagnostics.extend(ended.into_values());
    }

    fn of(tree: tree::TreeSnapshot, manifest: config::ParsedTree, files: config::ParseCache) -> Self {
        let settings = tree.files.iter().find(|file| &*file.path == config::FILE_NAME);
        Self {
            desired: manifest.desired,
            diagnostics: manifest.diagnostics,
            settings_digest: settings.map(|file| file.digest),
            digest: tree.digest,
            git_locked: tree.git_locked,
            open_files: BTreeSet::new(),
            checkout: tree.checkout.clone(),
            aliases: manifest.setup.aliases,
            variables: manifest.setup.variables,
            settle: manifest.setup.settle,
            patterns: manifest.setup.files,
            cache: Arc::new(LoadCache { files, tree: Some(tree.without_texts()) }),
            tree,
        }
    }

    /// Frees the file contents if no diagnostic needs them.
    ///
    /// [Effective](Self::effective) values are unavailable afterwards.
    pub fn drop_texts(&mut self) {
        if self.diagnostics.is_empty() {
            self.tree = self.tree.without_texts();
        }
    }

    /// Returns the cache entry of a valid workspace for a later process.
    pub fn workspace_fingerprint(&self, workspace: &WorkspaceRef) -> Option<WorkspaceFingerprint> {
        self.cache.files.record(workspace)
    }

    /// Returns the commit id of the checkout in hexadecimal.
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.checkout.as_ref()?.commit()
    }

    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    pub fn file_count(&self) -> usize {
        self.tree.files.len()
    }

    /// Returns true if there are no files: the directory was emptied or is not mounted.
    pub fn is_empty(&self) -> bool {
        self.tree.files.is_empty()
    }

    pub fn set_open_files(&mut self, open: BTreeSet<String>) {
        self.open_files = open;
        self.open_files.retain(|path| self.tree.files.iter().any(|file| *file.path == **path));
    }

    /// Digest of the tree and of the files that are open for writing.
    pub fn input_digest(&self) -> [u8; 32] {
        if self.open_files.is_empty() {
            return *self.digest.as_bytes();
        }
        let mut hash = Sha256::new();
        hash.update(self.digest.as_bytes());
        for path in &self.open_files {
            hash.update(path);
            hash.update([0]);
        }
        hash.finalize().into()
    }

    /// Returns the files with the digests of their contents.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<str>, &[u8; 32])> {
        self.tree.files.iter().map(|file| (&file.path, &file.digest))
    }

    /// Formats the diagnostics with their source lines.
    pub fn render_diagnostics(&self, color: bool) -> String {
        config::render(&self.diagnostics, &self.tree.sources(), color)
    }

    /// Returns every value of a source with the line that sets it.
    pub fn effective(&self, source: &DesiredSource) -> Option<Vec<EffectiveValue>> {
        config::effective(&self.tree.sources(), source)
    }

    /// Derives the tasks; `memory` supplies what broken files declared earlier.
    pub fn work_set(&self, memory: &FileIndex) -> WorkSet {
        let mut asked = WorkSet::default();
        for broken in &self.desired.broken {
            let named = broken.workspaces.iter().flatten();
            let remembered = memory.get(&*broken.file).into_iter().flatten();
            let mut known = broken.workspaces.is_some() || memory.contains_key(&*broken.file);
            for workspace in named.chain(remembered) {
                known = true;
                asked.blocked.entry(workspace.clone()).or_insert_with(|| Arc::clone(&broken.file));
            }
            if !known {
                asked.unattributed_error.get_or_insert_with(|| Arc::clone(&broken.file));
            }
        }
        for file in &self.open_files {
            let declared =
                self.file_index().filter(|(of, _)| ***of == **file).map(|(_, workspace)| workspace);
            asked.awaiting_close.extend(declared.chain(memory.get(file).into_iter().flatten()).cloned());
        }
        let owner: Option<Arc<str>> = self.desired.owner.as_deref().map(Arc::from);
        let barred = self.removal_block(asked.unattributed_error.as_ref());
        let declarations = Arc::new(self.all_declarations(memory));
        for workspace in &self.desired.workspaces {
            if !asked.is_blocked(&workspace.unit) {
                asked.tasks.push(Task {
                    desired: Arc::clone(workspace),
                    owner: owner.clone(),
                    checkout: self.checkout.clone(),
                    removals_blocked: barred.clone(),
                    released: Vec::new(),
                    declarations: Arc::clone(&declarations),
                });
            }
        }
        asked
    }

    fn removal_block(&self, stranger: Option<&Arc<str>>) -> Option<RemovalBlock> {
        if let Some(file) = stranger {
            let why = format!("no longer declared, but {file} cannot be read and may declare it");
            return Some(RemovalBlock { code: WithheldReason::Unreadable, reason: why });
        }
        if !self.git_locked {
            return None;
        }
        let reason = "no longer declared, but Git is still writing them (.git/index.lock)".to_owned();
        Some(RemovalBlock { code: WithheldReason::GitLock, reason })
    }

    /// Collects the declarations of all workspaces from the readable files.
    fn all_declarations(&self, memory: &FileIndex) -> Declarations {
        let rejected = self.desired.broken.iter().map(|broken| {
            let remembered = memory.get(&*broken.file).into_iter().flatten();
            Rejected {
                file: Arc::clone(&broken.file),
                text: self.tree.text(&broken.file),
                workspaces: broken.workspaces.iter().flatten().chain(remembered).cloned().collect(),
            }
        });
        Declarations::new(self.desired.workspaces.clone(), rejected.collect())
    }

    /// Iterates over the files and workspaces of the valid declarations.
    fn file_index(&self) -> impl Iterator<Item = (&Arc<str>, &WorkspaceRef)> {
        let workspaces = self.desired.workspaces.iter().map(|workspace| (&workspace.unit, &workspace.files));
        let settled = self.desired.unchanged.iter().map(|workspace| (&workspace.unit, &workspace.files));
        workspaces
            .chain(settled)
            .flat_map(|(workspace, files)| files.iter().map(move |file| (file, workspace)))
    }

    /// Adds the declarations of this read to `memory`; removes nothing.
    pub fn extend_index(&self, memory: &mut FileIndex) {
        let broken = self.desired.broken.iter();
        let broken = broken
            .flat_map(|broken| broken.workspaces.iter().flatten().map(|workspace| (&broken.file, workspace)));
        for (file, workspace) in self.file_index().chain(broken) {
            match memory.get_mut(&**file) {
                Some(known) if known.contains(workspace) => {}
                Some(known) => known.push(workspace.clone()),
                None => drop(memory.insert(file.to_string(), vec![workspace.clone()])),
            }
        }
    }

    /// Returns the memory after this read; broken files keep their earlier workspaces.
    pub fn updated_index(&self, before: &FileIndex) -> FileIndex {
        let mut memory = FileIndex::new();
        for (file, workspace) in self.file_index() {
            memory.entry(file.to_string()).or_default().push(workspace.clone());
        }
        // The rest of an incompletely written file may still declare its earlier workspaces.
        for file in &self.open_files {
            let workspaces = memory.entry(file.clone()).or_default();
            workspaces.extend(before.get(file).into_iter().flatten().cloned());
        }
        memory.retain(|_, workspaces| !workspaces.is_empty());
        // Sort, so that the result does not depend on the order of reading.
        memory.values_mut().for_each(|workspaces| {
            workspaces.sort();
            workspaces.dedup();
        });
        for broken in &self.desired.broken {
            let workspaces: BTreeSet<WorkspaceRef> = broken
                .workspaces
                .iter()
                .flatten()
                .chain(before.get(&*broken.file).into_iter().flatten())
                .cloned()
                .collect();
            if !workspaces.is_empty() {
                memory.insert(broken.file.to_string(), workspaces.into_iter().collect());
            }
        }
        memory
    }
}
