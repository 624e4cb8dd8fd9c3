//! Guard: limits removals and replacements, and alone creates an [`ApprovedPlan`].

use super::{Action, Plan, Step, Withheld, WithheldReason, WorkspacePlan};
use crate::model::{DesiredWorkspace, Limit, Policy, Prune, WorkspaceRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A plan that passed the guard; the only kind that `apply` accepts.
#[derive(Debug, Clone)]
pub struct ApprovedPlan {
    plan: Plan,
    /// Removals permitted in addition to the planned ones, per unit.
    remaining_removals: Vec<usize>,
}

impl ApprovedPlan {
    /// Returns the plan, with withheld actions.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Iterates over the units, each ready to be applied.
    pub fn units(&self) -> impl Iterator<Item = ApprovedWorkspace<'_>> {
        let units = self.plan.workspaces.iter().zip(&self.remaining_removals);
        units.map(|(plan, spare_removals)| ApprovedWorkspace { plan, spare_removals: *spare_removals })
    }
}

/// One unit of an [`ApprovedPlan`].
#[derive(Debug, Clone, Copy)]
pub struct ApprovedWorkspace<'a> {
    plan: &'a WorkspacePlan,
    spare_removals: usize,
}

impl<'a> ApprovedWorkspace<'a> {
    /// Returns the plan of the unit.
    #[must_use]
    pub fn plan(self) -> &'a WorkspacePlan {
        self.plan
    }

    /// Returns how many more sources may be removed to be connected again at once.
    #[must_use]
    pub fn remaining_removals(self) -> usize {
        self.spare_removals
    }
}

/// Limits of the host file (`[limits]`).
///
/// These can only restrict the limits of the repository.
#[derive(Debug, Clone, Default)]
pub struct HostLimits {
    /// `max_cleanup`
    pub max_cleanup: Option<Limit>,
    /// `max_replace`
    pub max_replace: Option<Limit>,
    /// `prune`
    pub prune: Option<Prune>,
}

/// Command-line flags that override the repository's policy for one run.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--prune`
    pub prune: bool,
    /// `--max-cleanup`
    pub max_cleanup: Option<Limit>,
}

impl Overrides {
    /// Returns the unit with the policy of this run.
    ///
    /// Flags override the repository, and the host limits both.
    #[must_use]
    pub fn apply_to(&self, unit: &Arc<DesiredWorkspace>, host: &HostLimits) -> Arc<DesiredWorkspace> {
        let policy = &unit.policy;
        let prune = if self.prune { Prune::Owned } else { policy.prune };
        let policy = Policy {
            prune: prune.min(host.prune.unwrap_or(Prune::Owned)),
            max_cleanup: self.max_cleanup.unwrap_or(policy.max_cleanup),
            ..policy.clone()
        };
        if policy == unit.policy {
            return Arc::clone(unit);
        }
        Arc::new(DesiredWorkspace { policy, ..DesiredWorkspace::clone(unit) })
    }
}

/// Checks every unit before the first write of any.
///
/// `recent` contains the removals of the last hour per unit. Above `max_cleanup`, all removals of that unit
/// are withheld; above `max_replace`, all its replacements. The rest is approved.
#[must_use]
pub fn approve(mut plan: Plan, host: &HostLimits, recent: &BTreeMap<WorkspaceRef, usize>) -> ApprovedPlan {
    plan.workspaces.sort_by(|a, b| a.unit().cmp(b.unit()));
    let mut spare_removals = Vec::with_capacity(plan.workspaces.len());
    for unit in &mut plan.workspaces {
        let recent = recent.get(unit.unit()).copied().unwrap_or_default();
        spare_removals.push(limit_removals(unit, host, recent));
        limit_replacements(unit, host);
        unit.withheld.sort_by(|a, b| (&a.name, a.action).cmp(&(&b.name, b.action)));
    }
    ApprovedPlan { plan, remaining_removals: spare_removals }
}

/// Limits removals and returns how many more are permitted.
fn limit_removals(unit: &mut WorkspacePlan, host: &HostLimits, recent: usize) -> usize {
    // Percentages refer to the number of managed sources at the beginning of the hour.
    let owned = unit.managed_count + recent;
    let of = |limit: Limit| limit.allowed_removals(owned);
    let limit = stricter(Some(unit.desired.policy.max_cleanup), host.max_cleanup, of);
    let count = unit.actions.iter().filter(|action| action.step.counts_as_removal()).count();
    if count == 0 || count + recent <= limit {
        return limit.saturating_sub(count + recent);
    }
    let earlier = if recent == 0 { String::new() } else { format!(" after {recent} in the last hour") };
    let reason = format!(
        "removal limit: {count} to clean up{earlier}, but max_cleanup permits {limit} of {owned} an hour"
    );
    let needed = count + recent;
    let allow = match host.max_cleanup.map(|cap| cap.allowed_removals(owned)) {
        Some(cap) if cap < needed => "raise `max_cleanup` under [limits] in the host file".to_owned(),
        _ => format!(
            "run `wellspring apply -w {} --max-cleanup {needed}`, or raise `max_cleanup` under [policy]",
            unit.desired.label()
        ),
    };
    withhold(unit, WithheldReason::MaxCleanup, &reason, &allow, |action| action.step.counts_as_removal());
    limit.saturating_sub(recent)
}

fn limit_replacements(unit: &mut WorkspacePlan, host: &HostLimits) {
    let limit = stricter(unit.desired.policy.max_replace, host.max_replace, |limit| {
        limit.allowed(unit.managed_count)
    });
    let is_replacement = |action: &Action| matches!(action.step, Step::Replace { .. });
    let count = unit.actions.iter().filter(|action| is_replacement(action)).count();
    if count > limit {
        let reason = format!("{count} to replace, but at most {limit} may be in one pass");
        withhold(
            unit,
            WithheldReason::MaxReplace,
            &reason,
            "raise `max_replace` under [policy]",
            is_replacement,
        );
    }
}

fn stricter(policy: Option<Limit>, host: Option<Limit>, of: impl Fn(Limit) -> usize) -> usize {
    [policy, host].into_iter().flatten().map(of).min().unwrap_or(usize::MAX)
}

fn withhold(
    unit: &mut WorkspacePlan,
    code: WithheldReason,
    reason: &str,
    allow: &str,
    which: impl Fn(&Action) -> bool,
) {
    let (held, kept): (Vec<Action>, Vec<Action>) =
        std::mem::take(&mut unit.actions).into_iter().partition(which);
    unit.actions = kept;
    unit.withheld.extend(held.into_iter().map(|action| Withheld {
        action: action.step.kind(),
        source: action.source,
        name: action.name,
        code,
        reason: reason.to_owned(),
        location: action.location,
        allow: Some(allow.to_owned()),
        refused: true,
        changes: action.changes,
    }));
}
