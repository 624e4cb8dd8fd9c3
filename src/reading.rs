//! A single read of the files, and the workspaces it is authoritative for.
//!
//! A broken file does not mean that its sources are absent: it holds back the workspaces it is
//! known to declare. If nothing is known about it, it blocks every removal.
//!
//! Invariant: reads only the tree; never calls the platform and never writes the state.

use crate::manifest::{self, Diagnostic, EffectiveValue, Lookup, Missing, Severity, UnitRecord};
use crate::model::{Desired, DesiredSource, Unit};
use crate::plan::{Barred, Declarations, Rejected, WithheldReason};
use crate::reconcile::Task;
use crate::tree::{self, Checkout, TreeError};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Content of the directory at one time.
pub struct Reading {
    /// Desired sources of the readable files.
    pub desired: Desired,
    /// All diagnostics.
    pub diagnostics: Vec<Diagnostic>,
    /// Digest of the tree; equal for equal trees.
    pub digest: tree::Digest,
    /// Digest of `wellspring.toml`.
    pub settings_digest: Option<[u8; 32]>,
    /// Git holds its index lock, so the checkout is changing.
    pub git_locked: bool,
    /// Files known to be open for writing, whose content may be incomplete.
    pub open: BTreeSet<String>,
    /// Git checkout of the files, if any.
    pub checkout: Option<Arc<Checkout>>,
    /// Aliases of `[workspaces]` whose id is known.
    pub aliases: BTreeMap<String, Unit>,
    /// Variables that `wellspring.toml` refers to.
    pub variables: Vec<String>,
    /// Value of `platform.settle`.
    pub settle: Option<Duration>,
    /// Patterns of `files`, if set.
    pub patterns: Option<Vec<String>>,
    /// Cache for the next read.
    pub known: Arc<Known>,
    tree: tree::Reading,
}

/// Cache that one read passes to the next.
#[derive(Default)]
pub struct Known {
    files: manifest::Known,
    /// Kept without the file contents.
    tree: Option<tree::Reading>,
}

/// Units that each file declared in earlier reads.
pub type Memory = BTreeMap<String, Vec<Unit>>;

/// Tasks and restrictions that follow from a read.
#[derive(Default)]
pub struct Asked {
    /// One task for each unit whose files are all valid.
    pub tasks: Vec<Task>,
    /// Units held back by broken files, with the file.
    pub held: BTreeMap<Unit, Arc<str>>,
    /// Units held back until a writer closes one of their files.
    pub written: BTreeSet<Unit>,
    /// A broken file of unknown content, which may declare any workspace.
    pub stranger: Option<Arc<str>>,
}

impl Asked {
    /// Returns true if the unit keeps its previous task.
    #[must_use]
    pub fn holds(&self, unit: &Unit) -> bool {
        self.held.contains_key(unit) || self.written.contains(unit)
    }
}

impl Reading {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// When the directory cannot be read as a whole.
    pub fn take(root: &Path, variable: &dyn Fn(&str) -> Lookup) -> Result<Self, TreeError> {
        Ok(Self::of_tree(tree::read(root)?, variable, &manifest::Known::default()))
    }

    /// Interprets a tree with all its contents, using the cache of an earlier process.
    #[must_use]
    pub fn of_tree(tree: tree::Reading, variable: &dyn Fn(&str) -> Lookup, known: &manifest::Known) -> Self {
        let (manifest, files) =
            manifest::read_whole(&tree.for_manifest(), variable, known, &tree::on_all_cores);
        Self::of(tree, manifest, files)
    }

    /// Like [`Reading::take`], but does not parse unchanged files again.
    ///
    /// Unchanged files are not even opened, unless `whole` is set.
    ///
    /// # Errors
    /// When the directory cannot be read as a whole.
    pub fn take_again(
        root: &Path,
        variable: &dyn Fn(&str) -> Lookup,
        known: &Known,
        whole: bool,
    ) -> Result<Self, TreeError> {
        // Maximum number of attempts, because a file may change before it is opened.
        const TRIES: usize = 4;
        let nothing = tree::Seen::default();
        let seen = known.tree.as_ref().filter(|_| !whole).map_or(&nothing, |before| &before.seen);
        for _ in 0..TRIES {
            if let Some(reading) = Self::given(tree::read_again(root, seen)?, variable, known) {
                return Ok(reading);
            }
        }
        Err(TreeError::Unsettled(root.to_owned()))
    }

