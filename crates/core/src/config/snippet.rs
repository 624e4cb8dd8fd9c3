//! Formats diagnostics as text, in the style of rustc.

use super::SourceFile;
use super::diagnostic::{Diagnostic, Label, Severity};
use crate::model::is_invisible_or_bidi;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

mod redact;

/// Maximum number of bytes shown on either side of a location.
///
/// A file may be a single line of megabytes.
const MAX_CONTEXT_CHARS: usize = 400;

/// Formats every diagnostic with the lines it refers to.
///
/// Values that look secret are masked.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], files: &[SourceFile<'_>], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let wanted: HashMap<&str, &str> =
        files.iter().filter_map(|file| Some((&*file.path, *file.text.as_ref().ok()?))).collect();
    let mut hidden: HashMap<&str, Vec<Range<usize>>> = HashMap::new();
    for diagnostic in diagnostics.iter().filter(|diagnostic| !diagnostic.redacted.is_empty()) {
        hidden.entry(&diagnostic.file).or_default().extend(diagnostic.redacted.iter().cloned());
    }
    let mut shown: HashMap<&str, DisplayFile> = HashMap::new();
    for diagnostic in diagnostics {
        let places =
            std::iter::once(&diagnostic.file).chain(diagnostic.labels.iter().map(|label| &label.file));
        for file in places {
            shown.entry(file).or_insert_with(|| DisplayFile {
                path: file.chars().flat_map(char::escape_debug).collect(),
                text: wanted
                    .get(&**file)
                    .map(|text| redact::redact(text, hidden.get(&**file).map_or(&[], Vec::as_slice)))
                    .unwrap_or_default(),
            });
        }
    }
    let mut out = String::new();
    for diagnostic in diagnostics {
        // The renderer does not replace invisible characters.
        let text = renderer.render(&[group(diagnostic, &shown)]);
        out.extend(text.chars().map(|c| if is_hidden_char(c) { char::REPLACEMENT_CHARACTER } else { c }));
        out.push_str("\n\n");
    }
    out
}

/// Returns true for invisible characters, except control characters and joiners.
///
/// The renderer replaces control characters itself; joiners are parts of words.
fn is_hidden_char(c: char) -> bool {
    is_invisible_or_bidi(c) && !c.is_control() && !matches!(c, '\u{200c}' | '\u{200d}')
}

struct DisplayFile {
    /// Path with control characters escaped.
    path: String,
    /// Text without secrets; empty if there is none.
    text: String,
}

fn group<'t>(diagnostic: &'t Diagnostic, files: &'t HashMap<&str, DisplayFile>) -> Group<'t> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    match files.get(&*diagnostic.file) {
        Some(file) if !file.text.is_empty() => {
            let (here, elsewhere): (Vec<&Label>, Vec<&Label>) =
                diagnostic.labels.iter().partition(|label| label.file == diagnostic.file);
            let mut marks = vec![SnippetLabel {
                span: diagnostic.span.clone(),
                text: diagnostic.label.as_deref(),
                kind: AnnotationKind::Primary,
            }];
            marks.extend(here.into_iter().map(SnippetLabel::of));
            group = group.element(snippet(file, marks));
            let mut others: BTreeMap<&str, Vec<SnippetLabel<'t>>> = BTreeMap::new();
            for label in elsewhere {
                others.entry(&label.file).or_default().push(SnippetLabel::of(label));
            }
            for (file, marks) in others {
                if let Some(file) = files.get(file) {
                    group = group.element(snippet(file, marks));
                }
            }
        }
        Some(file) => group = group.element(Origin::path(file.path.as_str())),
        None => {}
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// A location within one file.
struct SnippetLabel<'t> {
    span: Range<usize>,
    text: Option<&'t str>,
    kind: AnnotationKind,
}

impl<'t> SnippetLabel<'t> {
    fn of(label: &'t Label) -> Self {
        Self { span: label.span.clone(), text: Some(&label.text), kind: AnnotationKind::Context }
    }
}

/// Builds the snippet from the first mark to the last.
///
/// If a line is too long, the snippet is an excerpt around the first mark.
fn snippet<'t>(file: &'t DisplayFile, mut marks: Vec<SnippetLabel<'t>>) -> Snippet<'t, Annotation<'t>> {
    let text = file.text.as_str();
    let line_start = |at: usize| text[..floor(text, at)].rfind('\n').map_or(0, |at| at + 1);
    let line_end =
        |at: usize| text[floor(text, at)..].find('\n').map_or(text.len(), |end| floor(text, at) + end);
    let first = marks.iter().map(|mark| mark.span.start).min().unwrap_or_default();
    let last = marks.iter().map(|mark| mark.span.end).max().unwrap_or_default();
    let (mut cut, mut until) = (line_start(first), line_end(last));
    if marks.iter().any(|mark| line_end(mark.span.end) - line_start(mark.span.start) > 10 * MAX_CONTEXT_CHARS)
    {
        marks.truncate(1);
        let at = marks.first().map_or(first, |mark| mark.span.start);
        cut = floor(text, line_start(at).max(at.saturating_sub(MAX_CONTEXT_CHARS)));
        until = floor(text, line_end(at).min(at + MAX_CONTEXT_CHARS));
    }
    let length = until - cut;
    let line = text[..cut].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let annotations: Vec<_> = marks
        .into_iter()
        .map(|mark| {
            let start = mark.span.start.saturating_sub(cut).min(length);
            let end = mark.span.end.saturating_sub(cut).clamp(start, length);
            mark.kind.span(start..end).label(mark.text)
        })
        .collect();
    Snippet::source(&text[cut..until]).line_start(line).path(file.path.as_str()).annotations(annotations)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
