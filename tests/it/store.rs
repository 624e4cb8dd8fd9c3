//! Tests of the state store on real directories.

use jiff::Timestamp;
use proptest::prelude::{Strategy, any, proptest};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{
    ActionOutcome, ConfigValue, DeclarationHash, Definition, IntentKind, LastApplied, ManagedSource, Scope,
    SecretRef, SourceId, SourceKey, SourceName, WorkspaceId, WorkspaceRef,
};
use wellspring::store::{
    Claim, HistoryFilter, JournalEntry, JournalFilter, LockError, NewIntent, QuarantineEntry, Store,
    StoreChange, StoreError, Trigger,
};

mod disk;
mod runs;

const PLATFORM: &str = "https://platform.example/api/v1";

fn workspace(workspace: &str) -> WorkspaceRef {
    WorkspaceRef { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::default() }
}

fn name(name: &str) -> SourceName {
    SourceName::parse(name).unwrap()
}

fn id(id: &str) -> SourceId {
    SourceId::from_json(&json!(id)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn definition(config: impl IntoIterator<Item = (&'static str, ConfigValue)>) -> Definition {
    Definition {
        kind: "database".into(),
        connection_config: config.into_iter().collect(),
        metadata: json!({ "owner": "data", "weight": 0.1 }).as_object().unwrap().clone().into(),
    }
}

fn owned(source: &str, definition: Definition) -> ManagedSource {
    ManagedSource {
        key: SourceKey::parse(source).unwrap(),
        id: Some(id("source_1")),
        superseded: vec![id("source_0")],
        sent: Vec::new(),
        former: Vec::new(),
        listed_as: None,
        connected_at: None,
        unidentified: false,
        taken_from: None,
        unproven_since: None,
        applied: LastApplied {
            definition: Arc::new(definition).into(),
            secrets: BTreeMap::new(),
            echo: Default::default(),
            stamp: None,
            key_id: "key".into(),
            sync: None,
            sync_since: None,
        },
        protect: true,
        declared_in: Some("/tree".into()),
        file: Some("crm.toml".into()),
        line: Some(7),
    }
}

fn own(source: &str) -> StoreChange {
    let config = [
        ("host", ConfigValue::String("db".into())),
        ("password", ConfigValue::Secret(SecretRef::Env("P".into()))),
    ];
    StoreChange::Manage(name(source), Arc::new(owned(source, definition(config))))
}

fn intent(source: &str) -> NewIntent {
    NewIntent {
        name: name(source),
        key: SourceKey::parse(source).unwrap(),
        kind: IntentKind::Cleanup(id("source_1")),
        before: vec![id("source_1"), SourceId::from_json(&json!(2)).unwrap()],
        list_lacked_ours: false,
        declared: Some(DeclarationHash {
            root: "/tree".into(),
            file: "crm.toml".into(),
            line: 7,
            protect: true,
        }),
    }
}

fn entry(source: &str, at: Timestamp) -> JournalEntry {
    JournalEntry {
        at,
        pass: "pass-1".into(),
        source: name(source),
        key: None,
        action: "cleanup".into(),
        source_id: SourceId::from_json(&json!(42)),
        reason: "no longer declared".into(),
        file: Some("crm.toml".into()),
        line: Some(3),
        commit: Some("0".repeat(40).into()),
        outcome: ActionOutcome::Done,
        message: None,
        removal: true,
        mends_drift: false,
        in_place: false,
    }
}

fn journalled(entry: JournalEntry) -> StoreChange {
    StoreChange::Journal(Box::new(entry))
}

fn scheduled(source: &str, firing: Timestamp) -> Claim {
    Claim { name: name(source), trigger: Trigger::Schedule, firing }
}

fn all_runs() -> HistoryFilter {
    HistoryFilter { workspace: None, source: None, limit: 100 }
}

fn all_rows() -> JournalFilter {
    JournalFilter { workspace: None, source: None, since: None, limit: 100 }
}

#[tokio::test]
async fn what_is_recorded_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let numbers = state.record_intents(&workspace("a"), &[intent("x"), intent("y")], at(1)).await.unwrap();
    state.commit(&workspace("a"), vec![own("crm"), StoreChange::CloseIntent(numbers[0])]).await.unwrap();
    let key = state.key().id().to_owned();
    drop(state);

    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&workspace("a")).await.unwrap();
    let StoreChange::Manage(source, expected) = own("crm") else { panic!() };
    assert_eq!(inventory.managed[&source], expected);
    assert_eq!(inventory.intents.len(), 1);
    let open = inventory.intents.values().next().unwrap();
    assert_eq!((open.number, &open.name, open.recorded_at), (numbers[1], &name("y"), at(1)));
    assert_eq!(open.before, intent("y").before);
    assert_eq!(state.key().id(), key);
    assert_eq!(state.workspaces().await.unwrap(), [workspace("a")]);
}

/// The number and size of the intents leads to compression.
#[tokio::test]
async fn many_intents_recorded_together_are_there_after_reopening_until_each_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let connect = |n: usize| {
        let query = ConfigValue::String(format!("SELECT {n} FROM orders -- \u{e9}\n").repeat(20));
        let applied = owned("crm", definition([("query", query)])).applied;
        NewIntent { kind: IntentKind::Connect(Arc::new(applied)), ..intent(&format!("s{n}")) }
    };
    let intents: Vec<NewIntent> = (0..100).map(connect).collect();
    let numbers = state.record_intents(&workspace("a"), &intents, at(1)).await.unwrap();
    let closed: Vec<StoreChange> =
        numbers[..70].iter().map(|number| StoreChange::CloseIntent(*number)).collect();
    state.commit(&workspace("a"), closed).await.unwrap();
    drop(state);

    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let open = state.inventory(&workspace("a")).await.unwrap().intents;
    assert!(open.keys().eq(&numbers[70..]));
    for (open, intent) in open.values().zip(&intents[70..]) {
        assert_eq!((&open.name, &open.kind), (&intent.name, &intent.kind));
    }
}

