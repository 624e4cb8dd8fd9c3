//! Parses the files into the desired state and diagnostics.
//!
//! Invariant: pure; texts and variables are arguments. A file with an error contributes nothing and is listed
//! in [`Desired::broken`]; the other files are used.

mod account;
mod addresses;
mod assemble;
mod cache;
mod cron;
mod depth;
mod diagnostic;
pub mod document;
mod duration;
mod effective;
pub mod events;
mod explain;
pub mod fields;
mod format;
mod generate;
pub mod keys;
mod load_files;
mod merge;
pub mod parse;
mod patterns;
mod placing;
mod policy;
pub mod references;
mod repo_settings;
mod schema;
mod settings;
pub mod sink;
mod snippet;
mod source;
mod suggest;
mod sync;
mod syntax;
mod unused;
mod values;
mod workspace;

pub use cache::{CachedFileText, NeedsText, ParseCache, TextDigest, WorkspaceFingerprint};
pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use effective::{EffectiveValue, effective};
pub use explain::explain;
pub use format::format;
pub use generate::{Pulled, PulledWorkspace, generate, plain_name};
pub use placing::path_for;
pub use repo_settings::{FILE_NAME, Lookup};
pub use schema::{SETTINGS_SCHEMA, WORKSPACE_SCHEMA};
pub use snippet::render;
pub use suggest::nearest;
pub use unused::unused;

use crate::model::{BrokenFile, CompressedWorkspace, Desired, DesiredWorkspace, WorkspaceRef};
use cache::CacheKey;
use document::{Document, small};
use patterns::Patterns;
use repo_settings::RepoSettings;
use sink::DiagnosticSink;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One file of the project.
#[derive(Debug, Clone)]
pub struct SourceFile<'a> {
    /// Path below the project root, with `/`.
    pub path: Arc<str>,
    /// Contents, or the reason why they could not be read.
    pub text: Result<&'a str, String>,
}

/// Result of parsing the files.
#[derive(Debug, Clone, Default)]
pub struct ParsedTree {
    /// Desired state, from the files without errors.
    pub desired: Desired,
    /// Further settings of `wellspring.toml`.
    pub setup: ParseSettings,
    /// All diagnostics, sorted by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl ParsedTree {
    /// Returns true if any file has an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Settings of `wellspring.toml` that are not part of the desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParseSettings {
    /// `platform.settle`: time after a write during which a list may be out of date.
    pub settle: Option<Duration>,
    /// `[workspaces]`: aliases with a known id.
    pub aliases: BTreeMap<String, WorkspaceRef>,
    /// Names of the variables that were looked up.
    pub variables: Vec<String>,
    /// `files`: patterns of the files to read, if any.
    pub files: Option<Vec<String>>,
}

/// Function that runs work for each number below the first argument.
///
/// The order is arbitrary, and calls may run in parallel.
pub type Parallel<'s> = &'s dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Function that wraps a workspace for storage.
type CompressFn = fn(Arc<DesiredWorkspace>) -> CompressedWorkspace;

