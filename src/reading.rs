//! One reading of the files, and for which workspaces it may speak.
//!
//! Unreadable is not absent: a broken file holds back the workspaces it is known to declare, and one
//! that nothing is known of holds back every removal.

use crate::manifest::{self, Diagnostic, EffectiveValue, Lookup, Missing, Severity, UnitRecord};
use crate::model::{Desired, DesiredSource, Unit};
use crate::plan::{Barred, Declarations, Rejected};
use crate::reconcile::Task;
use crate::tree::{self, Checkout, TreeError};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What the directory said at one moment.
pub struct Reading {
    /// What the readable files declare.
    pub desired: Desired,
    /// Every finding.
    pub diagnostics: Vec<Diagnostic>,
    /// Equal for equal trees.
    pub digest: tree::Digest,
    /// Equal for equal `wellspring.toml`s.
    pub settings_digest: Option<[u8; 32]>,
    /// Git is writing the checkout.
    pub git_locked: bool,
    /// The files that somebody is writing, as far as that is known: their text may be half of what it will be.
    pub open: BTreeSet<String>,
    /// What is checked out.
    pub checkout: Option<Arc<Checkout>>,
    /// `[workspaces]`: the aliases whose id is known.
    pub aliases: BTreeMap<String, Unit>,
    /// The variables that `wellspring.toml` was read with.
    pub variables: Vec<String>,
    /// `platform.settle`
    pub settle: Option<Duration>,
    /// `files`: the patterns of the files that are read, if there are any.
    pub patterns: Option<Vec<String>>,
    /// What the next reading need not do again.
    pub known: Arc<Known>,
    tree: tree::Reading,
}

/// What a reading learned, for the next one.
#[derive(Default)]
pub struct Known {
    files: manifest::Known,
    /// Without the texts.
    tree: Option<tree::Reading>,
}

/// Which file declares which units, as remembered from earlier readings.
pub type Memory = BTreeMap<String, Vec<Unit>>;

/// What a reading asks for.
#[derive(Default)]
pub struct Asked {
    /// A task per unit that the reading speaks for in full.
    pub tasks: Vec<Task>,
    /// Units held back by broken files, with the file.
    pub held: BTreeMap<Unit, Arc<str>>,
    /// Units held back until the writer of one of their files closes it.
    pub written: BTreeSet<Unit>,
    /// A broken file of which nothing is known: it may declare any workspace.
    pub stranger: Option<Arc<str>>,
}

impl Asked {
    /// Returns true if the unit keeps what was last asked of it.
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

    /// Reads what stands in a tree, given what an earlier process learned. All of its texts are there.
    #[must_use]
    pub fn of_tree(tree: tree::Reading, variable: &dyn Fn(&str) -> Lookup, known: &manifest::Known) -> Self {
        let (manifest, files) =
            manifest::read_whole(&tree.for_manifest(), variable, known, &tree::on_all_cores);
        Self::of(tree, manifest, files)
    }

    /// The same, given what the reading before has learned: files that are as they were are not parsed
    /// again. Not even looked into, unless they are to be read `whole`.
    ///
    /// # Errors
    /// When the directory cannot be read as a whole.
    pub fn take_again(
        root: &Path,
        variable: &dyn Fn(&str) -> Lookup,
        known: &Known,
        whole: bool,
    ) -> Result<Self, TreeError> {
        // What is looked into after all may have changed since it was last read.
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

    /// The same, given that since the reading before nothing happened to any other files than those `touched`,
    /// each with whether whoever wrote it is done. `None` where they do not tell how everything is now.
    #[must_use]
    pub fn take_touched(
        variable: &dyn Fn(&str) -> Lookup,
        known: &Known,
        touched: &BTreeMap<String, bool>,
    ) -> Option<Self> {
        Self::given(tree::read_touched(known.tree.as_ref()?, touched)?, variable, known)
    }

    /// `None` where a file that must be looked into after all has changed meanwhile.
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

    /// Adds a warning for each alias and template of `wellspring.toml` that no file uses.
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

    /// Lets go of the texts where no finding shows lines of them. What is [effective](Self::effective) cannot
    /// be told afterwards.
    pub fn forget_texts(&mut self) {
        if self.diagnostics.is_empty() {
            self.tree = self.tree.without_texts();
        }
    }

    /// What to tell a later process of a unit, where it is sound.
    #[must_use]
    pub fn record(&self, unit: &Unit) -> Option<UnitRecord> {
        self.known.files.record(unit)
    }

    /// The commit that is checked out, in hexadecimal.
    #[must_use]
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.checkout.as_ref()?.commit()
    }

    /// Has any file an error?
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// How many errors the files have.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// How many files there are.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.tree.files.len()
    }

    /// Returns true if there is no file at all: where there were some, the directory was emptied or is not mounted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.files.is_empty()
    }

    /// Takes note of the files that somebody is writing.
    pub fn being_written(&mut self, open: BTreeSet<String>) {
        self.open = open;
        self.open.retain(|path| self.tree.files.iter().any(|file| *file.path == **path));
    }

    /// Equal for equal trees whose files are as far written.
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

    /// The files, each with the digest of its text.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<str>, &[u8; 32])> {
        self.tree.files.iter().map(|file| (&file.path, &file.digest))
    }

    /// The findings with their lines, for people.
    #[must_use]
    pub fn explained(&self, color: bool) -> String {
        manifest::render(&self.diagnostics, &self.tree.sources(), color)
    }

    /// Every value of one of its sources, with the line it comes from.
    #[must_use]
    pub fn effective(&self, source: &DesiredSource) -> Option<Vec<EffectiveValue>> {
        manifest::effective(&self.tree.sources(), source)
    }

    /// What is asked of each unit, given what earlier readings remember of broken files.
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
            let why = format!("gone from the files, but {file} cannot be read and may declare it");
            return Some(Barred { code: "unreadable", why });
        }
        self.git_locked.then(|| Barred {
            code: "git-lock",
            why: "gone from the files, but Git is still writing them (.git/index.lock)".to_owned(),
        })
    }

    /// What every workspace declares, as far as the files can be read.
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

    /// Each file with each unit that it declares, of those that are sound.
    fn declarations(&self) -> impl Iterator<Item = (&Arc<str>, &Unit)> {
        let units = self.desired.units.iter().map(|unit| (&unit.unit, &unit.files));
        let settled = self.desired.settled.iter().map(|unit| (&unit.unit, &unit.files));
        units.chain(settled).flat_map(|(unit, files)| files.iter().map(move |file| (file, unit)))
    }

    /// Adds to what is remembered which file declares which units; nothing of it is forgotten.
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

    /// What to remember: the files that were read, and of broken ones what was known before.
    #[must_use]
    pub fn memory(&self, before: &Memory) -> Memory {
        let mut memory = Memory::new();
        for (file, unit) in self.declarations() {
            memory.entry(file.to_string()).or_default().push(unit.clone());
        }
        // The next part that is written may be what declares a unit that the file declared before.
        for file in &self.open {
            let units = memory.entry(file.clone()).or_default();
            units.extend(before.get(file).into_iter().flatten().cloned());
        }
        memory.retain(|_, units| !units.is_empty());
        // As though they had been read in one order.
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
