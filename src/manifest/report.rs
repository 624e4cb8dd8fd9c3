//! Diagnostics as text, in the look of rustc.

use super::SourceFile;
use super::diagnostic::{Diagnostic, Label, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

mod conceal;

/// Lines shown around a place, and the most of one line: a file may be one line of megabytes.
const WIDEST: usize = 400;

/// Every diagnostic with the lines it points at. Values that look secret are not shown.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], files: &[SourceFile<'_>], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let wanted: HashMap<&str, &str> =
        files.iter().filter_map(|file| Some((&*file.path, *file.text.as_ref().ok()?))).collect();
    let mut texts: HashMap<&str, String> = HashMap::new();
    for diagnostic in diagnostics {
        let places =
            std::iter::once(&diagnostic.file).chain(diagnostic.labels.iter().map(|label| &label.file));
        for file in places {
            if let Some(text) = wanted.get(&**file)
                && !texts.contains_key(&**file)
            {
                texts.insert(file, conceal::conceal(text));
            }
        }
    }
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, &texts)]));
        out.push_str("\n\n");
    }
    out
}

fn group<'t>(diagnostic: &'t Diagnostic, texts: &'t HashMap<&str, String>) -> Group<'t> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    match texts.get(&*diagnostic.file) {
        Some(text) if !text.is_empty() => {
            let (here, elsewhere): (Vec<&Label>, Vec<&Label>) =
                diagnostic.labels.iter().partition(|label| label.file == diagnostic.file);
            let mut marks = vec![Mark {
                span: diagnostic.span.clone(),
                text: diagnostic.label.as_deref(),
                kind: AnnotationKind::Primary,
            }];
            marks.extend(here.into_iter().map(Mark::of));
            group = group.element(snippet(&diagnostic.file, text, marks));
            let mut others: BTreeMap<&str, Vec<Mark<'t>>> = BTreeMap::new();
            for label in elsewhere {
                others.entry(&label.file).or_default().push(Mark::of(label));
            }
            for (file, marks) in others {
                if let Some(text) = texts.get(file) {
                    group = group.element(snippet(file, text, marks));
                }
            }
        }
        _ => {
            group = group.element(Origin::path(&*diagnostic.file));
        }
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// A place within one file.
struct Mark<'t> {
    span: Range<usize>,
    text: Option<&'t str>,
    kind: AnnotationKind,
}

impl<'t> Mark<'t> {
    fn of(label: &'t Label) -> Self {
        Self { span: label.span.clone(), text: Some(&label.text), kind: AnnotationKind::Context }
    }
}

/// The lines from the first mark to the last, cut to what can be shown.
fn snippet<'t>(
    path: &'t str,
    text: &'t str,
    marks: Vec<Mark<'t>>,
) -> Snippet<'t, annotate_snippets::Annotation<'t>> {
    let first = marks.iter().map(|mark| mark.span.start).min().unwrap_or_default();
    let last = marks.iter().map(|mark| mark.span.end).max().unwrap_or_default();
    let line_start = text[..floor(text, first)].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[floor(text, last)..].find('\n').map_or(text.len(), |at| floor(text, last) + at);
    // One more than the last mark, so that the end of a line can be pointed at.
    let (cut, until) = if line_end - line_start > 100 * WIDEST && marks.len() == 1 {
        (floor(text, line_start.max(first.saturating_sub(WIDEST))), floor(text, line_end.min(first + WIDEST)))
    } else {
        (line_start, line_end)
    };
    let source: Cow<'t, str> = Cow::Borrowed(&text[cut..until]);
    let length = until - cut;
    let line = text[..cut].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let annotations = marks.into_iter().map(|mark| {
        let start = mark.span.start.saturating_sub(cut).min(length);
        let end = mark.span.end.saturating_sub(cut).clamp(start, length);
        mark.kind.span(start..end).label(mark.text)
    });
    let annotations: Vec<_> = annotations.collect();
    Snippet::source(source).line_start(line).path(path).annotations(annotations)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
