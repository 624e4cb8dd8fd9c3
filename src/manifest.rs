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
mod merge;
mod parse;
mod policy;
mod references;
mod report;
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
pub use report::render;
pub use settings::FILE_NAME;

use crate::model::{BrokenFile, Desired};
use document::{Document, Span};
use findings::Findings;
use settings::Settings;
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
}

/// Reads the files, in any order. `variable` looks up what `${NAME}` stands for in `[workspaces]` and
/// `[platform]`; references in sources are kept as references.
#[must_use]
pub fn read(files: &[SourceFile<'_>], variable: &dyn Fn(&str) -> Option<String>) -> Reading {
    let mut files: Vec<&SourceFile<'_>> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let documents: Vec<Document<'_>> = files
        .iter()
        .map(|file| Document::new(Arc::clone(&file.path), file.text.as_deref().unwrap_or_default()))
        .collect();
    let mut findings = Findings::new(&documents);
    let settings = read_settings(&files, variable, &mut findings);
    let mut readings = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let document = u32::try_from(at).unwrap_or(u32::MAX);
        let patterns = settings.as_ref().and_then(|settings| settings.files.as_ref());
        let read = patterns.is_none_or(|patterns| {
            // A folder that cannot be reached is listed in place of its files.
            let lost_folder = file.text.is_err() && !file.path.ends_with(".toml");
            patterns.name_file(&file.path) || lost_folder && patterns.name_files_below(&file.path)
        });
        if &*file.path != FILE_NAME && read {
            readings.push(read_file(document, file, settings.as_ref(), &mut findings));
        }
    }
    units::check(&readings, &mut findings);
    finish(&files, &readings, settings.as_ref(), findings)
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
    readings: &[workspace::FileReading],
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
        }
        // Without the settings no file can be trusted to mean what it says.
        None => {
            let all = files.iter().map(|file| Arc::clone(&file.path));
            desired.broken = all.map(|file| BrokenFile { file, units: None }).collect();
        }
    }
    Reading { desired, setup, diagnostics: findings.into_sorted() }
}
