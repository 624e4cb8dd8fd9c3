//! Saved plans: hashes of the inputs and actions of a plan, without source values.
//!
//! Applying a saved plan plans again, and continues only if the new plan has the same inputs and actions:
//! files, rows, inventory, policy, and secrets (by their keyed fingerprints). Times and wording are not
//! compared.

use super::{Action, Input, SecretState, UnitPlan, compare_foreign};
use crate::model::{
    DesiredSource, FieldPath, FingerprintKey, Halves, ObservedSource, Owned, Part, Unit, is_hidden,
    side_by_side, unordered,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Version of the file format.
const VERSION: u32 = 2;

/// Value of `kind` in the file.
const KIND: &str = "wellspring plan";

/// Maximum length of an error about the file, in characters.
const LONGEST_REASON: usize = 300;

/// Contents of a saved plan file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    kind: String,
    version: u32,
    /// URL of the platform.
    platform: String,
    /// Root directory of the files.
    root: String,
    /// Id of the key of the fingerprints in the hashes.
    key_id: String,
    /// `-w`, `-s` and the limits of the run.
    asked: Asked,
    /// Hash of inputs and actions, per unit.
    units: Vec<(Unit, String)>,
}

/// Command-line options of the plan, reused when it is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// Not a saved plan; the text contains the reason.
    NotAPlan(String),
    /// Another version of the format.
    Version(u32),
    /// Another platform: planned for, applied to.
    Platform(String, String),
    /// Another directory: planned from, applied from.
    Root(String, String),
    /// Another fingerprint key, so secrets cannot be compared.
    Key,
    /// These units changed.
    Moved(Vec<Unit>),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "nothing was done; plan again and look at what has changed";
        match self {
            Self::NotAPlan(why) => write!(f, "this is not a saved plan: {why}"),
            Self::Version(version) => {
                write!(f, "the plan was saved in format {version}, and this program reads {VERSION}; {AGAIN}")
            }
            Self::Platform(then, now) => {
                write!(
                    f,
                    "the plan was made for {then}, and this would be applied to {now}; nothing was done"
                )
            }
            Self::Root(then, now) => {
                write!(f, "the plan was made from {then}, and the files are now read from {now}; {AGAIN}")
            }
            Self::Key => write!(
                f,
                "the plan was made with another fingerprint key, so it cannot be told whether the secrets \
                 are the same: apply it with the state directory it was made with; nothing was done"
            ),
            Self::Moved(units) => {
                let units: Vec<String> = units.iter().map(ToString::to_string).collect();
                let units = units.join(", ");
                write!(
                    f,
                    "the files, the platform, the policy or what the limits let through moved since the plan was \
                     saved ({units}); {AGAIN}"
                )
            }
        }
    }
}

impl std::error::Error for Stale {}

impl SavedPlan {
    /// Creates a plan of these units, each with its [`outline`].
    #[must_use]
    pub fn new(
        platform: &str,
        root: &str,
        key: &FingerprintKey,
        asked: Asked,
        mut units: Vec<(Unit, String)>,
    ) -> Self {
        units.sort();
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            platform: platform.to_owned(),
            root: root.to_owned(),
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
    pub fn from_text(text: &str) -> Result<Self, Stale> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Stale::NotAPlan(format!("not JSON at line {}", error.line())))?;
        if value.get("kind").and_then(Value::as_str) != Some(KIND) {
            return Err(Stale::NotAPlan(format!("its `kind` is not {KIND:?}")));
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(Stale::Version(version.and_then(|v| v.try_into().ok()).unwrap_or(0))),
        }
        // The error may repeat a key or an id of any length.
        serde_json::from_value(value).map_err(|error| {
            Stale::NotAPlan(without_values(&error.to_string()).chars().take(LONGEST_REASON).collect())
        })
    }

    /// Returns the command-line options of the plan.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Compares with a plan made now.
    ///
    /// # Errors
    /// If any input or action differs.
    pub fn check(&self, now: &Self) -> Result<(), Stale> {
        if self.platform != now.platform {
            return Err(Stale::Platform(self.platform.clone(), now.platform.clone()));
        }
        if self.root != now.root {
            return Err(Stale::Root(self.root.clone(), now.root.clone()));
        }
        if self.key_id != now.key_id {
            return Err(Stale::Key);
        }
        let then: BTreeMap<&Unit, &String> = self.units.iter().map(|(unit, hash)| (unit, hash)).collect();
        let here: BTreeMap<&Unit, &String> = now.units.iter().map(|(unit, hash)| (unit, hash)).collect();
        let mut moved: Vec<Unit> = then
            .keys()
            .chain(here.keys())
            .filter(|unit| then.get(*unit) != here.get(*unit))
            .copied()
            .cloned()
            .collect();
        moved.sort();
        moved.dedup();
        if moved.is_empty() { Ok(()) } else { Err(Stale::Moved(moved)) }
    }
}

