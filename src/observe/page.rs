//! HTML pages from compile-time templates that escape their values.

use super::folding::Folding;
use super::level::Level;
use super::plot::{self, Plot};
use super::view::{ChangeRow, FailedWorkspace, PageContext, PageView, SourceRow, WithheldRow, WorkspaceView};
use crate::model::{ErrorKind, SourceLocation, WorkspaceRef};
use crate::report::humanize;
use crate::report::humanize::short_commit as short;
use crate::store::RunRecord;
use askama::Template;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Borrow;
use std::collections::HashMap;

/// Reload interval of a page in seconds.
const REFRESH: u32 = 15;

/// Characters of a path segment that are not percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

pub(super) const STYLE: &str = include_str!("templates/style.css");
pub(super) const ICON: &str = include_str!("templates/icon.svg");

mod to {
    pub(super) use super::{number, pieces, short, source, workspace};
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct OverviewPage<'a> {
    view: &'a PageView,
    passes: Option<Plot>,
    folding: Folding,
    here: &'a PageContext,
    refresh: u32,
}

#[derive(Template)]
#[template(path = "workspace.html")]
pub(super) struct WorkspacePage<'a> {
    view: &'a WorkspaceView,
    stopped: Option<FailedWorkspace>,
    here: &'a PageContext,
    refresh: u32,
}

#[derive(Template)]
#[template(path = "source.html")]
pub(super) struct SourcePage<'a> {
    row: &'a SourceRow,
    runs: Vec<RunRow>,
    plots: Vec<Plot>,
    changes: Vec<ChangeRow>,
    withheld: Vec<WithheldRow>,
    here: &'a PageContext,
    refresh: u32,
}

/// Failing sources with the same reasons.
struct FailureGroup<'a> {
    rows: Vec<&'a SourceRow>,
    reasons: Vec<(Vec<&'static str>, &'a str)>,
}

impl FailureGroup<'_> {
    /// Returns the position in the files if there is one source.
    fn place(&self) -> Option<&SourceLocation> {
        match self.rows.as_slice() {
            [row] => Some(&row.at),
            _ => None,
        }
    }
}

/// A sync in the history.
struct RunRow {
    started_at: Timestamp,
    trigger: &'static str,
    outcome: &'static str,
    level: Level,
    records: String,
    took: String,
    message: String,
}

impl<'a> OverviewPage<'a> {
    pub(super) fn new(
        view: &'a PageView,
        passes: Option<Plot>,
        folding: Folding,
        here: &'a PageContext,
    ) -> Self {
        Self { view, passes, folding, here, refresh: REFRESH }
    }

    fn level(&self) -> Level {
        let view = self.view;
        let rejected = !view.files.accepted && view.files.read_at.is_some();
        let fails = !view.stopped.is_empty() || !view.failing.is_empty();
        if rejected || fails || view.platform_trouble.is_some() {
            Level::Bad
        } else if !view.stale.is_empty() || !view.withheld.is_empty() || !view.files.warnings.is_empty() {
            Level::Warn
        } else if view.totals.pending + view.totals.unknown > 0 || view.files.read_at.is_none() {
            Level::Busy
        } else {
            Level::Good
        }
    }

    /// Groups the failing sources that have the same reasons.
    fn failures(&self) -> Vec<FailureGroup<'_>> {
        let mut groups: Vec<FailureGroup<'_>> = Vec::new();
        let mut places = HashMap::new();
        for row in &self.view.failing.listed {
            let place = *places.entry(row.failures()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.rows.push(row),
                None => groups.push(FailureGroup { rows: vec![row], reasons: row.failures() }),
            }
        }
        groups
    }

    fn is_folded(&self, workspace: &WorkspaceView) -> bool {
        self.folding.is_folded(&workspace.workspace_ref)
    }

    fn fold_all(folded: bool) -> String {
        Folding::all(folded)
    }

    fn title(&self) -> String {
        format!("{} – Wellspring", self.verdict())
    }

    /// Summarises the most severe problem.
    fn verdict(&self) -> String {
        let view = self.view;
        let mut told = Vec::new();
        if view.files.unreadable.is_some() {
            told.push("the files cannot be read".to_owned());
        } else if view.files.errors > 0 {
            told.push(format!("{} in the files", humanize::count(view.files.errors, "error")));
        }
        let warnings = view.files.warnings.len();
        if warnings > 0 {
            told.push(format!("{} in the files", humanize::count(warnings, "warning")));
        }
        if let Some(trouble) = &view.platform_trouble {
            told.push(match trouble.kind {
                ErrorKind::Auth => "the platform refuses the token".to_owned(),
                ErrorKind::Token => "the token cannot be read".to_owned(),
                _ => "the platform cannot be reached".to_owned(),
            });
        }
        let counts = [
            (view.totals.stopped, "workspace", "failing"),
            (view.totals.failing, "source", "failing"),
            (view.totals.stale, "source", "stale"),
            (view.totals.withheld, "change", "withheld"),
        ];
        let counts = counts.iter().filter(|(n, ..)| *n > 0);
        told.extend(counts.map(|(n, noun, word)| format!("{} {word}", humanize::count(*n, noun))));
        if told.is_empty() {
            let pending = || humanize::count(view.totals.pending, "source");
            return match self.level() {
                Level::Busy if view.files.read_at.is_none() => "Reading the files".to_owned(),
                Level::Busy if view.totals.pending == 0 => {
                    format!("{} not checked yet", humanize::count(view.totals.unknown, "source"))
                }
                Level::Busy if view.dry_run => format!("Dry run: {} would change", pending()),
                Level::Busy => format!("Applying changes to {}", pending()),
                _ if view.dry_run && view.totals.sources > 0 => "Dry run: nothing would change".to_owned(),
                _ if view.totals.sources == 0 => "No sources are declared".to_owned(),
                _ => "All is well".to_owned(),
            };
        }
        let mut told = told.join(", ");
        if let Some(first) = told.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        told
    }
}