    /// Like [`Reading::take_again`], but looks only at the files in `touched`.
    ///
    /// The caller guarantees that no other file changed; the value is true if the writer closed the
    /// file. `None` if these files are not sufficient.
    #[must_use]
    pub fn take_touched(
        variable: &dyn Fn(&str) -> Lookup,
        known: &Known,
        touched: &BTreeMap<String, bool>,
    ) -> Option<Self> {
        Self::given(tree::read_touched(known.tree.as_ref()?, touched)?, variable, known)
    }

    /// Returns `None` if a file that must be opened changed meanwhile.
    fn given(mut tree: tree::Reading, variable: &dyn Fn(&str) -> Lookup, known: &Known) -> Option<Self> {
        loop {
            let read =
                manifest::read_again(&tree.for_manifest(), variable, &known.files, &tree::on_all_cores);
            match read {
                Ok((manifest, files)) => return Some(Self::of(tree, manifest, files)),
                Err(Missing(paths)) if tree.load(&paths) => {}
                Err(_) => return None,
            }
        }
    }

    /// Adds a warning for each unused alias and template of `wellspring.toml`.
    pub fn warn_of_unused(&mut self) {
        if !self.has_errors() {
            let unused = manifest::unused(&self.tree.sources());
            self.diagnostics.extend(unused);
        }
    }

    /// Adds a warning for each suspension whose last day is before `today`.
    pub fn warn_of_ended_suspensions(&mut self, today: jiff::civil::Date) {
        let mut ended = BTreeMap::new();
        for unit in self.desired.open_units() {
            for source in &unit.sources {
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

    fn of(tree: tree::Reading, manifest: manifest::Reading, files: manifest::Known) -> Self {
        let settings = tree.files.iter().find(|file| &*file.path == manifest::FILE_NAME);
        Self {
            desired: manifest.desired,
            diagnostics: manifest.diagnostics,
            settings_digest: settings.map(|file| file.digest),
            digest: tree.digest,
            git_locked: tree.git_locked,
            open: BTreeSet::new(),
            checkout: tree.checkout.clone(),
            aliases: manifest.setup.aliases,
            variables: manifest.setup.variables,
            settle: manifest.setup.settle,
            patterns: manifest.setup.files,
            known: Arc::new(Known { files, tree: Some(tree.without_texts()) }),
            tree,
        }
    }

    /// Frees the file contents if no diagnostic needs them.
    ///
    /// [Effective](Self::effective) values are unavailable afterwards.
    pub fn forget_texts(&mut self) {
        if self.diagnostics.is_empty() {
            self.tree = self.tree.without_texts();
        }
    }

    /// Returns the cache entry of a valid unit for a later process.
    #[must_use]
    pub fn record(&self, unit: &Unit) -> Option<UnitRecord> {
        self.known.files.record(unit)
    }

    /// Returns the commit id of the checkout in hexadecimal.
    #[must_use]
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.checkout.as_ref()?.commit()
    }

    /// Returns true if any file has an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// Returns the number of errors in the files.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// Returns the number of files.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.tree.files.len()
    }

    /// Returns true if there are no files: the directory was emptied or is not mounted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.files.is_empty()
    }

    /// Sets the files that are open for writing.
    pub fn being_written(&mut self, open: BTreeSet<String>) {
        self.open = open;
        self.open.retain(|path| self.tree.files.iter().any(|file| *file.path == **path));
    }

