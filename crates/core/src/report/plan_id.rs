//! Identifier of a plan, derived from its content.

use crate::model::{FieldPath, SortedKeys, SourceId, SourceKey, SourceName, SyncSpec, TestSpec};
use crate::plan::{Action, Plan, Removal, Step, WorkspacePlan};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Returns twelve hexadecimal digits that identify the effect of the plan.
///
/// Covers ids, actions, definitions, compared fields and policy. Independent of line numbers,
/// wording, times and the order of the workspaces.
#[must_use]
pub fn plan_id(plan: &Plan) -> String {
    let mut workspaces: Vec<&WorkspacePlan> = plan.workspaces.iter().collect();
    workspaces.sort_by(|a, b| a.unit().cmp(b.unit()));
    // A JSON list with sorted keys.
    let mut digest = Sha256::new();
    let mut text = b"[".to_vec();
    for (n, workspace) in workspaces.into_iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        // Cannot fail: all map keys are strings.
        let _ = serde_json::to_writer(&mut text, &content(workspace));
        digest.update(&text);
        text.clear();
    }
    text.push(b']');
    digest.update(&text);
    hex::encode(&digest.finalize()[..6])
}

/// Effect of a workspace's plan. Fields are in alphabetical order, here and below.
#[derive(Serialize)]
struct HashedContent<'a> {
    actions: Vec<Doing<'a>>,
    error: Option<&'a str>,
    policy: Value,
    suspended: Vec<&'a SourceName>,
    unchanged: &'a [SourceName],
    unchecked: Vec<&'a SourceName>,
    #[serde(rename = "unit")]
    workspace: Value,
    unmanaged: Vec<(SourceName, Option<String>, Option<SourceId>)>,
    withheld: Vec<(&'a SourceName, &'a str, &'a str)>,
}

/// A field change.
///
/// The field, its visible old and new values, true if they are secret, the reference, and true for
/// drift.
type HashedChange<'a> = (&'a FieldPath, Option<&'a Value>, Option<&'a Value>, bool, Option<&'a str>, bool);

#[derive(Serialize)]
struct Doing<'a> {
    changes: Vec<HashedChange<'a>>,
    declared: Option<DeclaredContent<'a>>,
    id: Option<&'a SourceId>,
    key: &'a SourceKey,
    lacks_secret: bool,
    name: &'a SourceName,
    removal: Value,
    schedule: Value,
    step: &'a str,
}

#[derive(Serialize)]
struct DeclaredContent<'a>(SortedKeys<'a>, Arc<Value>, &'a Map<String, Value>, bool, Arc<Value>);

fn content(workspace: &WorkspacePlan) -> HashedContent<'_> {
    let (mut syncs, mut tests) = (LastCalls::default(), LastCalls::default());
    HashedContent {
        actions: workspace
            .actions
            .iter()
            .map(|action| doing(workspace, action, &mut syncs, &mut tests))
            .collect(),
        error: workspace.error.as_ref().map(|error| error.kind.as_str()),
        policy: json!(workspace.desired.policy),
        suspended: workspace.suspended.iter().map(|suspended| &suspended.name).collect(),
        unchanged: &workspace.unchanged,
        unchecked: workspace.unchecked.iter().map(|unchecked| &unchecked.name).collect(),
        workspace: json!(workspace.unit()),
        unmanaged: workspace.unmanaged.iter().map(|source| (source.name, source.kind, source.id)).collect(),
        withheld: workspace
            .withheld
            .iter()
            .map(|withheld| (&withheld.name, withheld.action.as_str(), withheld.code.as_str()))
            .collect(),
    }
}

fn doing<'a>(
    workspace: &'a WorkspacePlan,
    action: &'a Action,
    syncs: &mut LastCalls<'a, Option<SyncSpec>>,
    tests: &mut LastCalls<'a, TestSpec>,
) -> Doing<'a> {
    let changes = action.changes.iter().map(|change| {
        let (before, after) =
            if change.sensitive { (None, None) } else { (change.before.as_ref(), change.after.as_ref()) };
        (&change.path, before, after, change.sensitive, change.reference.as_deref(), change.drift)
    });
    let source = index(&action.step).and_then(|index| workspace.desired.sources.get(index));
    Doing {
        changes: changes.collect(),
        declared: source.map(|source| {
            let definition = source.definition.sorted();
            let (sync, test) = (syncs.sorted(&source.sync), tests.sorted(&source.test));
            DeclaredContent(definition, sync, &source.sync_options, source.protect, test)
        }),
        id: action.step.source_id(),
        key: &action.source,
        lacks_secret: action.missing_secrets.is_some(),
        name: &action.name,
        removal: match &action.step {
            Step::Cleanup { removal: Removal::Moved(to), .. } => json!(["moved", to]),
            Step::Cleanup { removal, .. } => json!(removal.word()),
            _ => Value::Null,
        },
        schedule: match &action.step {
            Step::Schedule { before, .. } => json!(before),
            _ => Value::Null,
        },
        step: action.step.kind().as_str(),
    }
}

/// Caches the last value with sorted keys.
///
/// Neighbouring sources often have equal values.
struct LastCalls<'a, T>(Option<(&'a T, Arc<Value>)>);

impl<T> Default for LastCalls<'_, T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'a, T: Serialize + PartialEq> LastCalls<'a, T> {
    fn sorted(&mut self, value: &'a T) -> Arc<Value> {
        match &self.0 {
            Some((last, sorted)) if *last == value => Arc::clone(sorted),
            _ => Arc::clone(&self.0.insert((value, Arc::new(json!(value)))).1),
        }
    }
}

/// Returns the index of the declared source of an action.
pub(super) fn index(step: &Step) -> Option<usize> {
    match step {
        Step::Adopt { index, .. }
        | Step::Connect { index }
        | Step::Replace { index, .. }
        | Step::Schedule { index, .. } => Some(*index),
        Step::Cleanup { .. } | Step::Forget => None,
    }
}
