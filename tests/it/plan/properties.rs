//! Property tests of plans from arbitrary files, rows and inventories.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wellspring::model::{
    Adopt, ConfigValue, Definition, DesiredSource, DesiredWorkspace, FieldPath, Fingerprint, FingerprintKey,
    Inventory, LastApplied, Limit, ManagedSource, MetadataPolicy, ObservedSource, Policy, Prune, Readback,
    Scope, SecretRef, SourceId, SourceKey, SourceLocation, SourceName, TestSpec, WorkspaceId, WorkspaceRef,
};
use wellspring::plan::saved::{Outline, input_outline};
use wellspring::plan::{
    Action, HostLimits, Plan, PlanInput, Quarantine, SecretState, Step, WorkspacePlan, approve, plan,
    record_readback, with_location,
};
use wellspring::report::{self, Problems, ReportInput, Style};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const SECRETS: [&str; 2] = ["canary-one", "canary-two"];

/// Owned input of a plan.
#[derive(Debug, Clone)]
struct World {
    desired: DesiredWorkspace,
    rows: Vec<ObservedSource>,
    owned: BTreeMap<SourceName, Arc<ManagedSource>>,
    secret: &'static str,
    upserts: bool,
}

fn key() -> FingerprintKey {
    FingerprintKey::new([7; 32])
}

fn name(text: &str) -> SourceName {
    SourceName::parse(text).unwrap()
}

fn definition((host, port, secret, team): (u8, u8, bool, u8)) -> Definition {
    let mut connection_config =
        BTreeMap::from([("host".to_owned(), ConfigValue::String(format!("h{host}")))]);
    if port > 0 {
        connection_config.insert("port".into(), ConfigValue::Integer(port.into()));
    }
    if secret {
        connection_config.insert("password".into(), ConfigValue::Secret(SecretRef::Env("PW".into())));
    }
    let mut metadata = Map::new();
    if team > 0 {
        metadata.insert("team".into(), team.into());
    }
    let connection_config = connection_config.into_iter().collect();
    Definition { kind: "database".into(), connection_config, metadata: metadata.into() }
}

fn any_definition() -> impl Strategy<Value = Definition> {
    (0..3_u8, 0..3_u8, any::<bool>(), 0..3_u8).prop_map(definition)
}

fn secrets_of(definition: &Definition, value: &str) -> BTreeMap<FieldPath, Fingerprint> {
    let path = FieldPath::root("connection_config").key("password");
    let has = definition.connection_config.contains_key("password");
    has.then(|| (path, key().fingerprint(&Value::from(value)))).into_iter().collect()
}

/// Returns the row of a definition: in plain text, masked, or without fields.
fn row(name: &str, id: Option<u8>, definition: &Definition, echo: u8, secret: &str) -> ObservedSource {
    let config: Map<String, Value> = definition
        .connection_config
        .iter()
        .map(|(key, value)| {
            let value = match value {
                ConfigValue::String(text) => json!(text),
                ConfigValue::Integer(number) => json!(number),
                _ if echo == 1 => json!("***"),
                _ => json!(secret),
            };
            (key.to_string(), value)
        })
        .collect();
    let shown = echo > 0;
    ObservedSource {
        id: id.and_then(|id| SourceId::from_json(&json!(id))),
        name: SourceName::parse(name).unwrap(),
        kind: shown.then(|| definition.kind.clone()),
        echo: Readback::of_values(
            shown.then_some(Value::Object(config)),
            shown.then(|| Value::Object(definition.metadata.clone().into())),
        ),
    }
}

fn source(name_: &str, definition: Definition, protect: bool) -> DesiredSource {
    DesiredSource {
        key: SourceKey::parse(name_).unwrap(),
        name: name(name_),
        definition: Arc::new(definition),
        protect,
        adopt: None,
        sync: None,
        sync_options: Map::new(),
        suspend: None,
        test: TestSpec::default(),
        at: SourceLocation { file: "a.toml".into(), line: 1 },
    }
}

