//! Text to desired state, with every diagnostic.
//!
//! Pure: the texts and the variables are given. A file with an error in it contributes nothing and
//! is listed in [`Desired::broken`]; the others go on.

mod cron;
mod diagnostic;
pub(crate) mod document;
mod duration;
mod effective;
mod explain;
pub(crate) mod fields;
mod files;
pub(crate) mod findings;
mod format;
mod known;
mod merge;
mod nesting;
pub(crate) mod parse;
mod placing;
mod policy;
mod pull;
pub(crate) mod references;
mod report;
mod schema;
mod settings;
mod source;
mod suggest;
mod sync;
mod units;
mod unused;
mod values;
mod workspace;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use effective::{EffectiveValue, effective};
pub use explain::explain;
pub use format::format;
pub use known::{File, Known, Missing, TextDigest, UnitRecord};
pub use placing::path_for;
pub use pull::{Pulled, PulledWorkspace, plain_name, pulled};
pub use report::render;
pub use schema::{SETTINGS_SCHEMA, WORKSPACE_SCHEMA};
pub use settings::{FILE_NAME, Lookup};
pub use suggest::nearest;
pub use unused::unused;

use crate::model::{BrokenFile, Desired, DesiredUnit, FoldedUnit, Unit};
use document::{Document, small};
use findings::Findings;
use known::Ground;
use settings::{Patterns, Settings};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One file of the tree.
#[derive(Debug, Clone)]
pub struct SourceFile<'a> {
    /// Path below the root, with `/`.
    pub path: Arc<str>,
    /// The text, or why there is none.
    pub text: Result<&'a str, String>,
}

/// What the files say, and what is wrong with them.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The desired state, from the files without errors.
    pub desired: Desired,
    /// What else `wellspring.toml` says.
    pub setup: Setup,
    /// Every finding, sorted by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Did anything break a file?
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// The settings of `wellspring.toml` that are no part of the desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// `platform.settle`: how long after a write a list may still be behind.
    pub settle: Option<Duration>,
    /// `[workspaces]`: the aliases whose id is known.
    pub aliases: BTreeMap<String, Unit>,
    /// The variables that were looked up.
    pub variables: Vec<String>,
    /// `files`: the patterns of the files that are read, if there are any.
    pub files: Option<Vec<String>>,
}

/// Runs the work once for each number below the first, in any order, perhaps several at the same time.
pub type Spread<'s> = &'s dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// How a unit is kept.
type Keep = fn(Arc<DesiredUnit>) -> FoldedUnit;

