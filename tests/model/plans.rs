//! Property tests of plans from random input.

use crate::chance::Chance;
use crate::tree;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use wellspring::model::{
    ConfigValue, Definition, DesiredWorkspace, FingerprintKey, Inventory, LastApplied, Limit, ManagedSource,
    ObservedSource, Policy, Prune, Readback, SourceId, SourceKey, SourceName,
};
use wellspring::plan::{
    InventoryUpdate, PlanInput, Quarantine, Removal, Step, WorkspacePlan, plan, record_readback, recover,
    with_location,
};

const ROOT: &str = "/tree";

/// A platform that updates in place and returns everything, with its inventory.
struct Scene {
    desired: DesiredWorkspace,
    listing: Vec<ObservedSource>,
    inventory: Inventory,
    key: FingerprintKey,
    next: u64,
}

impl Scene {
    /// Creates rows and inventory that agree in part.
    ///
    /// Some rows are unmanaged, some of ours are gone, doubled or edited, and the project has changed.
    fn any(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut desired = without_secrets(tree::any(&mut chance));
        desired.policy = Policy { max_cleanup: Limit::Percent(100), prune: Prune::Owned, ..desired.policy };
        let mut scene = Self {
            desired: desired.clone(),
            listing: Vec::new(),
            inventory: Inventory::default(),
            key: FingerprintKey::new([7; 32]),
            next: 0,
        };
        for index in 0..desired.sources.len() {
            if chance.percent(60) {
                scene.connect(index);
            }
        }
        for _ in 0..chance.below(4) {
            tree::edit(&mut chance, &mut scene.desired);
        }
        scene.desired = without_secrets(scene.desired);
        for name in tree::NAMES {
            if chance.percent(15) {
                scene.listing.retain(|row| row.name.as_str() != name);
            }
            if chance.percent(15) {
                let definition = plain(tree::definition(&mut chance));
                let row = scene.row(&SourceName::parse(name).unwrap(), &definition);
                scene.listing.push(row);
            }
        }
        scene
    }

    fn row(&mut self, name: &SourceName, definition: &Definition) -> ObservedSource {
        self.next += 1;
        let metadata = Value::Object(definition.metadata.clone().into());
        let echo = Readback::of_values(Some(shown(definition)), Some(metadata));
        let id = SourceId::from_json(&json!(self.next));
        ObservedSource { id, name: name.clone(), kind: Some(definition.kind.clone()), echo }
    }

    /// Makes the source of this index managed and in sync.
    fn connect(&mut self, index: usize) {
        let source = self.desired.sources[index].clone();
        let old = self.inventory.managed.get(&source.name).and_then(|owned| owned.id.clone());
        let mut row = self.row(&source.name, &source.definition);
        if let Some(at) = self.listing.iter().position(|row| row.name == source.name && row.id == old) {
            row.id = old;
            self.listing[at] = row.clone();
        } else {
            self.listing.push(row.clone());
        }
        let owned = ManagedSource {
            key: source.key.clone(),
            id: row.id.clone(),
            superseded: Vec::new(),
            sent: Vec::new(),
            former: Vec::new(),
            listed_as: None,
            connected_at: None,
            unidentified: false,
            taken_from: None,
            unproven_since: None,
            applied: record_readback(
                LastApplied {
                    definition: Arc::clone(&source.definition).into(),
                    secrets: BTreeMap::new(),
                    echo: Default::default(),
                    stamp: None,
                    key_id: self.key.id().to_owned(),
                    sync: source.sync.clone(),
                    sync_since: None,
                },
                &row,
                &self.key,
            ),
            protect: source.protect,
            declared_in: None,
            file: None,
            line: None,
        };
        self.inventory.managed.insert(source.name.clone(), with_location(Arc::new(owned), &source, ROOT));
    }

    fn plan(&self) -> WorkspacePlan {
        plan(&PlanInput {
            desired: &Arc::new(self.desired.clone()),
            listing: &self.listing,
            inventory: &self.inventory,
            pending: &BTreeMap::new(),
            secrets: &BTreeMap::new(),
            key: &self.key,
            owner: None,
            root: ROOT,
            removals_blocked: None,
            quarantine: &Quarantine::default(),
            upserts: false,
        })
    }