fn owned(
    name_: &str,
    id: Option<u8>,
    older: Option<u8>,
    shown: &ObservedSource,
    definition: &Definition,
) -> Arc<ManagedSource> {
    let owned = ManagedSource {
        key: SourceKey::parse(name_).unwrap(),
        id: id.and_then(|id| SourceId::from_json(&json!(id))),
        superseded: older.and_then(|id| SourceId::from_json(&json!(id))).into_iter().collect(),
        sent: Vec::new(),
        former: Vec::new(),
        listed_as: None,
        connected_at: None,
        unidentified: false,
        taken_from: None,
        unproven_since: None,
        applied: record_readback(
            LastApplied {
                definition: Arc::new(definition.clone()).into(),
                secrets: secrets_of(definition, SECRETS[0]),
                echo: Default::default(),
                stamp: None,
                key_id: key().id().to_owned(),
                sync: None,
                sync_since: None,
            },
            shown,
            &key(),
        ),
        protect: false,
        declared_in: None,
        file: None,
        line: None,
    };
    with_location(Arc::new(owned), &source(name_, definition.clone(), false), "/root")
}

prop_compose! {
    fn any_world()(
        declared in prop::collection::btree_map(0..4_usize, (any_definition(), prop::bool::weighted(0.1)), 0..4),
        rows in prop::collection::vec((0..4_usize, prop::option::weighted(0.9, 1..12_u8), any_definition()), 0..7),
        ours in prop::collection::btree_map(
            0..4_usize,
            (prop::option::weighted(0.9, 1..12_u8), prop::option::of(1..12_u8), any_definition()),
            0..4,
        ),
        echo in 0..3_u8,
        adopt in prop::sample::select(vec![Adopt::Never, Adopt::Identical, Adopt::ByName, Adopt::Replace]),
        prune in prop::sample::select(vec![Prune::Off, Prune::Owned]),
        secret in prop::sample::select(SECRETS.to_vec()),
        upserts in any::<bool>(),
    ) -> World {
        let policy = Policy {
            adopt,
            prune,
            max_cleanup: Limit::Percent(100),
            metadata: MetadataPolicy::Replace,
            ..Policy::default()
        };
        World {
            desired: DesiredWorkspace {
                unit: WorkspaceRef { workspace: WorkspaceId::parse("ws").unwrap(), scope: Scope::default() },
                alias: None,
                policy,
                sources: declared
                    .into_iter()
                    .map(|(n, (definition, protect))| source(NAMES[n], definition, protect))
                    .collect(),
                moved: Vec::new(),
                removed: Vec::new(),
                files: vec!["a.toml".into()],
            },
            rows: rows
                .into_iter()
                .map(|(n, id, definition)| row(NAMES[n], id, &definition, echo, SECRETS[0]))
                .collect(),
            owned: ours
                .into_iter()
                .map(|(n, (id, older, definition))| {
                    let shown = row(NAMES[n], id, &definition, echo, SECRETS[0]);
                    (name(NAMES[n]), owned(NAMES[n], id, older.filter(|older| Some(*older) != id), &shown, &definition))
                })
                .collect(),
            secret,
            upserts,
        }
    }
}

fn planned(world: &World) -> (WorkspacePlan, Outline) {
    let desired = Arc::new(world.desired.clone());
    let inventory = Inventory { managed: world.owned.clone(), ..Inventory::default() };
    let secrets = desired
        .sources
        .iter()
        .filter(|source| source.definition.connection_config.contains_key("password"))
        .map(|source| {
            (source.name.clone(), SecretState::Resolved(secrets_of(&source.definition, world.secret)))
        })
        .collect();
    let input = PlanInput {
        desired: &desired,
        listing: &world.rows,
        inventory: &inventory,
        pending: &BTreeMap::new(),
        secrets: &secrets,
        key: &key(),
        owner: None,
        root: "/root",
        removals_blocked: None,
        quarantine: &Quarantine::default(),
        upserts: world.upserts,
    };
    let workspace = plan(&input);
    let approved = approve(
        Plan { workspaces: vec![workspace], ..Plan::default() },
        &HostLimits::default(),
        &BTreeMap::new(),
    );
    (approved.plan().workspaces[0].clone(), input_outline(&input))
}