/// Reads the files, in any order. `variable` looks up what `${NAME}` stands for in `[workspaces]` and
/// `[platform]`; references in sources are kept as references.
#[must_use]
pub fn read(files: &[SourceFile<'_>], variable: &dyn Fn(&str) -> Option<String>) -> Reading {
    let files: Vec<File<'_>> = files.iter().map(File::of).collect();
    let variable = |name: &str| variable(name).into();
    read_whole(&files, &variable, &Known::default(), &|count, work| (0..count).for_each(work)).0
}

/// The same, of files that all have their text, or the reason why there is none, given what an earlier
/// reading learned. The work of reading them is `spread`; the units are left open.
#[must_use]
pub fn read_whole(
    files: &[File<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &Known,
    spread: Spread<'_>,
) -> (Reading, Known) {
    #[expect(clippy::expect_used, reason = "the caller gives every text")]
    read_keeping(files, variable, known, (FoldedUnit::open_as, spread)).expect("no text is missing")
}

/// The same, with the units folded up. Of a file whose digest is known the text need not be there.
///
/// # Errors
/// When the text of such a file is needed after all, with the files' paths.
pub fn read_again(
    files: &[File<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &Known,
    spread: Spread<'_>,
) -> Result<(Reading, Known), Missing> {
    /// Of so few, whoever asks for them is waiting.
    const FEW: usize = 8;
    let few = files.iter().filter(|file| file.text.is_some()).count() <= FEW;
    let keep = if few { FoldedUnit::folding_soon_opened } else { FoldedUnit::folding };
    read_keeping(files, variable, known, (keep, spread))
}

fn read_keeping(
    files: &[File<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &Known,
    how: (Keep, Spread<'_>),
) -> Result<(Reading, Known), Missing> {
    let mut files: Vec<&File<'_>> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let documents: Vec<Document<'_>> =
        files.iter().map(|file| Document::new(Arc::clone(&file.path), file.text())).collect();
    let mut findings = Findings::new(&documents);
    let mut reading = Reading::default();
    let looked_up = RefCell::default();
    let (settings, sound) = read_settings(&files, &noting(variable, &looked_up), &mut findings)?;
    let settings_file = files.iter().find(|file| &*file.path == FILE_NAME);
    let looked_up = looked_up.into_inner();
    reading.setup.variables = looked_up.keys().cloned().collect();
    let ground = ground(settings_file.copied(), looked_up);
    let wanted = wanted(&files, settings.as_ref());
    if let Some(patterns) = settings.as_ref().and_then(|settings| settings.files.as_ref()) {
        let paths: Vec<&str> =
            files.iter().map(|file| &*file.path).filter(|path| *path != FILE_NAME).collect();
        patterns.check_matched(&paths, &mut findings);
    }
    let known = known.on(ground.as_ref());

    let mut learned = Known { ground, ..Known::default() };
    let read = files::read(&files, &wanted, settings.as_ref(), known, &mut findings, how)?;
    match &settings {
        Some(settings) if sound => {
            reading.desired.units = read.units;
            reading.desired.settled = read.settled;
            reading.desired.broken = read.broken;
            reading.desired.platform.clone_from(&settings.platform);
            reading.desired.owner.clone_from(&settings.owner);
            reading.setup.settle = settings.settle;
            reading.setup.aliases = settings.units();
            reading.setup.files = settings.files.as_ref().map(Patterns::texts);
            (learned.files, learned.units) = read.known;
        }
        // Without the settings no file can be trusted to mean what it says.
        _ => {
            let all = files.iter().map(|file| Arc::clone(&file.path));
            reading.desired.broken = all.map(|file| BrokenFile { file, units: None }).collect();
        }
    }
    reading.diagnostics = findings.into_sorted();
    Ok((reading, learned))
}

/// Looks variables up, and notes what was found.
fn noting<'v>(
    variable: &'v dyn Fn(&str) -> Lookup,
    looked_up: &'v RefCell<BTreeMap<String, Option<String>>>,
) -> impl Fn(&str) -> Lookup + 'v {
    move |name| {
        let value = variable(name);
        looked_up.borrow_mut().insert(name.to_owned(), value.clone().value());
        value
    }
}

/// `None` when there are settings whose text cannot be told again.
fn ground(settings: Option<&File<'_>>, variables: BTreeMap<String, Option<String>>) -> Option<Ground> {
    match settings {
        Some(file) => file.digest.map(|digest| Ground { settings: Some(digest), variables }),
        None => Some(Ground { settings: None, variables }),
    }
}

/// The files that are to be read, by their numbers.
fn wanted(files: &[&File<'_>], settings: Option<&Settings<'_>>) -> Vec<usize> {
    let patterns = settings.and_then(|settings| settings.files.as_ref());
    let is_wanted = |file: &File<'_>| {
        let named = patterns.is_none_or(|patterns| {
            // A folder that cannot be reached is listed in place of its files.
            let lost_folder = matches!(file.text, Some(Err(_))) && !file.path.ends_with(".toml");
            patterns.name_file(&file.path) || lost_folder && patterns.name_files_below(&file.path)
        });
        &*file.path != FILE_NAME && named
    };
    (0..files.len()).filter(|at| is_wanted(files[*at])).collect()
}

/// The settings, and whether they are sound. `None` where so much is wrong with them that nothing can be held
/// against the other files for their sake.
fn read_settings<'a>(
    files: &[&File<'a>],
    variable: &dyn Fn(&str) -> Lookup,
    findings: &mut Findings<'_, 'a>,
) -> Result<(Option<Settings<'a>>, bool), Missing> {
    let Some(at) = files.iter().position(|file| &*file.path == FILE_NAME) else {
        return Ok((Some(Settings { absent: true, ..Settings::default() }), true));
    };
    if files[at].text.is_none() {
        return Err(Missing(vec![Arc::clone(&files[at].path)]));
    }
    let Some(root) = files::text(small(at), files[at], findings) else { return Ok((None, false)) };
    let settings = settings::read(&root, variable, findings);
    let sound = findings.documents_with_errors().is_empty();
    Ok((settings.known.then_some(settings), sound))
}
