//! `-w` and `-s`: which workspaces and sources a command is about.

use super::Failure;
use super::args::Selection;
use crate::model::{DesiredUnit, SourceKey, SourceName};
use crate::plan::UnitPlan;
use crate::reconcile::Task;
use globset::{Glob, GlobMatcher};
use std::sync::atomic::{AtomicBool, Ordering};

/// A compiled [`Selection`].
pub(super) struct Selector {
    workspaces: Vec<Workspace>,
    sources: Vec<Pattern>,
}

struct Workspace {
    name: String,
    found: Found,
}

struct Pattern {
    text: String,
    workspace: Option<GlobMatcher>,
    source: GlobMatcher,
    found: Found,
}

/// Has anything matched so far?
#[derive(Default)]
struct Found(AtomicBool);

impl Selector {
    pub(super) fn new(selection: &Selection) -> Result<Self, Failure> {
        let glob = |text: &str| {
            Glob::new(text)
                .map(|glob| glob.compile_matcher())
                .map_err(|error| Failure::usage(&format!("`{text}` is not a pattern: {error}")))
        };
        let pattern = |text: &String| {
            let (workspace, source) = match text.split_once('/') {
                Some((workspace, source)) => (Some(glob(workspace)?), glob(source)?),
                None => (None, glob(text)?),
            };
            Ok(Pattern { text: text.clone(), workspace, source, found: Found::default() })
        };
        let workspace = |name: &String| Workspace { name: name.clone(), found: Found::default() };
        Ok(Self {
            workspaces: selection.workspace.iter().map(workspace).collect(),
            sources: selection.source.iter().map(pattern).collect::<Result<_, Failure>>()?,
        })
    }

    pub(super) fn selects_everything(&self) -> bool {
        self.workspaces.is_empty() && self.sources.is_empty()
    }

    /// Is the unit that goes by these names concerned at all?
    pub(super) fn unit(&self, names: [&str; 2]) -> bool {
        let named = |workspace: &Workspace| workspace.found.note(names.contains(&workspace.name.as_str()));
        (self.workspaces.is_empty() || any(&self.workspaces, named))
            && (self.sources.is_empty() || self.sources.iter().any(|pattern| pattern.workspace(names)))
    }

    /// Is this source of the unit concerned?
    pub(super) fn source(&self, unit: &DesiredUnit, key: &SourceKey, name: &SourceName) -> bool {
        let matches = |pattern: &Pattern| pattern.found.note(pattern.is_for(unit, key, name));
        self.sources.is_empty() || any(&self.sources, matches)
    }

    /// Would it be concerned by a pattern that has matched nothing?
    pub(super) fn misses(&self, unit: &DesiredUnit, key: &SourceKey, name: &SourceName) -> bool {
        self.sources.iter().any(|pattern| !pattern.found.get() && pattern.is_for(unit, key, name))
    }

    /// A name that no workspace bears is a slip, not a wish; but of `broken` files it is not known what
    /// they declare.
    pub(super) fn must_name(&self, broken: bool) -> Result<(), Failure> {
        let all = self.workspaces.iter().map(|workspace| (workspace.name.as_str(), &workspace.found));
        missing(all, broken).map_or(Ok(()), |name| {
            Err(Failure::usage(&format!(
                "no declared workspace is called {name}; `wellspring show` lists what the files declare"
            )))
        })
    }

    /// Nor is a pattern that matches no source. `what` it should have matched, and what to do, is told.
    pub(super) fn must_match(&self, broken: bool, what: &str, todo: &str) -> Result<(), Failure> {
        let all = self.sources.iter().map(|pattern| (pattern.text.as_str(), &pattern.found));
        missing(all, broken)
            .map_or(Ok(()), |text| Err(Failure::usage(&format!("no {what} matches {text}; {todo}"))))
    }

    /// Whoever names sources wants them to be tried, though doing again what was done did not help.
    pub(super) fn release(&self, tasks: &mut [Task]) {
        for task in tasks.iter_mut().filter(|_| !self.sources.is_empty()) {
            let desired = task.desired.open();
            let named =
                desired.sources.iter().filter(|source| self.source(&desired, &source.key, &source.name));
            task.released = named.map(|source| source.name.clone()).collect();
        }
    }

    /// Leaves only what is selected in a plan.
    pub(super) fn narrow(&self, plan: &mut UnitPlan) {
        if self.sources.is_empty() {
            return;
        }
        let unit = std::sync::Arc::clone(&plan.desired);
        if plan.error.is_some() {
            // What it holds is not known.
            any(&self.sources, |pattern| pattern.found.note(pattern.workspace(unit.names())));
        }
        let key_of = |name: &SourceName| unit.source(name).map(|source| source.key.clone());
        let by_name = |name: &SourceName| {
            let key = key_of(name).or_else(|| SourceKey::parse(name.as_str()).ok());
            key.is_some_and(|key| self.source(&unit, &key, name))
        };
        plan.actions.retain(|action| self.source(&unit, &action.source, &action.name));
        plan.withheld.retain(|withheld| self.source(&unit, &withheld.source, &withheld.name));
        plan.unchecked.retain(|unchecked| self.source(&unit, &unchecked.source, &unchecked.name));
        plan.unmanaged.retain(|unmanaged| by_name(&unmanaged.name));
        plan.unchanged.retain(&by_name);
        plan.suspended.retain(|suspended| by_name(&suspended.name));
        plan.refresh.retain(|(name, _)| by_name(name));
    }
}

impl Pattern {
    fn workspace(&self, names: [&str; 2]) -> bool {
        self.workspace.as_ref().is_none_or(|workspace| names.iter().any(|name| workspace.is_match(name)))
    }

    fn is_for(&self, unit: &DesiredUnit, key: &SourceKey, name: &SourceName) -> bool {
        self.workspace(unit.names())
            && (self.source.is_match(key.as_str()) || self.source.is_match(name.as_str()))
    }
}

impl Found {
    fn note(&self, it_matches: bool) -> bool {
        self.0.fetch_or(it_matches, Ordering::Relaxed);
        it_matches
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does any? Each of them is asked.
fn any<T>(of: &[T], asked: impl Fn(&T) -> bool) -> bool {
    of.iter().filter(|one| asked(one)).count() > 0
}

/// The first that has matched nothing. With `broken` files only if none has.
fn missing<'a>(mut all: impl Iterator<Item = (&'a str, &'a Found)> + Clone, broken: bool) -> Option<&'a str> {
    if broken && all.clone().any(|(_, found)| found.get()) {
        return None;
    }
    all.find(|(_, found)| !found.get()).map(|(text, _)| text)
}
