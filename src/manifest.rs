//! Text to desired state, with every diagnostic.
//!
//! Pure: the texts and the variables are given. A file with an error in it contributes nothing and
//! is listed in [`Desired::broken`]; the others go on.

mod cron;
mod diagnostic;
mod document;
mod duration;
mod effective;
mod explain;
mod fields;
mod findings;
mod format;
mod known;
mod merge;
mod parse;
mod policy;
mod pull;
mod references;
mod report;
mod schema;
mod settings;
mod source;
mod suggest;
mod sync;
mod units;
mod values;
mod workspace;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use effective::{EffectiveValue, effective};
pub use explain::explain;
pub use format::format;
pub use known::{Known, TextDigest};
pub use pull::{Pulled, PulledWorkspace, plain_name, pulled};
pub use report::render;
pub use schema::{SETTINGS_SCHEMA, WORKSPACE_SCHEMA};
pub use settings::FILE_NAME;

use crate::model::{BrokenFile, Desired, Unit};
use document::{Document, Span, small};
use findings::Findings;
use known::{Ground, Learned};
use settings::Settings;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
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
#[derive(Debug, Clone)]
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
}

/// Runs the work once for each number below the first, in any order, perhaps several at the same time.
pub type Spread<'s> = &'s dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Reads the files, in any order. `variable` looks up what `${NAME}` stands for in `[workspaces]` and
/// `[platform]`; references in sources are kept as references.
#[must_use]
pub fn read(files: &[SourceFile<'_>], variable: &dyn Fn(&str) -> Option<String>) -> Reading {
    read_again(files, variable, &|_| None, &Known::default(), &|count, work| (0..count).for_each(work)).0
}

/// The same, given what an earlier reading learned: of a file whose `digest` is known it is taken from
/// there. The work of reading files is `spread`.
#[must_use]
pub fn read_again(
    files: &[SourceFile<'_>],
    variable: &dyn Fn(&str) -> Option<String>,
    digest: &(dyn Fn(&str) -> Option<TextDigest> + Sync),
    known: &Known,
    spread: Spread<'_>,
) -> (Reading, Known) {
    let mut files: Vec<&SourceFile<'_>> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let documents: Vec<Document<'_>> = files
        .iter()
        .map(|file| Document::new(Arc::clone(&file.path), file.text.as_deref().unwrap_or_default()))
        .collect();
    let mut findings = Findings::new(&documents);
    let looked_up = RefCell::default();
    let settings = read_settings(&files, &noting(variable, &looked_up), &mut findings);
    let settings_at = files.iter().position(|file| &*file.path == FILE_NAME).map(small);
    let ground = ground(settings_at.is_some(), digest(FILE_NAME), looked_up.into_inner());

    let wanted: Vec<usize> = wanted(&files, settings.as_ref());
    let learned: Vec<OnceLock<Arc<Learned>>> = wanted.iter().map(|_| OnceLock::new()).collect();
    let (common, shared) = (findings.shared.clone(), settings.as_ref());
    spread(wanted.len(), &|n| {
        let (document, file) = (small(wanted[n]), files[wanted[n]]);
        let mut own = Findings::of_one_file(&documents, &common);
        let before = known.of(ground.as_ref(), &file.path, digest(&file.path));
        let _ = learned[n].set(match before.filter(|before| own.take_room(before.weight)) {
            Some(before) => Learned::numbered(before, document, settings_at),
            None => {
                let reading = read_file(document, file, shared, &mut own);
                Arc::new(own.learned(reading, settings_at))
            }
        });
    });
    let learned: Vec<Arc<Learned>> = learned.into_iter().filter_map(OnceLock::into_inner).collect();
    learned.iter().for_each(|learned| findings.absorb(learned));
    let readings: Vec<&workspace::FileReading> = learned.iter().map(|learned| &learned.reading).collect();
    units::check(&readings, &mut findings);
    let reading = finish(&files, &readings, settings.as_ref(), findings);
    let keep = |(at, learned): (&usize, &Arc<Learned>)| {
        let path = &files[*at].path;
        Some((Arc::clone(path), (digest(path)?, Arc::clone(learned))))
    };
    let files = wanted.iter().zip(&learned).filter_map(keep).collect();
    (reading, Known { ground, files })
}

/// Looks variables up, and notes what was found.
fn noting<'v>(
    variable: &'v dyn Fn(&str) -> Option<String>,
    looked_up: &'v RefCell<BTreeMap<String, Option<String>>>,
) -> impl Fn(&str) -> Option<String> + 'v {
    move |name| {
        let value = variable(name);
        looked_up.borrow_mut().insert(name.to_owned(), value.clone());
        value
    }
}

