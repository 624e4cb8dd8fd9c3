//! A saved plan: hashes of its inputs, and its action for each source.
//!
//! `apply FILE` plans again and continues only if inputs and actions are the same. Inputs are the files, the rows,
//! the inventory, the policy, and the secrets (by their keyed fingerprints), but not times, wording and the path of
//! the directory. A saved plan contains no value of any source.

use super::{PlanInput, SecretState, WorkspacePlan, compare_unmanaged};
use crate::model::{
    DefinitionView, DesiredSource, DesiredWorkspace, FieldPath, FingerprintKey, ManagedSource,
    ObservedSource, SourceKey, SourceName, ValueRef, WorkspaceRef, is_hidden, unordered, zip_leaves,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u32 = 3;

/// Value of `kind` in the file.
const KIND: &str = "wellspring plan";

/// Maximum characters of the reason why a file is no saved plan, because it may repeat any part of the file.
const MAX_REASON_LENGTH: usize = 300;

/// Maximum number of differences in a message, because all sources may have changed.
const MAX_DIFFERENCES: usize = 8;

/// Contents of a saved plan file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    kind: String,
    version: u32,
    platform: String,
    /// Id of the key of the fingerprints in the hashes.
    key_id: String,
    /// `-w`, `-s` and the limits of the run.
    asked: PlanOptions,
    units: Vec<Outline>,
}

/// Plan of one unit: keyed hashes of its inputs, and its actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline {
    unit: WorkspaceRef,
    /// The workspace as people name it.
    label: String,
    policy: String,
    sources: BTreeMap<SourceName, Grounds>,
}

/// Actions for one source, and a hash of each existing part that they are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grounds {
    files: Option<String>,
    secrets: Option<String>,
    state: Option<String>,
    platform: Option<String>,
    /// Each action with the id that it is done to.
    actions: Vec<String>,
}

/// Command-line options of the plan, reused when it is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOptions {
    /// `-w`
    pub workspaces: Vec<String>,
    /// `-s`
    pub sources: Vec<String>,
    /// `--prune`
    pub prune: bool,
    /// `--max-cleanup`, as written.
    pub max_cleanup: Option<String>,
}

/// The reason why a saved plan is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StalePlan {
    /// Not a saved plan; the text contains the reason.
    #[error("this is not a saved plan: {0}")]
    NotAPlan(String),
    /// Another version of the format.
    #[error(
        "the plan was saved in format {0}, and this program reads {VERSION}; nothing was done; plan again and look at \
         what has changed"
    )]
    Version(u32),
    /// Another platform: planned for, applied to.
    #[error("the plan was made for {0}, and this would be applied to {1}; nothing was done")]
    Platform(String, String),
    /// Another fingerprint key, so secrets cannot be compared.
    #[error(
        "the plan was made with another fingerprint key, so it is unknown whether the secrets are the same: apply it \
         with the state directory it was made with; nothing was done"
    )]
    Key,
    /// Changed workspaces or sources, each with the kind of change.
    #[error("since the plan was saved, {}. Nothing was done; plan again", first_differences(.0))]
    Changed(Vec<String>),
}

fn first_differences(differences: &[String]) -> String {
    let more = differences.len().saturating_sub(MAX_DIFFERENCES);
    let shown = differences[..differences.len() - more].join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

impl SavedPlan {
    /// A plan of these units.
    #[must_use]
    pub fn new(platform: &str, key: &FingerprintKey, asked: PlanOptions, mut units: Vec<Outline>) -> Self {
        units.sort_by(|a, b| a.unit.cmp(&b.unit));
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            platform: platform.to_owned(),
            key_id: key.id().to_owned(),
            asked,
            units,
        }
    }

    /// Formats the plan for a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "its maps have text for keys")]
        let text = serde_json::to_string_pretty(self).expect("a saved plan is representable in JSON");
        text + "\n"
    }

    /// Parses a saved plan.
    ///
    /// # Errors
    /// If the text is something else, or of another version.
    pub fn from_text(text: &str) -> Result<Self, StalePlan> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| StalePlan::NotAPlan(format!("not JSON at line {}", error.line())))?;
        if value.get("kind").and_then(Value::as_str) != Some(KIND) {
            return Err(StalePlan::NotAPlan(format!("its `kind` is not {KIND:?}")));
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(StalePlan::Version(version.and_then(|v| v.try_into().ok()).unwrap_or(0))),
        }
        // The error may repeat a key or an id of any length.
        serde_json::from_value(value).map_err(|error| {
            StalePlan::NotAPlan(without_values(&error.to_string()).chars().take(MAX_REASON_LENGTH).collect())
        })
    }

    /// Returns the command-line options of the plan.
    #[must_use]
    pub fn asked(&self) -> &PlanOptions {
        &self.asked
    }

    /// Compares with a plan made now.
    ///
    /// # Errors
    /// If any input or action differs.
    pub fn check(&self, now: &Self) -> Result<(), StalePlan> {
        if self.platform != now.platform {
            return Err(StalePlan::Platform(self.platform.clone(), now.platform.clone()));
        }
        if self.key_id != now.key_id {
            return Err(StalePlan::Key);
        }
        let by_unit = |plan: &'_ Self| -> BTreeMap<WorkspaceRef, Outline> {
            plan.units.iter().map(|outline| (outline.unit.clone(), outline.clone())).collect()
        };
        let (then, here) = (by_unit(self), by_unit(now));
        let units: BTreeSet<&WorkspaceRef> = then.keys().chain(here.keys()).collect();
        let differences: Vec<String> =
            units.into_iter().flat_map(|unit| differences(then.get(unit), here.get(unit))).collect();
        if differences.is_empty() { Ok(()) } else { Err(StalePlan::Changed(differences)) }
    }
}