/// Applies an action to a platform without faults.
fn carry_out(world: &mut World, action: &Action, fresh: &mut u8) {
    match &action.step {
        Step::Adopt { entry: owned, .. } => {
            world.owned.insert(action.name.clone(), Arc::clone(owned));
        }
        Step::Connect { index } | Step::Replace { index, .. } => {
            *fresh += 1;
            let source = world.desired.sources[*index].clone();
            let shown = row(source.name.as_str(), Some(*fresh), &source.definition, 2, world.secret);
            if let Step::Replace { old, .. } = &action.step {
                world.rows.retain(|row| row.name != action.name || row.id.as_ref() != Some(old));
            }
            let mut next = owned(source.name.as_str(), Some(*fresh), None, &shown, &source.definition);
            Arc::make_mut(&mut next).applied.secrets = secrets_of(&source.definition, world.secret);
            world.rows.push(shown);
            world.owned.insert(action.name.clone(), next);
        }
        Step::Cleanup { id, .. } => {
            world.rows.retain(|row| row.name != action.name || row.id.as_ref() != Some(id));
        }
        Step::Forget => {
            world.owned.remove(&action.name);
        }
        Step::Schedule { .. } => {}
    }
}

proptest! {
    #[test]
    fn what_was_carried_out_is_not_planned_again(world in any_world()) {
        let mut world = world;
        let mut fresh = 100;
        // Adopted sources are replaced in the next step, and removed ones forgotten in the next.
        for _ in 0..3 {
            let (workspace, _) = planned(&world);
            for (name, owned) in &workspace.refresh {
                world.owned.insert(name.clone(), owned.clone());
            }
            for action in &workspace.actions {
                carry_out(&mut world, action, &mut fresh);
            }
        }
        let (workspace, _) = planned(&world);
        prop_assert!(workspace.actions.is_empty(), "{:#?}", workspace.actions);
    }

    #[test]
    fn the_order_of_what_is_listed_does_not_matter(world in any_world(), seed in any::<u64>()) {
        let mut shuffled = world.clone();
        let length = shuffled.rows.len().max(1);
        shuffled.rows.rotate_left(usize::try_from(seed % 7).unwrap() % length);
        if seed % 2 == 0 {
            shuffled.rows.reverse();
        }
        // Rows with the same name and id but different contents have no stable order.
        let keys: BTreeSet<_> = world.rows.iter().map(|row| (row.name.clone(), row.id.clone())).collect();
        prop_assume!(keys.len() == world.rows.len());
        let ((one, hash), (other, other_hash)) = (planned(&world), planned(&shuffled));
        prop_assert_eq!(format!("{:?}", one), format!("{:?}", other));
        prop_assert_eq!(hash, other_hash);
    }

    #[test]
    fn only_what_the_inventory_holds_is_cleaned_up_and_only_once(world in any_world()) {
        let (workspace, _) = planned(&world);
        let mut gone = BTreeSet::new();
        for action in &workspace.actions {
            let Step::Cleanup { id, .. } = &action.step else { continue };
            let ours = world.owned.get(&action.name);
            prop_assert!(ours.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id)));
            prop_assert!(world.rows.iter().any(|row| row.name == action.name && row.id.as_ref() == Some(id)));
            prop_assert!(!world.rows.iter().any(|row| row.name != action.name && row.id.as_ref() == Some(id)));
            prop_assert!(gone.insert(id.clone()), "{id} twice");
        }
        if world.desired.policy.prune == Prune::Off {
            let declared = |action: &Action| world.desired.sources.iter().any(|source| source.name == action.name);
            // Superseded rows of ours do not count as removals of the source.
            let kept = |action: &Action| !action.step.counts_as_removal() || declared(action);
            prop_assert!(workspace.actions.iter().all(kept));
        }
    }

    #[test]
    fn no_plan_holds_the_value_of_a_secret(world in any_world()) {
        let (workspace, hash) = planned(&world);
        let debug = format!("{workspace:?} {hash:?}");
        let plan = Plan { workspaces: vec![workspace], ..Plan::default() };
        let now = jiff::Timestamp::UNIX_EPOCH;
        let view = ReportInput { plan: &plan, outcomes: None, now, local: None, plan_id: "-", problems: &Problems::default() };
        let text = report::text(&view, &Style { verbose: true, ..Style::default() });
        for shown in [debug, text, report::json(&view), report::markdown(&view), report::plan_id(&plan)] {
            prop_assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