/// `None` when there are settings whose text cannot be told again.
fn ground(
    exist: bool,
    settings: Option<TextDigest>,
    variables: BTreeMap<String, Option<String>>,
) -> Option<Ground> {
    (settings.is_some() || !exist).then_some(Ground { settings, variables })
}

/// The files that are to be read, by their numbers.
fn wanted(files: &[&SourceFile<'_>], settings: Option<&Settings<'_>>) -> Vec<usize> {
    let patterns = settings.and_then(|settings| settings.files.as_ref());
    let is_wanted = |file: &SourceFile<'_>| {
        let named = patterns.is_none_or(|patterns| {
            // A folder that cannot be reached is listed in place of its files.
            let lost_folder = file.text.is_err() && !file.path.ends_with(".toml");
            patterns.name_file(&file.path) || lost_folder && patterns.name_files_below(&file.path)
        });
        &*file.path != FILE_NAME && named
    };
    (0..files.len()).filter(|at| is_wanted(files[*at])).collect()
}

/// `None` when `wellspring.toml` stands there and has errors.
fn read_settings<'a>(
    files: &[&SourceFile<'a>],
    variable: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings<'_, 'a>,
) -> Option<Settings<'a>> {
    let Some(at) = files.iter().position(|file| &*file.path == FILE_NAME) else {
        return Some(Settings { absent: true, ..Settings::default() });
    };
    let document = u32::try_from(at).unwrap_or(u32::MAX);
    let root = text(document, files[at], findings)?;
    let settings = settings::read(&root, variable, findings);
    findings.documents_with_errors().is_empty().then_some(settings)
}

fn read_file<'a>(
    document: u32,
    file: &SourceFile<'a>,
    settings: Option<&Settings<'a>>,
    findings: &mut Findings<'_, 'a>,
) -> workspace::FileReading {
    if file.path.rsplit('/').next() == Some(FILE_NAME) {
        let top = Span { document, start: 0, end: 0 };
        findings
            .error(Code::NestedSettings, top, format!("{FILE_NAME} is read at the tree's root only"))
            .help("move what it says there, or give the file another name");
        return workspace::FileReading { document, ..Default::default() };
    }
    match text(document, file, findings) {
        Some(root) => workspace::read(document, &root, settings, findings),
        None => workspace::FileReading { document, ..Default::default() },
    }
}

fn text<'a>(
    document: u32,
    file: &SourceFile<'a>,
    findings: &mut Findings<'_, 'a>,
) -> Option<document::Table<'a>> {
    match &file.text {
        Ok(_) => parse::parse(document, findings),
        Err(why) => {
            findings.error(Code::Unreadable, Span { document, start: 0, end: 0 }, why.as_str());
            None
        }
    }
}

fn finish(
    files: &[&SourceFile<'_>],
    readings: &[&workspace::FileReading],
    settings: Option<&Settings<'_>>,
    mut findings: Findings<'_, '_>,
) -> Reading {
    let mut desired = Desired::default();
    let mut setup = Setup::default();
    match settings {
        Some(settings) => {
            (desired.units, desired.broken) = units::assemble(readings, settings, &mut findings);
            desired.platform.clone_from(&settings.platform);
            desired.owner.clone_from(&settings.owner);
            setup.settle = settings.settle;
            setup.aliases = settings.units();
        }
        // Without the settings no file can be trusted to mean what it says.
        None => {
            let all = files.iter().map(|file| Arc::clone(&file.path));
            desired.broken = all.map(|file| BrokenFile { file, units: None }).collect();
        }
    }
    Reading { desired, setup, diagnostics: findings.into_sorted() }
}