    /// Applies the plan in memory.
    fn carry_out(&mut self, plan: &WorkspacePlan) {
        for (name, owned) in &plan.refresh {
            self.inventory.managed.insert(name.clone(), owned.clone());
        }
        for action in &plan.actions {
            match &action.step {
                Step::Adopt { entry: owned, .. } => {
                    self.inventory.managed.insert(action.name.clone(), Arc::clone(owned));
                }
                Step::Connect { index } | Step::Replace { index, .. } => self.connect(*index),
                Step::Cleanup { id, removal } => {
                    self.listing.retain(|row| row.id.as_ref() != Some(id));
                    if *removal != Removal::Superseded {
                        self.inventory.managed.remove(&action.name);
                    }
                }
                Step::Forget => {
                    self.inventory.managed.remove(&action.name);
                }
                Step::Schedule { .. } => {}
            }
        }
    }
}

fn shown(definition: &Definition) -> Value {
    let entries = definition.connection_config.iter().map(|(key, value)| {
        let value = match value {
            ConfigValue::String(text) => json!(text),
            ConfigValue::Integer(number) => json!(number),
            _ => Value::Null,
        };
        (key.to_string(), value)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn plain(mut definition: Definition) -> Definition {
    let config = std::mem::take(&mut definition.connection_config).into_iter();
    definition.connection_config = config.filter(|(key, _)| **key != *"password").collect();
    definition
}

fn without_secrets(mut tree: DesiredWorkspace) -> DesiredWorkspace {
    for source in &mut tree.sources {
        source.definition = Arc::new(plain(Definition::clone(&source.definition)));
    }
    tree
}

#[test]
fn a_plan_that_was_carried_out_leaves_nothing_to_do() {
    for seed in 0..3_000 {
        let mut scene = Scene::any(seed);
        // Adopting a source that differs, and a move, take two steps.
        for _ in 0..2 {
            let plan = scene.plan();
            scene.carry_out(&plan);
        }
        let plan = scene.plan();
        assert!(plan.actions.is_empty() && plan.refresh.is_empty(), "seed {seed}: {:#?}", plan.actions);
    }
}

#[test]
fn the_order_of_what_it_is_made_from_does_not_matter() {
    for seed in 0..1_000 {
        let mut scene = Scene::any(seed);
        let plan = scene.plan();
        scene.listing.reverse();
        let again = scene.plan();
        assert_eq!(plan.actions, again.actions, "seed {seed}");
        assert_eq!(plan.withheld, again.withheld, "seed {seed}");
        assert_eq!(plan.unchanged, again.unchanged, "seed {seed}");
        assert_eq!(plan.refresh, again.refresh, "seed {seed}");
    }
}

#[test]
fn no_plan_touches_what_is_not_ours() {
    for seed in 0..3_000 {
        let scene = Scene::any(seed);
        for action in scene.plan().actions {
            let owned = scene.inventory.managed.get(&action.name);
            if let Step::Replace { old: id, .. } | Step::Cleanup { id, .. } = &action.step {
                let owned = owned.unwrap();
                assert!(owned.id.as_ref() == Some(id) || owned.superseded.contains(id), "seed {seed}");
                assert!(
                    scene.listing.iter().any(|row| row.name == action.name && row.id.as_ref() == Some(id))
                );
            }
        }
    }
}

#[test]
fn without_open_intents_reckoning_changes_nothing() {
    for seed in 0..1_000 {
        let scene = Scene::any(seed);
        let times = (Timestamp::UNIX_EPOCH, jiff::SignedDuration::from_secs(5));
        let (listing, key) = (&scene.listing, &scene.key);
        let known = recover(scene.inventory.clone(), listing, key, times);
        assert!(known.pending.is_empty(), "seed {seed}");
        // Only older ids that are not listed are recorded as such.
        for correction in &known.corrections {
            let InventoryUpdate::Manage(name, owned) = correction else {
                panic!("seed {seed}: {correction:?}")
            };
            let before = &scene.inventory.managed[name];
            assert_eq!((&owned.id, &owned.applied), (&before.id, &before.applied), "seed {seed}");
            assert!(owned.superseded.len() < before.superseded.len(), "seed {seed}");
        }
        let keys = |inventory: &Inventory| -> Vec<SourceKey> {
            inventory.managed.values().map(|owned| owned.key.clone()).collect()
        };
        assert_eq!(keys(&known.inventory), keys(&scene.inventory), "seed {seed}");
    }
}
