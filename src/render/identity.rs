//! What a plan is known by.

use crate::plan::{Action, Plan, Removal, Step, UnitPlan};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Twelve hexadecimal digits over what the plan would do: ids, actions, definitions, compared fields,
/// policy. Lines, wording and times take no part, nor does the order of the units.
#[must_use]
pub fn plan_id(plan: &Plan) -> String {
    let mut units: Vec<&UnitPlan> = plan.units.iter().collect();
    units.sort_by(|a, b| a.unit().cmp(b.unit()));
    let content: Vec<Value> = units.into_iter().map(unit).collect();
    let digest = Sha256::digest(Value::from(content).to_string().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn unit(unit: &UnitPlan) -> Value {
    let withheld: Vec<Value> =
        unit.withheld.iter().map(|withheld| json!([withheld.name, withheld.action, withheld.code])).collect();
    let unmanaged: Vec<Value> =
        unit.unmanaged.iter().map(|source| json!([source.name, source.kind, source.id])).collect();
    json!({
        "unit": unit.unit(),
        "policy": unit.desired.policy,
        "error": unit.error.as_ref().map(|error| error.kind),
        "actions": unit.actions.iter().map(|action| self::action(unit, action)).collect::<Vec<_>>(),
        "withheld": withheld,
        "unmanaged": unmanaged,
        "unchecked": unit.unchecked.iter().map(|unchecked| &unchecked.name).collect::<Vec<_>>(),
        "unchanged": unit.unchanged,
        "suspended": unit.suspended.iter().map(|suspended| &suspended.name).collect::<Vec<_>>(),
    })
}

fn action(unit: &UnitPlan, action: &Action) -> Value {
    let changes: Vec<Value> = action
        .changes
        .iter()
        .map(|change| {
            let (before, after) = match change.sensitive {
                true => (None, None),
                false => (change.before.as_ref(), change.after.as_ref()),
            };
            json!([change.path, before, after, change.sensitive, change.reference, change.drift])
        })
        .collect();
    let removal = match &action.step {
        Step::Cleanup { removal: Removal::Moved(to), .. } => json!(["moved", to]),
        Step::Cleanup { removal, .. } => json!(super::json::removal(removal)),
        _ => Value::Null,
    };
    let before = match &action.step {
        Step::Schedule { before, .. } => before.as_ref(),
        _ => None,
    };
    let declared = index(&action.step).and_then(|index| unit.desired.sources.get(index)).map(|source| {
        json!([source.definition, source.sync, source.sync_options, source.protect, source.test])
    });
    json!({
        "step": action.step.word(),
        "key": action.source,
        "name": action.name,
        "id": action.step.source_id(),
        "removal": removal,
        "schedule": before,
        "declared": declared,
        "changes": changes,
        "lacks_secret": action.lacks_secret.is_some(),
    })
}

/// Which declared source an action is about.
pub(super) fn index(step: &Step) -> Option<usize> {
    match step {
        Step::Adopt { index, .. }
        | Step::Connect { index }
        | Step::Replace { index, .. }
        | Step::Schedule { index, .. } => Some(*index),
        Step::Cleanup { .. } | Step::Forget => None,
    }
}