#[tokio::test]
async fn platforms_workspaces_and_scopes_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let here = Store::open(dir.path(), PLATFORM).unwrap();
    let there = Store::open(dir.path(), "https://other.example").unwrap();
    here.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    let scoped = WorkspaceRef { scope: Scope::parse("organization").unwrap(), ..workspace("a") };
    assert!(here.inventory(&scoped).await.unwrap().managed.is_empty());
    assert!(here.inventory(&workspace("b")).await.unwrap().managed.is_empty());
    assert!(there.inventory(&workspace("a")).await.unwrap().managed.is_empty());
    assert!(there.workspaces().await.unwrap().is_empty());
    there.commit(&workspace("a"), vec![StoreChange::Unmanage(name("crm"))]).await.unwrap();
    assert_eq!(here.inventory(&workspace("a")).await.unwrap().managed.len(), 1);
}

#[tokio::test]
async fn a_commit_with_a_failing_change_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let changes = vec![own("crm"), journalled(entry("crm", at(0))), StoreChange::CloseIntent(99)];
    let error = state.commit(&workspace("a"), changes).await.unwrap_err();
    assert!(matches!(error, StoreError::NoSuchIntent(99)), "{error}");
    assert!(state.inventory(&workspace("a")).await.unwrap().managed.is_empty());
    assert!(state.journal(all_rows()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_intent_of_another_workspace_cannot_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let numbers = state.record_intents(&workspace("a"), &[intent("x")], at(0)).await.unwrap();
    assert!(state.commit(&workspace("b"), vec![StoreChange::CloseIntent(numbers[0])]).await.is_err());
    assert_eq!(state.inventory(&workspace("a")).await.unwrap().intents.len(), 1);
}

#[tokio::test]
async fn what_would_not_come_back_as_it_went_in_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let deep = (0..500).fold(ConfigValue::Bool(true), |inner, _| ConfigValue::Array(vec![inner]));
    for value in [ConfigValue::Float(f64::INFINITY), deep] {
        let odd = owned("odd", definition([("odd", value)]));
        let error = state
            .commit(&workspace("a"), vec![StoreChange::Manage(name("odd"), Arc::new(odd))])
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unstorable { .. }), "{error}");
    }
    assert!(state.inventory(&workspace("a")).await.unwrap().managed.is_empty());
}

#[test]
fn any_definition_comes_back_as_it_went_in() {
    let leaf = proptest::prop_oneof![
        any::<bool>().prop_map(ConfigValue::Bool),
        any::<i64>().prop_map(ConfigValue::Integer),
        proptest::num::f64::NORMAL.prop_map(ConfigValue::Float),
        any::<String>().prop_map(ConfigValue::String),
        any::<String>().prop_map(|name| ConfigValue::Secret(SecretRef::File(name))),
    ];
    let value = leaf.prop_recursive(4, 20, 4, |inner| {
        proptest::prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(ConfigValue::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| ConfigValue::Table(fields.into_iter().collect())),
        ]
    });
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = proptest::test_runner::Config { cases: 64, failure_persistence: None, ..Default::default() };
    proptest!(config, |(value in value)| {
        let source = owned("any", definition([("any", value)]));
        let change = StoreChange::Manage(name("any"), Arc::new(source.clone()));
        let back = runtime.block_on(async {
            state.commit(&workspace("a"), vec![change]).await.unwrap();
            state.inventory(&workspace("a")).await.unwrap()
        });
        assert_eq!(*back.managed[&name("any")], source);
    });
}

