//! `-w` and `-s`: which workspaces and sources a command is about.

use super::Failure;
use super::args::Selection;
use crate::model::{DesiredUnit, SourceKey, SourceName};
use crate::plan::UnitPlan;
use globset::{Glob, GlobMatcher};

/// A compiled [`Selection`].
pub(super) struct Selector {
    workspaces: Vec<String>,
    sources: Vec<Pattern>,
}

struct Pattern {
    workspace: Option<GlobMatcher>,
    source: GlobMatcher,
}

impl Selector {
    pub(super) fn new(selection: &Selection) -> Result<Self, Failure> {
        let glob = |text: &str| {
            Glob::new(text)
                .map(|glob| glob.compile_matcher())
                .map_err(|error| Failure::usage(&format!("`{text}` is not a pattern: {error}")))
        };
        let sources = selection
            .source
            .iter()
            .map(|text| match text.split_once('/') {
                Some((workspace, source)) => {
                    Ok(Pattern { workspace: Some(glob(workspace)?), source: glob(source)? })
                }
                None => Ok(Pattern { workspace: None, source: glob(text)? }),
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { workspaces: selection.workspace.clone(), sources })
    }

    pub(super) fn selects_everything(&self) -> bool {
        self.workspaces.is_empty() && self.sources.is_empty()
    }

    /// Is the unit that goes by these names concerned at all?
    pub(super) fn unit(&self, names: [&str; 2]) -> bool {
        let named = |name: &String| names.contains(&name.as_str());
        (self.workspaces.is_empty() || self.workspaces.iter().any(named))
            && (self.sources.is_empty() || self.sources.iter().any(|pattern| pattern.workspace(names)))
    }

    /// Is this source of the unit concerned?
    pub(super) fn source(&self, unit: &DesiredUnit, key: &SourceKey, name: &SourceName) -> bool {
        let matches = |pattern: &Pattern| {
            pattern.workspace(unit.names())
                && (pattern.source.is_match(key.as_str()) || pattern.source.is_match(name.as_str()))
        };
        self.sources.is_empty() || self.sources.iter().any(matches)
    }

    /// A pattern that matches nothing is a slip, not a wish.
    pub(super) fn must_match<'a>(
        &self,
        plans: impl IntoIterator<Item = &'a UnitPlan>,
    ) -> Result<(), Failure> {
        let nothing = |plan: &UnitPlan| {
            plan.error.is_none()
                && plan.actions.is_empty()
                && plan.withheld.is_empty()
                && plan.unchecked.is_empty()
                && plan.unmanaged.is_empty()
                && plan.unchanged.is_empty()
                && plan.suspended.is_empty()
        };
        if self.sources.is_empty() || !plans.into_iter().all(nothing) {
            return Ok(());
        }
        Err(Failure::usage("no source matches -s; `wellspring plan -v` shows all of them"))
    }

    /// Leaves only what is selected in a plan.
    pub(super) fn narrow(&self, plan: &mut UnitPlan) {
        if self.sources.is_empty() {
            return;
        }
        let unit = std::sync::Arc::clone(&plan.desired);
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
}