/// Hashes a [`basis`] and the actions of the plan.
///
/// The actions are part of the hash so that one withheld by a limit is not carried out later under another
/// limit, or after the hour has passed.
#[must_use]
pub fn outline(basis: &str, plan: &UnitPlan) -> String {
    let done = |action: &Action| json!([action.step.kind().as_str(), action.name, action.step.source_id()]);
    let outline = json!([basis, plan.actions.iter().map(done).collect::<Vec<_>>()]);
    hex(&outline.to_string())
}

/// Removes the values that a deserializer's message repeats; they may be secrets.
fn without_values(reason: &str) -> String {
    match reason.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => format!("unknown variant, {rest}"),
        None => reason.split('"').step_by(2).collect::<Vec<_>>().join("…"),
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes everything that the plan of one unit is made from.
///
/// Values are hashed under the fingerprint key: a row may contain secrets, and a plain hash of a short one
/// can be guessed.
#[must_use]
pub fn basis(input: &Input<'_>) -> String {
    let desired = &input.desired;
    let sources: Vec<Value> = desired
        .sources
        .iter()
        .map(|source| {
            json!([
                source.key,
                source.name,
                source.definition,
                source.protect,
                source.adopt,
                source.sync,
                source.sync_options,
                source.suspend,
                source.test
            ])
        })
        .collect();
    let moved: Vec<Value> = desired.moved.iter().map(|moved| json!([moved.from, moved.to])).collect();
    let removed: Vec<Value> =
        desired.removed.iter().map(|removed| json!([removed.key, removed.action])).collect();
    let declared: BTreeMap<_, _> = desired.sources.iter().map(|source| (&source.name, source)).collect();
    let mut rows: Vec<String> = input
        .listing
        .iter()
        .map(|row| {
            let owned = input.inventory.owned.get(&row.name).map(|owned| &**owned);
            row_basis(row, declared.get(&row.name).copied(), owned)
        })
        .map(|row| row.to_string())
        .collect();
    rows.sort();
    let secrets: BTreeMap<_, _> = input
        .secrets
        .iter()
        .map(|(name, state)| match state {
            SecretState::Resolved(fingerprints) => (name, json!(fingerprints)),
            SecretState::Missing(_) => (name, Value::Null),
        })
        .collect();
    let ours: BTreeMap<_, _> = input
        .inventory
        .owned
        .iter()
        .map(|(name, owned)| {
            let applied = &owned.applied;
            let what = json!([
                owned.key,
                owned.id,
                owned.superseded,
                applied.definition.shared(),
                applied.secrets,
                applied.key_id,
                applied.sync,
                owned.protect,
                owned.declared_in
            ]);
            (name, what)
        })
        .collect();
    let content = json!({
        "unit": desired.unit,
        "policy": desired.policy,
        "owner": input.owner,
        "sources": sources,
        "moved": moved,
        "removed": removed,
        "rows": rows,
        "ours": ours,
        "secrets": secrets,
        "barred": input.removals_barred.as_ref().map(|barred| barred.code.as_str()),
    });
    let fingerprint = input.key.of(&content);
    hex(&fingerprint.to_string())
}

/// Includes ids and compared fields only.
///
/// Other fields of a platform may change every minute.
fn row_basis(row: &ObservedSource, declared: Option<&DesiredSource>, owned: Option<&Owned>) -> Value {
    let now = declared.map(|source| Halves::from(&*source.definition)).unwrap_or_default();
    let was = owned.map(|owned| Halves::from(&*owned.applied.definition)).unwrap_or_default();
    let mut shown: BTreeMap<FieldPath, Value> = BTreeMap::new();
    side_by_side([now, was, (&row.echo).into()], |path, [now, was, echoed]| {
        let value = match echoed {
            Some(Part::Json(value)) if (now.is_some() || was.is_some()) && !is_hidden(value) => value,
            _ => return,
        };
        shown.insert(path.clone(), unordered(value));
    });
    let adoptable = declared.filter(|_| owned.is_none());
    let others = adoptable.map(|source| compare_foreign(source, row).undeclared_keys);
    json!([row.id, row.name, row.kind, row.echo.owner, shown, others])
}
