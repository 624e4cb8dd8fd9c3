//! `files`: patterns of the files to read.

use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable};
use super::fields;
use super::sink::DiagnosticSink;
use super::suggest;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeSet;

pub(super) struct Patterns {
    set: GlobSet,
    patterns: Vec<FilePattern>,
}

struct FilePattern {
    text: String,
    span: Span,
    /// Length up to the first wildcard.
    plain: usize,
}

impl FilePattern {
    /// Returns true if a file below this folder may match.
    ///
    /// The folder ends with a slash.
    fn may_match_below(&self, folder: &str) -> bool {
        self.literal_prefix().starts_with(folder) || folder.starts_with(self.literal_prefix())
    }

    /// Returns a suggestion: a folder or a file with a similar name, if any.
    fn suggestion(&self, paths: &[&str]) -> String {
        let start = self.literal_prefix();
        let folders: BTreeSet<&str> =
            paths.iter().flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at])).collect();
        if self.plain == self.text.len() {
            if let Some(file) = suggest::nearest(start, paths.iter().copied()) {
                return format!("did you mean `{}`?", display_key(file));
            }
        } else if let Some(end) = start.rfind('/')
            && !folders.contains(&start[..end])
            && let Some(folder) = suggest::nearest(&start[..end], folders)
        {
            return format!("did you mean `{}{}`?", display_key(folder), display_key(&self.text[end..]));
        }
        "nothing is read through this pattern; correct it, or remove it".to_owned()
    }

    fn literal_prefix(&self) -> &str {
        &self.text[..self.plain]
    }
}

impl Patterns {
    /// Compiles patterns; `None` if one is invalid.
    pub(super) fn of(texts: &[String]) -> Option<Self> {
        let mut set = GlobSetBuilder::new();
        for text in texts {
            set.add(compiled(text).ok()?);
        }
        Some(Self { set: set.build().ok()?, patterns: Vec::new() })
    }

    /// Returns the patterns as written.
    pub(super) fn texts(&self) -> Vec<String> {
        self.patterns.iter().map(|pattern| pattern.text.clone()).collect()
    }

    /// Returns true if the patterns match this path.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// Returns true if files below this folder may match.
    pub(super) fn may_match_in(&self, folder: &str) -> bool {
        let folder = format!("{folder}/");
        self.patterns.iter().any(|pattern| pattern.may_match_below(&folder))
    }

    /// Warns about patterns that match none of these paths.
    pub(super) fn check_matched(&self, paths: &[&str], findings: &mut DiagnosticSink<'_, '_>) {
        let mut matched: BTreeSet<usize> = BTreeSet::new();
        for path in paths {
            if matched.len() == self.patterns.len() {
                return;
            }
            matched.extend(self.set.matches(path));
            if !path.ends_with(".toml") {
                // A directory that cannot be listed appears instead of its files.
                let folder = format!("{path}/");
                let below =
                    |(n, pattern): (usize, &FilePattern)| pattern.may_match_below(&folder).then_some(n);
                matched.extend(self.patterns.iter().enumerate().filter_map(below));
            }
        }
        for (_, pattern) in self.patterns.iter().enumerate().filter(|(n, _)| !matched.contains(n)) {
            let message = format!("no file matches the pattern `{}`", display_key(&pattern.text));
            findings.warning(Code::UnmatchedPattern, pattern.span, message).help(pattern.suggestion(paths));
        }
    }
}

fn compiled(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// Reads `files`.
pub(super) fn patterns(root: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<Patterns> {
    let mut set = GlobSetBuilder::new();
    let mut patterns = Vec::new();
    for (pattern, span) in fields::words(root, "files", findings)? {
        match compiled(pattern) {
            Ok(glob) => {
                set.add(glob);
                let plain = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
                patterns.push(FilePattern { text: pattern.to_owned(), span, plain });
            }
            Err(error) => {
                findings.error(Code::InvalidValue, span, "this is not a file pattern").help(format!(
                    "{}; for example \"workspaces/**/*.toml\"",
                    display_key(&error.kind().to_string())
                ));
            }
        }
    }
    Some(Patterns { set: set.build().ok()?, patterns })
}