/// Describes how the plan of a unit differs from the saved one.
fn differences(then: Option<&Outline>, now: Option<&Outline>) -> Vec<String> {
    let (Some(then), Some(now)) = (then, now) else {
        let gone = then.map(|then| format!("the workspace {} is no longer declared", then.label));
        return gone.or(now.map(|now| format!("the workspace {} is new", now.label))).into_iter().collect();
    };
    let label = &now.label;
    let policy =
        (then.policy != now.policy).then(|| format!("the policy of {label}, or `platform.owner`, changed"));
    let nothing = Grounds::default();
    let names: BTreeSet<&SourceName> = then.sources.keys().chain(now.sources.keys()).collect();
    let sources = names.into_iter().filter_map(|name| {
        let fingerprint =
            |outline: &'_ Outline| outline.sources.get(name).cloned().unwrap_or_else(|| nothing.clone());
        Some(format!("{label}/{} {}", shown(name), fingerprint(then).against(&fingerprint(now))?))
    });
    policy.into_iter().chain(sources).collect()
}

fn shown(name: &SourceName) -> String {
    name.as_str().chars().flat_map(char::escape_debug).collect()
}

impl Grounds {
    /// Describes the first part that differs.
    fn against(&self, now: &Self) -> Option<String> {
        let part = |then: &Option<String>, now: &Option<String>, [new, gone, changed]: [&str; 3]| {
            let how = match (then, now) {
                (None, None) => return None,
                (None, Some(_)) => new,
                (Some(_), None) => gone,
                (Some(then), Some(now)) if then == now => return None,
                _ => changed,
            };
            Some(how.to_owned())
        };
        let actions = || {
            let words = |grounds: &Self| {
                let words = grounds.actions.iter().filter_map(|action| action.split(' ').next());
                let words: Vec<&str> = words.collect();
                if words.is_empty() { "nothing".to_owned() } else { format!("`{}`", words.join("`, `")) }
            };
            let differ = self.actions != now.actions;
            differ.then(|| format!("was planned as {}, and is now planned as {}", words(self), words(now)))
        };
        part(
            &self.files,
            &now.files,
            ["is new in the files", "is no longer declared", "changed in the files"],
        )
        .or_else(|| part(&self.secrets, &now.secrets, ["has another secret"; 3]))
        .or_else(|| {
            let words = ["was applied", "is no longer managed", "was applied"];
            part(&self.state, &now.state, words)
        })
        .or_else(|| {
            let words = ["is new on the platform", "is gone from the platform", "changed on the platform"];
            part(&self.platform, &now.platform, words)
        })
        .or_else(actions)
    }
}

impl Outline {
    /// Adds the actions of the plan.
    ///
    /// An action that a limit withheld is so not carried out later under another limit, or after the hour has passed.
    #[must_use]
    pub fn planned(mut self, plan: &WorkspacePlan) -> Self {
        for action in &plan.actions {
            let id = action.step.source_id().map(ToString::to_string).unwrap_or_default();
            let done = format!("{} {id}", action.step.kind().as_str());
            self.sources.entry(action.name.clone()).or_default().actions.push(done);
        }
        self
    }
}

