//! Selection of workspaces and sources: WORKSPACE[/SOURCE], `-w` and `-s`.

use super::CommandError;
use super::args::Selection;
use crate::config;
use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, SourceKey, SourceName};
use crate::plan::WorkspacePlan;
use crate::reconcile::Task;
use globset::{Glob, GlobMatcher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A compiled [`Selection`].
pub(super) struct Selector {
    workspaces: Vec<SelectedWorkspace>,
    sources: Vec<SourcePattern>,
}

struct SelectedWorkspace {
    name: String,
    matched: MatchTracker,
}

struct SourcePattern {
    text: String,
    /// `None`: any.
    workspace: Option<GlobMatcher>,
    source: GlobMatcher,
    /// Kind of a name without a slash; `None` for other patterns.
    unqualified: Option<Bare>,
    matched: MatchTracker,
}

/// A name that is a workspace's if a workspace has it, and a source's otherwise.
#[derive(Default)]
struct Bare(OnceLock<bool>);

/// Set once anything matched.
#[derive(Default)]
struct MatchTracker(AtomicBool);

impl Selector {
    pub(super) fn new(selection: &Selection) -> Result<Self, CommandError> {
        let workspace =
            |name: &String| SelectedWorkspace { name: name.clone(), matched: MatchTracker::default() };
        let targets = selection.targets.iter().map(|text| SourcePattern::new(text, Some(Bare::default())));
        let sources = selection.source.iter().map(|text| SourcePattern::new(text, None));
        Ok(Self {
            workspaces: selection.workspace.iter().map(workspace).collect(),
            sources: targets.chain(sources).collect::<Result<_, CommandError>>()?,
        })
    }

    pub(super) fn selects_everything(&self) -> bool {
        self.workspaces.is_empty() && self.sources.is_empty()
    }

    /// Decides which names without a slash are declared workspaces.
    pub(super) fn resolve_names(&self, reading: &LoadedConfig) {
        for pattern in &self.sources {
            let Some(Bare(is_workspace)) = &pattern.unqualified else { continue };
            let declared = || reading.desired.workspaces.iter().map(|workspace| workspace.names());
            is_workspace.get_or_init(|| {
                declared().any(|names| names.iter().any(|name| pattern.source.is_match(name)))
            });
        }
    }

    /// The sources as `-s` takes them.
    pub(super) fn source_patterns(&self) -> Vec<String> {
        let pattern = |pattern: &SourcePattern| {
            if pattern.is_workspace() { format!("{}/*", pattern.text) } else { pattern.text.clone() }
        };
        self.sources.iter().map(pattern).collect()
    }

    /// Returns true if anything of the workspace with these names is selected.
    pub(super) fn selects_workspace(&self, names: [&str; 2]) -> bool {
        let named = |workspace: &SelectedWorkspace| {
            workspace.matched.record(names.contains(&workspace.name.as_str()))
        };
        (self.workspaces.is_empty() || any(&self.workspaces, named))
            && (self.sources.is_empty() || any(&self.sources, |pattern| pattern.matches_workspace(names)))
    }

    pub(super) fn source(&self, desired: &DesiredWorkspace, key: &SourceKey, name: &SourceName) -> bool {
        self.source_of(desired.names(), key, name)
    }

    /// Returns true if this source of the workspace with these names is selected.
    pub(super) fn source_of(&self, workspace: [&str; 2], key: &SourceKey, name: &SourceName) -> bool {
        let matches =
            |pattern: &SourcePattern| pattern.matched.record(pattern.matches_source(workspace, key, name));
        self.sources.is_empty() || any(&self.sources, matches)
    }

    /// Returns true if a pattern without a match so far would match this source.
    pub(super) fn has_unmatched_pattern_for(
        &self,
        desired: &DesiredWorkspace,
        key: &SourceKey,
        name: &SourceName,
    ) -> bool {
        self.sources
            .iter()
            .any(|pattern| !pattern.matched.get() && pattern.matches_source(desired.names(), key, name))
    }

    /// Fails if `-w` names a workspace that is not declared.
    ///
    /// Broken files may declare it.
    pub(super) fn require_declared_workspaces(&self, reading: &LoadedConfig) -> Result<(), CommandError> {
        let all = self.workspaces.iter().map(|workspace| (workspace.name.as_str(), &workspace.matched));
        first_unmatched(all, reading.has_errors()).map_or(Ok(()), |name| {
            let declared = reading.desired.workspaces.iter().flat_map(|workspace| workspace.names());
            let todo = config::nearest(name, declared).map_or_else(
                || "`wellspring show` lists the declared ones".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            Err(CommandError::usage(&format!("no declared workspace is called `{name}`; {todo}")))
        })
    }

    /// Fails if a pattern matches nothing.
    ///
    /// `what` names the things it should match, `todo` the usual fix.
    pub(super) fn require_matches(
        &self,
        reading: &LoadedConfig,
        what: &str,
        todo: &str,
    ) -> Result<(), CommandError> {
        let all = self.sources.iter().map(|pattern| (pattern.text.as_str(), &pattern.matched));
        let Some(text) = first_unmatched(all, reading.has_errors()) else { return Ok(()) };
        let what = if text.contains('/') || self.sources.iter().all(|pattern| pattern.unqualified.is_none()) {
            what.to_owned()
        } else {
            format!("workspace or {what}")
        };
        let todo =
            nearest(text, reading).map_or_else(|| todo.to_owned(), |near| format!("did you mean `{near}`?"));
        Err(CommandError::usage(&format!("no {what} matches `{text}`; {todo}")))
    }

    /// Lifts the quarantine of sources that are named: the user wants them tried again.
    pub(super) fn release_quarantine(&self, tasks: &mut [Task]) {
        for task in tasks {
            let desired = task.desired.open();
            let names = desired.names();
            let named = desired.sources.iter().filter(|source| {
                let mut patterns = self.sources.iter().filter(|pattern| !pattern.is_workspace());
                patterns.any(|pattern| pattern.matches_source(names, &source.key, &source.name))
            });
            task.released = named.map(|source| source.name.clone()).collect();
        }
    }

    /// Leaves only selected sources in a plan.
    pub(super) fn filter_plan(&self, plan: &mut WorkspacePlan) {
        if self.sources.is_empty() {
            return;
        }
        let workspace = std::sync::Arc::clone(&plan.desired);
        let names = workspace.names();
        if plan.error.is_some() {
            // The sources of the workspace are not known.
            any(&self.sources, |pattern| pattern.matched.record(pattern.matches_workspace(names)));
        }
        let whole = any(&self.sources, |pattern| pattern.is_whole() && pattern.matches_workspace(names));
        let key_of = |name: &SourceName| workspace.source(name).map(|source| source.key.clone());
        let by_name = |name: &SourceName| {
            let key = key_of(name).or_else(|| SourceKey::parse(name.as_str()).ok());
            whole || key.is_some_and(|key| self.source(&workspace, &key, name))
        };
        plan.actions.retain(|action| self.source(&workspace, &action.source, &action.name));
        plan.withheld.retain(|withheld| self.source(&workspace, &withheld.source, &withheld.name));
        plan.unchecked.retain(|unchecked| self.source(&workspace, &unchecked.source, &unchecked.name));
        plan.unmanaged.retain(|unmanaged| by_name(&unmanaged.name));
        plan.unchanged.retain(&by_name);
        plan.suspended.retain(|suspended| by_name(&suspended.name));
        plan.refresh.retain(|(name, _)| by_name(name));
    }
}

impl SourcePattern {
    fn new(text: &str, bare: Option<Bare>) -> Result<Self, CommandError> {
        let glob = |text: &str| {
            Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| {
                CommandError::usage(&format!(
                    "`{text}` is not a pattern: {}; write * for any text",
                    error.kind()
                ))
            })
        };
        let (workspace, source, bare) = match text.split_once('/') {
            Some((workspace, "")) => (Some(glob(workspace)?), glob("*")?, None),
            Some((workspace, source)) => (Some(glob(workspace)?), glob(source)?, None),
            None => (None, glob(text)?, bare),
        };
        Ok(Self {
            text: text.to_owned(),
            workspace,
            source,
            unqualified: bare,
            matched: MatchTracker::default(),
        })
    }

    /// Returns true if this names a workspace without a source.
    fn is_workspace(&self) -> bool {
        self.unqualified.as_ref().is_some_and(|Bare(is_workspace)| is_workspace.get() == Some(&true))
    }

    /// Returns true if every source of the workspaces matches.
    fn is_whole(&self) -> bool {
        self.is_workspace() || self.workspace.is_some() && self.source.glob().glob() == "*"
    }

    /// Returns true if sources of the workspace may match.
    ///
    /// Selecting a whole workspace counts as a match.
    fn matches_workspace(&self, names: [&str; 2]) -> bool {
        let workspace = if self.is_workspace() { Some(&self.source) } else { self.workspace.as_ref() };
        let takes = workspace.is_none_or(|workspace| names.iter().any(|name| workspace.is_match(name)));
        self.matched.record(takes && self.is_whole());
        takes
    }

    fn matches_source(&self, workspace: [&str; 2], key: &SourceKey, name: &SourceName) -> bool {
        self.matches_workspace(workspace)
            && (self.is_whole() || self.source.is_match(key.as_str()) || self.source.is_match(name.as_str()))
    }
}

impl MatchTracker {
    fn record(&self, it_matches: bool) -> bool {
        self.0.fetch_or(it_matches, Ordering::Relaxed);
        it_matches
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Like [`Iterator::any`], but evaluates all elements, as each records its match.
fn any<T>(of: &[T], asked: impl Fn(&T) -> bool) -> bool {
    of.iter().filter(|one| asked(one)).count() > 0
}

/// Returns the first element without a match.
///
/// With `broken` files only if no element has one, since it may be declared there.
fn first_unmatched<'a>(
    mut all: impl Iterator<Item = (&'a str, &'a MatchTracker)> + Clone,
    broken: bool,
) -> Option<&'a str> {
    if broken && all.clone().any(|(_, found)| found.get()) {
        return None;
    }
    all.find(|(_, found)| !found.get()).map(|(text, _)| text)
}

/// Returns the declared name that is most similar to a text.
fn nearest(text: &str, reading: &LoadedConfig) -> Option<String> {
    let (workspace, source) = text.split_once('/').unwrap_or(("", text));
    let mut names: Vec<String> = Vec::new();
    for desired in reading.desired.open_workspaces() {
        if workspace.is_empty() {
            names.extend(desired.names().map(str::to_owned));
        }
        for found in &desired.sources {
            let [label, id] = desired.names();
            let asked = if workspace == id { id } else { label };
            let is_source = found.key.as_str() == source && !desired.names().contains(&workspace);
            match workspace.is_empty() {
                true => names.push(found.key.to_string()),
                // The source exists, so the workspace is wrong.
                false if is_source => return Some(format!("{asked}/{source}")),
                false => names.push(format!("{asked}/{}", found.key)),
            }
        }
    }
    // A declared name may match nothing, for example a source that is not connected yet.
    let others = names.iter().map(String::as_str).filter(|name| *name != text);
    config::nearest(text, others).map(str::to_owned)
}