/// Parses the files, given in any order.
///
/// `variable` looks up the value of `${NAME}` in `[workspaces]` and `[platform]`; references in sources are
/// kept as references.
#[must_use]
pub fn read(files: &[SourceFile<'_>], variable: &dyn Fn(&str) -> Option<String>) -> ParsedTree {
    let files: Vec<CachedFileText<'_>> = files.iter().map(CachedFileText::of).collect();
    let variable = |name: &str| variable(name).into();
    read_with_cache(&files, &variable, &ParseCache::default(), &|count, work| (0..count).for_each(work)).0
}

/// Like [`read`], using the results of an earlier load.
///
/// Every file must have its text, or the reason why it has none. Parsing is distributed by `spread`;
/// workspaces are not compressed.
#[must_use]
pub fn read_with_cache(
    files: &[CachedFileText<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &ParseCache,
    spread: Parallel<'_>,
) -> (ParsedTree, ParseCache) {
    #[expect(clippy::expect_used, reason = "the caller gives every text")]
    read_keeping(files, variable, known, CompressedWorkspace::uncompressed, spread)
        .expect("no text is missing")
}

/// Like [`read_with_cache`], but compresses workspaces and uses cached files.
///
/// A file with a known digest needs no text.
///
/// # Errors
/// With the paths of such files if their text is needed after all.
pub fn read_compressed(
    files: &[CachedFileText<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &ParseCache,
    spread: Parallel<'_>,
) -> Result<(ParsedTree, ParseCache), NeedsText> {
    /// Maximum number of changed files for which workspaces stay decompressed at first.
    ///
    /// A user is probably waiting for the result.
    const MAX_INTERACTIVE_FILES: usize = 8;
    let few = files.iter().filter(|file| file.text.is_some()).count() <= MAX_INTERACTIVE_FILES;
    let keep = if few { CompressedWorkspace::compress_keep_open } else { CompressedWorkspace::compress };
    read_keeping(files, variable, known, keep, spread)
}

fn read_keeping(
    files: &[CachedFileText<'_>],
    variable: &dyn Fn(&str) -> Lookup,
    known: &ParseCache,
    keep: CompressFn,
    spread: Parallel<'_>,
) -> Result<(ParsedTree, ParseCache), NeedsText> {
    let mut files: Vec<&CachedFileText<'_>> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let documents: Vec<Document<'_>> =
        files.iter().map(|file| Document::new(Arc::clone(&file.path), file.text())).collect();
    let mut findings = DiagnosticSink::new(&documents);
    let mut reading = ParsedTree::default();
    let looked_up = RefCell::default();
    let (settings, sound) = read_settings(&files, &recording(variable, &looked_up), &mut findings)?;
    let settings_file = files.iter().find(|file| &*file.path == FILE_NAME);
    let looked_up = looked_up.into_inner();
    reading.setup.variables = looked_up.keys().cloned().collect();
    let ground = cache_key(settings_file.copied(), looked_up);
    let wanted = selected_files(&files, settings.as_ref());
    if let Some(patterns) = settings.as_ref().and_then(|settings| settings.files.as_ref()) {
        let paths: Vec<&str> =
            files.iter().map(|file| &*file.path).filter(|path| *path != FILE_NAME).collect();
        patterns.check_matched(&paths, &mut findings);
    }
    let known = known.on(ground.as_ref());

    let mut learned = ParseCache { key: ground, ..ParseCache::default() };
    let read = load_files::read(&files, &wanted, settings.as_ref(), known, &mut findings, keep, spread)?;
    match &settings {
        Some(settings) if sound => {
            reading.desired.workspaces = read.workspaces;
            reading.desired.unchanged = read.unchanged;
            reading.desired.broken = read.broken_files;
            reading.desired.platform.clone_from(&settings.platform);
            reading.desired.owner.clone_from(&settings.owner);
            reading.setup.settle = settings.settle;
            reading.setup.aliases = settings.workspaces();
            reading.setup.files = settings.files.as_ref().map(Patterns::texts);
            (learned.files, learned.workspaces) = read.cache;
        }
        // Without valid settings the meaning of the other files is unknown.
        _ => {
            let all = files.iter().map(|file| Arc::clone(&file.path));
            reading.desired.broken = all.map(|file| BrokenFile { file, workspaces: None }).collect();
        }
    }
    reading.diagnostics = findings.into_sorted();
    Ok((reading, learned))
}

/// Wraps a variable lookup to record the values found.
fn recording<'v>(
    variable: &'v dyn Fn(&str) -> Lookup,
    looked_up: &'v RefCell<BTreeMap<String, Option<String>>>,
) -> impl Fn(&str) -> Lookup + 'v {
    move |name| {
        let value = variable(name);
        looked_up.borrow_mut().insert(name.to_owned(), value.clone().value());
        value
    }
}

/// Returns the cache key of a load; `None` if the settings have no digest.
fn cache_key(
    settings: Option<&CachedFileText<'_>>,
    variables: BTreeMap<String, Option<String>>,
) -> Option<CacheKey> {
    match settings {
        Some(file) => file.digest.map(|digest| CacheKey { settings: Some(digest), variables }),
        None => Some(CacheKey { settings: None, variables }),
    }
}

/// Returns the indexes of the files to read.
fn selected_files(files: &[&CachedFileText<'_>], settings: Option<&RepoSettings<'_>>) -> Vec<usize> {
    let patterns = settings.and_then(|settings| settings.files.as_ref());
    let is_wanted = |file: &CachedFileText<'_>| {
        let named = patterns.is_none_or(|patterns| {
            // A directory that cannot be listed appears instead of its files.
            let lost_folder = matches!(file.text, Some(Err(_))) && !file.path.ends_with(".toml");
            patterns.matches(&file.path) || lost_folder && patterns.may_match_in(&file.path)
        });
        &*file.path != FILE_NAME && named
    };
    (0..files.len()).filter(|at| is_wanted(files[*at])).collect()
}

/// Returns the settings, and whether they are valid.
///
/// The settings are `None` if they are so incomplete that checks of other files against them would be wrong.
fn read_settings<'a>(
    files: &[&CachedFileText<'a>],
    variable: &dyn Fn(&str) -> Lookup,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> Result<(Option<RepoSettings<'a>>, bool), NeedsText> {
    let Some(at) = files.iter().position(|file| &*file.path == FILE_NAME) else {
        return Ok((Some(RepoSettings { absent: true, ..RepoSettings::default() }), true));
    };
    if files[at].text.is_none() {
        return Err(NeedsText(vec![Arc::clone(&files[at].path)]));
    }
    let Some(root) = load_files::text(small(at), files[at], findings) else { return Ok((None, false)) };
    let settings = settings::read(&root, variable, findings);
    let sound = findings.documents_with_errors().is_empty();
    Ok((settings.names_complete.then_some(settings), sound))
}