/// Removes the values that a deserializer's message repeats; they may be secrets.
fn without_values(reason: &str) -> String {
    match reason.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => format!("unknown variant, {rest}"),
        None => reason.split('"').step_by(2).collect::<Vec<_>>().join("…"),
    }
}

fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Hashes everything that the plan of one unit is made from.
///
/// Values are hashed under the fingerprint key: a row may contain secrets, and a plain hash of a short one
/// can be guessed.
#[must_use]
pub fn input_outline(input: &PlanInput<'_>) -> Outline {
    let desired = &input.desired;
    let hash = |content: &Value| sha256_hex(&input.key.fingerprint(content).to_string());
    let mut sources: BTreeMap<SourceName, Grounds> = BTreeMap::new();
    let mut written = written(desired);
    for source in &desired.sources {
        let files = written.remove(&source.key).map(|said| hash(&said.into()));
        sources.entry(source.name.clone()).or_default().files = files;
    }
    for (name, owned) in &input.inventory.managed {
        let grounds = sources.entry(name.clone()).or_default();
        grounds.state = Some(hash(&state(owned)));
        if grounds.files.is_none() {
            grounds.files = written.remove(&owned.key).map(|said| hash(&said.into()));
        }
    }
    for (name, state) in input.secrets {
        let fingerprints = match state {
            SecretState::Resolved(fingerprints) => json!(fingerprints),
            SecretState::Missing(_) => Value::Null,
        };
        sources.entry(name.clone()).or_default().secrets = Some(hash(&fingerprints));
    }
    let declared: BTreeMap<_, _> = desired.sources.iter().map(|source| (&source.name, source)).collect();
    let mut rows: BTreeMap<SourceName, Vec<String>> = BTreeMap::new();
    for row in input.listing {
        let owned = input.inventory.managed.get(&row.name).map(|owned| &**owned);
        let row_basis = row_basis(row, declared.get(&row.name).copied(), owned);
        rows.entry(row.name.clone()).or_default().push(row_basis.to_string());
    }
    for (name, mut rows) in rows {
        rows.sort();
        sources.entry(name).or_default().platform = Some(hash(&json!(rows)));
    }
    Outline {
        unit: desired.unit.clone(),
        label: desired.label().to_owned(),
        policy: hash(&json!({ "policy": desired.policy, "owner": input.owner })),
        sources,
    }
}

/// Returns the block of each key, and its entries in `[moved]` and `[removed]`.
fn written(desired: &DesiredWorkspace) -> BTreeMap<&SourceKey, Vec<Value>> {
    let mut written: BTreeMap<&SourceKey, Vec<Value>> = BTreeMap::new();
    for source in &desired.sources {
        written.entry(&source.key).or_default().push(json!([
            source.key,
            source.name,
            source.definition,
            source.protect,
            source.adopt,
            source.sync,
            source.sync_options,
            source.suspend,
            source.test
        ]));
    }
    for moved in &desired.moved {
        written.entry(&moved.from).or_default().push(json!(["moved", moved.to]));
    }
    for removed in &desired.removed {
        written.entry(&removed.key).or_default().push(json!(["removed", removed.action]));
    }
    written
}

/// Returns the compared part of an inventory entry.
fn state(owned: &ManagedSource) -> Value {
    let applied = &owned.applied;
    json!([
        owned.key,
        owned.id,
        owned.superseded,
        applied.definition.shared(),
        applied.secrets,
        applied.key_id,
        applied.sync,
        owned.protect,
        owned.declared_in
    ])
}

/// Includes ids and compared fields only.
///
/// Other fields of a platform may change every minute.
fn row_basis(row: &ObservedSource, declared: Option<&DesiredSource>, owned: Option<&ManagedSource>) -> Value {
    let now = declared.map(|source| DefinitionView::from(&*source.definition)).unwrap_or_default();
    let was = owned.map(|owned| DefinitionView::from(&*owned.applied.definition)).unwrap_or_default();
    let mut shown: BTreeMap<FieldPath, Value> = BTreeMap::new();
    zip_leaves([now, was, (&row.echo).into()], |path, [now, was, echoed]| {
        let value = match echoed {
            Some(ValueRef::Json(value)) if (now.is_some() || was.is_some()) && !is_hidden(value) => value,
            _ => return,
        };
        shown.insert(path.clone(), unordered(value));
    });
    let adoptable = declared.filter(|_| owned.is_none());
    let others = adoptable.map(|source| compare_unmanaged(source, row).undeclared_keys);
    json!([row.id, row.name, row.kind, row.echo.owner, shown, others])
}