    /// Digest of the tree and of the files that are open for writing.
    #[must_use]
    pub fn mark(&self) -> [u8; 32] {
        if self.open.is_empty() {
            return *self.digest.as_bytes();
        }
        let mut hash = Sha256::new();
        hash.update(self.digest.as_bytes());
        for path in &self.open {
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
    #[must_use]
    pub fn explained(&self, color: bool) -> String {
        manifest::render(&self.diagnostics, &self.tree.sources(), color)
    }

    /// Returns every value of a source with the line that sets it.
    #[must_use]
    pub fn effective(&self, source: &DesiredSource) -> Option<Vec<EffectiveValue>> {
        manifest::effective(&self.tree.sources(), source)
    }

    /// Derives the tasks; `memory` supplies what broken files declared earlier.
    #[must_use]
    pub fn asked(&self, memory: &Memory) -> Asked {
        let mut asked = Asked::default();
        for broken in &self.desired.broken {
            let named = broken.units.iter().flatten();
            let remembered = memory.get(&*broken.file).into_iter().flatten();
            let mut known = broken.units.is_some() || memory.contains_key(&*broken.file);
            for unit in named.chain(remembered) {
                known = true;
                asked.held.entry(unit.clone()).or_insert_with(|| Arc::clone(&broken.file));
            }
            if !known {
                asked.stranger.get_or_insert_with(|| Arc::clone(&broken.file));
            }
        }
        for file in &self.open {
            let declared = self.declarations().filter(|(of, _)| ***of == **file).map(|(_, unit)| unit);
            asked.written.extend(declared.chain(memory.get(file).into_iter().flatten()).cloned());
        }
        let owner: Option<Arc<str>> = self.desired.owner.as_deref().map(Arc::from);
        let barred = self.barred(asked.stranger.as_ref());
        let declarations = Arc::new(self.all_declarations(memory));
        for unit in &self.desired.units {
            if !asked.holds(&unit.unit) {
                asked.tasks.push(Task {
                    desired: Arc::clone(unit),
                    owner: owner.clone(),
                    checkout: self.checkout.clone(),
                    removals_barred: barred.clone(),
                    released: Vec::new(),
                    declarations: Arc::clone(&declarations),
                });
            }
        }
        asked
    }

    fn barred(&self, stranger: Option<&Arc<str>>) -> Option<Barred> {
        if let Some(file) = stranger {
            let why = format!("no longer declared, but {file} cannot be read and may declare it");
            return Some(Barred { code: WithheldReason::Unreadable, why });
        }
        self.git_locked.then(|| Barred {
            code: WithheldReason::GitLock,
            why: "no longer declared, but Git is still writing them (.git/index.lock)".to_owned(),
        })
    }

    /// Collects the declarations of all workspaces from the readable files.
    fn all_declarations(&self, memory: &Memory) -> Declarations {
        let rejected = self.desired.broken.iter().map(|broken| {
            let remembered = memory.get(&*broken.file).into_iter().flatten();
            Rejected {
                file: Arc::clone(&broken.file),
                text: self.tree.text(&broken.file),
                units: broken.units.iter().flatten().chain(remembered).cloned().collect(),
            }
        });
        Declarations::new(self.desired.units.clone(), rejected.collect())
    }

    /// Iterates over the files and units of the valid declarations.
    fn declarations(&self) -> impl Iterator<Item = (&Arc<str>, &Unit)> {
        let units = self.desired.units.iter().map(|unit| (&unit.unit, &unit.files));
        let settled = self.desired.settled.iter().map(|unit| (&unit.unit, &unit.files));
        units.chain(settled).flat_map(|(unit, files)| files.iter().map(move |file| (file, unit)))
    }

    /// Adds the declarations of this read to `memory`; removes nothing.
    pub fn remember(&self, memory: &mut Memory) {
        let broken = self.desired.broken.iter();
        let broken = broken.flat_map(|broken| broken.units.iter().flatten().map(|unit| (&broken.file, unit)));
        for (file, unit) in self.declarations().chain(broken) {
            match memory.get_mut(&**file) {
                Some(known) if known.contains(unit) => {}
                Some(known) => known.push(unit.clone()),
                None => drop(memory.insert(file.to_string(), vec![unit.clone()])),
            }
        }
    }

    /// Returns the memory after this read; broken files keep their earlier units.
    #[must_use]
    pub fn memory(&self, before: &Memory) -> Memory {
        let mut memory = Memory::new();
        for (file, unit) in self.declarations() {
            memory.entry(file.to_string()).or_default().push(unit.clone());
        }
        // The rest of an incompletely written file may still declare its earlier units.
        for file in &self.open {
            let units = memory.entry(file.clone()).or_default();
            units.extend(before.get(file).into_iter().flatten().cloned());
        }
        memory.retain(|_, units| !units.is_empty());
        // Sort, so that the result does not depend on the order of reading.
        memory.values_mut().for_each(|units| {
            units.sort();
            units.dedup();
        });
        for broken in &self.desired.broken {
            let units: BTreeSet<Unit> = broken
                .units
                .iter()
                .flatten()
                .chain(before.get(&*broken.file).into_iter().flatten())
                .cloned()
                .collect();
            if !units.is_empty() {
                memory.insert(broken.file.to_string(), units.into_iter().collect());
            }
        }
        memory
    }
}
