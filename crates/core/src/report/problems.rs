//! Problems outside the plan, shown before it.

use super::{escape, humanize};
use crate::model::WorkspaceRef;
use crate::plan::{Plan, TestStatus};
use std::sync::Arc;

/// Maximum number of files, workspaces or sources named in one line.
const MAX_NAMED: usize = 10;

/// Problems that a plan does not contain.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    /// Files with errors: the sources in them are not in the plan.
    pub rejected: Vec<Arc<str>>,
    /// Workspaces that are no longer declared.
    pub orphaned: Vec<Orphan>,
    /// There is no state, so none of the listed sources is known as managed.
    pub unknown_ownership: bool,
}

/// An undeclared workspace with managed sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Workspace and scope.
    pub workspace: WorkspaceRef,
    /// Number of its managed sources.
    pub sources: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gravity {
    Error,
    Warning,
}

impl Problems {
    /// Returns each problem as a sentence without a full stop, most severe first.
    pub(super) fn lines(&self, plan: &Plan) -> Vec<(Gravity, String)> {
        let mut lines = Vec::new();
        if !self.rejected.is_empty() {
            let files = humanize::count(self.rejected.len(), "file");
            let names = named(self.rejected.iter().map(|file| escape::terminal_line(file)).collect());
            let whose = if self.rejected.len() == 1 { "its" } else { "their" };
            let what =
                format!("{files} rejected because of errors, so {whose} sources are not planned: {names}");
            lines.push((Gravity::Error, what));
        }
        let failed = failed_tests(plan);
        if !failed.is_empty() {
            let tests = humanize::count(failed.len(), "connection test");
            lines.push((Gravity::Error, format!("{tests} failed: {}", named(failed))));
        }
        for Orphan { workspace, sources } in self.orphaned.iter().take(MAX_NAMED) {
            let workspace = escape::terminal_line(&workspace.to_string());
            let (kept, them) = match sources {
                1 => ("its 1 source is kept".to_owned(), "it"),
                many => (format!("its {} sources are kept", humanize::number(*many)), "them"),
            };
            lines.push((
                Gravity::Warning,
                format!(
                    "workspace {workspace} is no longer declared; {kept}. To remove {them}, declare the \
                     workspace with `sources = {{}}`"
                ),
            ));
        }
        if let Some(more) = self.orphaned.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            let more = humanize::count(more, "more workspace");
            lines.push((Gravity::Warning, format!("{more} no longer declared")));
        }
        if self.unknown_ownership {
            let what = "there is no state here, so the managed sources are unknown; use the state \
                        directory of the process that applies (--state-dir)";
            lines.push((Gravity::Warning, what.to_owned()));
        }
        lines
    }
}

/// Returns `WORKSPACE/SOURCE` of each failed connection test.
pub(super) fn failed_tests(plan: &Plan) -> Vec<String> {
    let actions = plan
        .workspaces
        .iter()
        .flat_map(|workspace| workspace.actions.iter().map(move |action| (workspace, action)));
    let failed =
        actions.filter(|(_, action)| matches!(action.test_status, Some(TestStatus { passed: false, .. })));
    failed
        .map(|(workspace, action)| {
            escape::terminal_line(&format!("{}/{}", workspace.desired.label(), action.source))
        })
        .collect()
}

fn named(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    if more > 0 {
        names.push(format!("{} more", humanize::number(more)));
    }
    humanize::list(&names)
}
