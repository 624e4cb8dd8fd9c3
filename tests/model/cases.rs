//! Failures that the model checker found, each in a few lines.

mod lists;
mod writes;

use crate::history::History;
use crate::tree;
use crate::wire::Fate;
use crate::world::{Echo, Ids, Semantics, Taken};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{
    ConfigValue, Definition, DesiredSource, DesiredWorkspace, Policy, SecretRef, SortedMap, SourceKey,
    SourceLocation, SourceName, TestSpec,
};
use wellspring::reconcile::Pass;

const SETTLE: Duration = Duration::from_secs(5);

fn platform(taken: Taken) -> Semantics {
    Semantics {
        taken,
        echo: Echo::Everything,
        ids: Ids::Text,
        lag: 0,
        uneven: false,
        stale: 0,
        very_late: true,
        answers_ids: true,
        partial: false,
        reserved: 0,
        strict_cleanup: false,
        has_test: true,
    }
}

/// A project that declares one source `a` with this host.
fn tree(host: &str) -> DesiredWorkspace {
    DesiredWorkspace {
        unit: tree::unit(),
        alias: None,
        policy: Policy::default(),
        sources: vec![DesiredSource {
            key: SourceKey::parse("a").unwrap(),
            name: SourceName::parse("a").unwrap(),
            definition: Arc::new(Definition {
                kind: "database".into(),
                connection_config: [("host", ConfigValue::String(host.into()))].into(),
                metadata: SortedMap::default(),
            }),
            protect: false,
            adopt: None,
            sync: None,
            sync_options: serde_json::Map::new(),
            suspend: None,
            test: TestSpec::default(),
            at: SourceLocation { file: "ws.toml".into(), line: 1 },
        }],
        moved: Vec::new(),
        removed: Vec::new(),
        files: Vec::new(),
    }
}

/// Runs a case with a simulated clock.
fn case(semantics: Semantics, story: impl AsyncFnOnce(&mut History)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut history = History::quiet(semantics, tree("h1"));
        story(&mut history).await;
        let world = history.wire.world();
        assert!(world.breaches.is_empty(), "{}", world.log.join("\n"));
    });
}

fn hosts(history: &History) -> Vec<Value> {
    history.wire.world().rows.iter().map(|row| row.config["host"].clone()).collect()
}

fn script(history: &History, fates: &[(&'static str, Fate)]) {
    history.wire.world().script.extend_from_slice(fates);
}

async fn pass(history: &mut History) -> Pass {
    history.pass().await.unwrap()
}

async fn settle() {
    tokio::time::sleep(SETTLE).await;
}

fn codes(pass: &Pass) -> Vec<&'static str> {
    pass.plan().unwrap().withheld.iter().map(|withheld| withheld.code.as_str()).collect()
}

/// Returns the same source under each of these keys.
fn sources(host: &str, keys: &[&str]) -> Vec<DesiredSource> {
    let source = tree(host).sources.remove(0);
    let named = |key: &&str| DesiredSource {
        key: SourceKey::parse(key).unwrap(),
        name: SourceName::parse(key).unwrap(),
        ..source.clone()
    };
    keys.iter().map(named).collect()
}

/// The project with a secret beside the host.
fn with_password(host: &str) -> DesiredWorkspace {
    let mut tree = tree(host);
    let definition = Arc::make_mut(&mut tree.sources[0].definition);
    definition.connection_config = [
        ("host", ConfigValue::String(host.into())),
        ("password", ConfigValue::Secret(SecretRef::Env("PW".into()))),
    ]
    .into();
    tree
}