#[tokio::test]
async fn how_a_platform_takes_a_taken_name_is_remembered_for_that_platform() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let upserts = async |state: &Store| state.plan_context(&workspace("w"), at(0)).await.unwrap().upserts;
    assert!(!upserts(&state).await);
    state.commit(&workspace("w"), vec![StoreChange::Upserts(true)]).await.unwrap();
    let elsewhere = Store::open(dir.path(), "https://other.example").unwrap();
    assert!(!upserts(&elsewhere).await);
    drop(state);
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    assert!(upserts(&state).await);
    state.commit(&workspace("w"), vec![StoreChange::Upserts(false)]).await.unwrap();
    assert!(!upserts(&state).await);
}

#[tokio::test]
async fn removals_are_counted_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let failed = JournalEntry { outcome: ActionOutcome::Failed, ..entry("d", at(100)) };
    let replaced = JournalEntry { removal: false, mends_drift: true, ..entry("e", at(100)) };
    let rows = [entry("a", at(0)), entry("b", at(50)), entry("c", at(100)), failed, replaced.clone()];
    state.commit(&workspace("a"), rows.into_iter().map(journalled).collect()).await.unwrap();
    let remembered = async |name, since| state.plan_context(&workspace(name), since).await.unwrap();
    assert_eq!(remembered("a", at(50)).await.recent_removals, 2);
    assert_eq!(remembered("b", at(0)).await.recent_removals, 0);
    assert_eq!(remembered("a", at(0)).await.drift_corrections, [(name("e"), "cleanup".to_owned(), at(100))]);
    let journal = state.journal(JournalFilter { since: Some(at(50)), limit: 2, ..all_rows() }).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[0].entry, replaced);
    assert_eq!(journal[0].workspace, workspace("a"));
}

#[tokio::test]
async fn a_root_is_remembered_as_it_was_last_read() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let first =
        vec![("a.toml".to_owned(), vec![workspace("a"), workspace("b")]), ("b.toml".to_owned(), vec![])];
    state.record_files("/tree", first).await.unwrap();
    state.record_files("/other", vec![("c.toml".to_owned(), vec![workspace("c")])]).await.unwrap();
    state.record_files("/tree", vec![("a.toml".to_owned(), vec![workspace("b")])]).await.unwrap();
    let files = state.files("/tree").await.unwrap();
    assert_eq!(files, BTreeMap::from([("a.toml".to_owned(), vec![workspace("b")])]));
    assert_eq!(state.files("/other").await.unwrap().len(), 1);
    assert!(state.files("/never").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_quarantine_holds_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let held = QuarantineEntry { since: at(0), reason: "undone twice".into(), definition_hash: "m1".into() };
    state.commit(&workspace("a"), vec![StoreChange::Quarantine(name("crm"), held.clone())]).await.unwrap();
    assert_eq!(state.quarantined(&workspace("a")).await.unwrap(), BTreeMap::from([(name("crm"), held)]));
    state.commit(&workspace("a"), vec![StoreChange::Release(name("crm"))]).await.unwrap();
    assert!(state.quarantined(&workspace("a")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_workspace_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), PLATFORM).unwrap();
    let second = Store::open(dir.path(), PLATFORM).unwrap();
    let lock = first.lock(&workspace("a"), "run").unwrap();
    let Err(LockError::Held { held_by: by }) = second.lock(&workspace("a"), "apply") else {
        panic!("locked twice")
    };
    assert_eq!(by, format!("pid {} (run)", std::process::id()));
    let _other = second.lock(&workspace("b"), "apply").unwrap();
    drop(lock);
    let _lock = second.lock(&workspace("a"), "apply").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_waits_as_long_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let lock = state.lock(&workspace("a"), "run").unwrap();
    let wait = Duration::from_secs(5);
    assert!(matches!(
        state.lock_with_timeout(&workspace("a"), "apply", wait).await,
        Err(LockError::Held { .. })
    ));
    let second = state.clone();
    let waiting =
        tokio::spawn(async move { second.lock_with_timeout(&workspace("a"), "apply", wait).await.is_ok() });
    tokio::task::yield_now().await;
    drop(lock);
    assert!(waiting.await.unwrap());
}