impl<'a> WorkspacePage<'a> {
    pub(super) fn new(
        view: &'a WorkspaceView,
        stopped: Option<FailedWorkspace>,
        here: &'a PageContext,
    ) -> Self {
        Self { view, stopped, here, refresh: REFRESH }
    }
}

impl<'a> SourcePage<'a> {
    pub(super) fn new(
        row: &'a SourceRow,
        runs: &[RunRecord],
        changes: Vec<ChangeRow>,
        withheld: Vec<WithheldRow>,
        here: &'a PageContext,
    ) -> Self {
        let plots = plot::syncs(runs, here.now, &here.zone);
        let runs = runs.iter().map(RunRow::of).collect();
        Self { row, runs, plots, changes, withheld, here, refresh: REFRESH }
    }
}

impl RunRow {
    fn of(run: &RunRecord) -> Self {
        let took = run.finished_at.map(|end| end.duration_since(run.started_at).unsigned_abs());
        Self {
            started_at: run.started_at,
            trigger: run.trigger.as_str(),
            outcome: run.outcome.as_str(),
            level: Level::of(run.outcome),
            records: run
                .records
                .map(|n| humanize::number(usize::try_from(n).unwrap_or(usize::MAX)))
                .unwrap_or_default(),
            took: took.map(humanize::duration).unwrap_or_default(),
            message: run.message.clone().unwrap_or_default(),
        }
    }
}

impl PageContext {
    fn ago(&self, at: impl Into<DisplayTime>) -> String {
        humanize::ago(at.into().0, self.now)
    }

    fn until(&self, at: impl Into<DisplayTime>) -> String {
        let at = at.into().0;
        if at.duration_since(self.now).as_secs() <= 0 {
            "now".to_owned()
        } else {
            humanize::ago(at, self.now)
        }
    }

    fn moment(&self, at: impl Into<DisplayTime>) -> String {
        humanize::moment(at.into().0, &self.zone, self.now)
    }

    fn clock(&self, at: impl Into<DisplayTime>) -> String {
        at.into().0.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S %Z").to_string()
    }
}

/// Wrapper that accepts values and references from templates.
struct DisplayTime(Timestamp);

impl From<Timestamp> for DisplayTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<&Timestamp> for DisplayTime {
    fn from(at: &Timestamp) -> Self {
        Self(*at)
    }
}

impl From<&&Timestamp> for DisplayTime {
    fn from(at: &&Timestamp) -> Self {
        Self(**at)
    }
}

/// Returns the URL of a source's page.
fn source(at: &WorkspaceRef, name: &str) -> String {
    format!("{}/{}", workspace(at), utf8_percent_encode(name, SEGMENT))
}

/// Returns the URL of a workspace's page.
fn workspace(workspace: &WorkspaceRef) -> String {
    let (id, scope) = (workspace.workspace.display_text(), workspace.scope.as_str());
    format!("/workspaces/{}/{}", utf8_percent_encode(id, SEGMENT), utf8_percent_encode(scope, SEGMENT))
}

fn number(count: impl Borrow<usize>) -> String {
    humanize::number(*count.borrow())
}

/// Returns the parts of a name or path between which a line may break.
fn pieces(text: impl std::fmt::Display) -> Vec<String> {
    let text = text.to_string();
    let mut pieces = vec![String::new()];
    let mut before = None;
    for c in text.chars() {
        let ends = matches!(before, Some(('_' | '-' | '/', true)));
        if ends && c.is_alphanumeric() {
            pieces.push(String::new());
        }
        let joins = before.is_some_and(|(before, _): (char, bool)| before.is_alphanumeric());
        before = Some((c, joins));
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn a_line_breaks_between_the_words_of_a_name() {
        assert_eq!(pieces("trips_of_the-last"), ["trips_", "of_", "the-", "last"]);
        assert_eq!(pieces("workspaces/a.toml:16"), ["workspaces/", "a.toml:16"]);
        assert_eq!(pieces("</script>__x"), ["</script>__x"]);
        assert_eq!(pieces(""), [""]);
    }
}
