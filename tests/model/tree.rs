//! Random projects, and random edits of them.

use crate::chance::Chance;
use std::collections::BTreeMap;
use std::sync::Arc;
use wellspring::model::{
    Adopt, ConfigValue, Definition, DesiredSource, DesiredWorkspace, Limit, MetadataPolicy, Moved,
    OnConflict, Policy, Prune, Removed, RemovedAction, Scope, SecretRef, SourceKey, SourceLocation,
    SourceName, Suspend, TestSpec, WorkspaceId, WorkspaceRef,
};

pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "d"];

pub(crate) fn unit() -> WorkspaceRef {
    WorkspaceRef { workspace: WorkspaceId::parse("ws").unwrap(), scope: Scope::default() }
}

pub(crate) fn any(chance: &mut Chance) -> DesiredWorkspace {
    let mut tree = DesiredWorkspace {
        unit: unit(),
        alias: None,
        policy: policy(chance),
        sources: Vec::new(),
        moved: Vec::new(),
        removed: Vec::new(),
        files: vec!["ws.toml".into()],
    };
    for name in NAMES {
        if chance.percent(60) {
            tree.sources.push(source(chance, name, name));
        }
    }
    tree
}

fn policy(chance: &mut Chance) -> Policy {
    Policy {
        prune: chance.one_of(&[Prune::Off, Prune::Owned, Prune::Owned]),
        adopt: chance.one_of(&[Adopt::Never, Adopt::Identical, Adopt::ByName, Adopt::Replace]),
        max_cleanup: chance.one_of(&[
            Limit::Count(1),
            Limit::Percent(30),
            Limit::Percent(100),
            Limit::Percent(100),
        ]),
        max_replace: chance.one_of(&[None, None, None, Some(Limit::Count(1))]),
        on_conflict: chance.one_of(&[OnConflict::Recreate, OnConflict::Recreate, OnConflict::Withhold]),
        metadata: chance.one_of(&[MetadataPolicy::Replace, MetadataPolicy::Withhold]),
    }
}

fn source(chance: &mut Chance, key: &str, name: &str) -> DesiredSource {
    DesiredSource {
        key: SourceKey::parse(key).unwrap(),
        name: SourceName::parse(name).unwrap(),
        definition: Arc::new(definition(chance)),
        protect: chance.percent(7),
        adopt: None,
        sync: None,
        sync_options: serde_json::Map::new(),
        suspend: chance.percent(3).then(|| Suspend { reason: "for now".into(), until: None }),
        test: TestSpec { before_connect: chance.percent(60), every: None },
        at: SourceLocation { file: "ws.toml".into(), line: 1 },
    }
}

/// `refused` and `unreachable` are hosts that the platform does not accept.
pub(crate) fn definition(chance: &mut Chance) -> Definition {
    let host = chance.one_of(&["h1", "h1", "h2", "h2", "h3", "h3", "h1", "h2", "refused", "unreachable"]);
    let mut config = BTreeMap::from([("host".to_owned(), ConfigValue::String(host.into()))]);
    if chance.percent(60) {
        config.insert("port".into(), ConfigValue::Integer(chance.one_of(&[1, 2])));
    }
    if chance.percent(50) {
        config.insert("password".into(), ConfigValue::Secret(SecretRef::Env("PW".into())));
    }
    let mut metadata = serde_json::Map::new();
    if chance.percent(30) {
        metadata.insert("team".into(), chance.one_of(&["x", "y"]).into());
    }
    Definition {
        kind: chance.one_of(&["database", "database", "database", "api"]).into(),
        connection_config: config.into_iter().collect(),
        metadata: metadata.into(),
    }
}

/// Makes one edit and returns its name.
pub(crate) fn edit(chance: &mut Chance, tree: &mut DesiredWorkspace) -> &'static str {
    let at = chance.below(tree.sources.len());
    match chance.below(12) {
        0..=2 => {
            let free: Vec<&str> = NAMES.into_iter().filter(|name| is_free(tree, name)).collect();
            if free.is_empty() {
                return "nothing";
            }
            let name = chance.one_of(&free);
            tree.moved.retain(|moved| moved.from.as_str() != name);
            tree.removed.retain(|removed| removed.key.as_str() != name);
            let source = source(chance, name, name);
            tree.sources.push(source);
            tree.sources.sort_by(|a, b| a.name.cmp(&b.name));
            "add"
        }
        _ if tree.sources.is_empty() => "nothing",
        3..=5 => {
            tree.sources[at].definition = Arc::new(definition(chance));
            "change"
        }
        6 => {
            let definition = Arc::make_mut(&mut tree.sources[at].definition);
            let mut metadata = serde_json::Map::from(std::mem::take(&mut definition.metadata));
            metadata.insert("team".into(), chance.one_of(&["x", "z"]).into());
            definition.metadata = metadata.into();
            "change metadata"
        }
        7 | 8 => {
            let gone = tree.sources.remove(at);
            if chance.percent(25) {
                tree.removed.push(Removed {
                    key: gone.key,
                    action: chance.one_of(&[RemovedAction::Cleanup, RemovedAction::Forget]),
                    reason: "done with".into(),
                    at: gone.at,
                });
            }
            "remove"
        }
        9 => rename(chance, tree, at),
        10 => {
            tree.sources[at].protect = !tree.sources[at].protect;
            "protect"
        }
        _ => {
            tree.policy = policy(chance);
            "policy"
        }
    }
}

fn is_free(tree: &DesiredWorkspace, name: &str) -> bool {
    !tree.sources.iter().any(|source| source.name.as_str() == name || source.key.as_str() == name)
}

fn rename(chance: &mut Chance, tree: &mut DesiredWorkspace, at: usize) -> &'static str {
    let Some(free) = NAMES.into_iter().find(|name| is_free(tree, name)) else { return "nothing" };
    let source = &mut tree.sources[at];
    let from = source.key.clone();
    source.key = SourceKey::parse(free).unwrap();
    source.name = SourceName::parse(free).unwrap();
    let to = source.key.clone();
    let place = source.at.clone();
    tree.moved.retain(|moved| moved.from != to && moved.to != from && moved.from != from);
    tree.removed.retain(|removed| removed.key != to);
    if chance.percent(60) {
        tree.moved.push(Moved { from, to, at: place });
    }
    tree.sources.sort_by(|a, b| a.name.cmp(&b.name));
    "rename"
}

/// Makes every source acceptable to the platform, and resumes suspended ones.
pub(crate) fn heal(tree: &mut DesiredWorkspace) {
    for source in &mut tree.sources {
        source.suspend = None;
        let definition = Arc::make_mut(&mut source.definition);
        let healed = std::mem::take(&mut definition.connection_config).into_iter().map(|(key, value)| {
            let is_ill =
                ["refused", "unreachable"].map(|host| ConfigValue::String(host.into())).contains(&value);
            (key, if is_ill { ConfigValue::String("h4".into()) } else { value })
        });
        definition.connection_config = healed.collect();
    }
}
