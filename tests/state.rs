//! The promises of the state store, kept on real directories.
#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{Strategy, any, proptest};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{
    Applied, Declared, Definition, FieldPath, IntentKind, Owned, Scope, SecretRef, SourceId, SourceKey,
    SourceName, Unit, WorkspaceId,
};
use wellspring::secrets::Secrets;
use wellspring::state::{
    Change, Claim, Finished, HistoryFilter, JournalEntry, JournalFilter, LockError, NewIntent, Quarantined,
    Retention, RunOutcome, State, StateError, Trigger,
};

const PLATFORM: &str = "https://platform.example/api/v1";

fn unit(workspace: &str) -> Unit {
    Unit { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::default() }
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

fn definition(config: impl IntoIterator<Item = (&'static str, Declared)>) -> Definition {
    Definition {
        kind: "database".into(),
        connection_config: config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        metadata: json!({ "owner": "data", "weight": 0.1 }).as_object().unwrap().clone(),
    }
}

fn owned(source: &str, definition: Definition) -> Owned {
    Owned {
        key: SourceKey::parse(source).unwrap(),
        id: Some(id("source_1")),
        superseded: vec![id("source_0")],
        applied: Applied {
            definition,
            secrets: BTreeMap::new(),
            echo: BTreeMap::new(),
            key_id: "key".into(),
            sync: None,
        },
        protect: true,
        declared_in: Some("/tree".into()),
        file: Some("crm.toml".into()),
        line: Some(7),
    }
}

fn own(source: &str) -> Change {
    let config =
        [("host", Declared::String("db".into())), ("password", Declared::Secret(SecretRef::Env("P".into())))];
    Change::Own(name(source), Box::new(owned(source, definition(config))))
}

fn intent(source: &str) -> NewIntent {
    NewIntent {
        name: name(source),
        key: SourceKey::parse(source).unwrap(),
        kind: IntentKind::Cleanup(id("source_1")),
        before: vec![id("source_1"), SourceId::from_json(&json!(2)).unwrap()],
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
        reason: "gone from the files".into(),
        file: Some("crm.toml".into()),
        line: Some(3),
        outcome: "done".into(),
        message: None,
        removal: true,
        mends_drift: false,
    }
}

fn journalled(entry: JournalEntry) -> Change {
    Change::Journal(Box::new(entry))
}

fn scheduled(source: &str, firing: Timestamp) -> Claim {
    Claim { name: name(source), trigger: Trigger::Schedule, firing }
}

fn finished(run: i64, second: i64, outcome: RunOutcome) -> Finished {
    Finished { run, finished_at: at(second), outcome, records: Some(10), message: None }
}

fn all_runs() -> HistoryFilter {
    HistoryFilter { unit: None, source: None, limit: 100 }
}

fn all_rows() -> JournalFilter {
    JournalFilter { unit: None, source: None, since: None, limit: 100 }
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn every_file(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, visit) } else { visit(&path) }
    }
}

#[tokio::test]
async fn what_is_recorded_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let numbers = state.record_intents(&unit("a"), vec![intent("x"), intent("y")], at(1)).await.unwrap();
    state.commit(&unit("a"), vec![own("crm"), Change::CloseIntent(numbers[0])]).await.unwrap();
    let key = state.key().id().to_owned();
    drop(state);

    let state = State::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&unit("a")).await.unwrap();
    let Change::Own(source, expected) = own("crm") else { panic!() };
    assert_eq!(inventory.owned[&source], *expected);
    assert_eq!(inventory.intents.len(), 1);
    let open = &inventory.intents[0];
    assert_eq!((open.number, &open.name, open.recorded_at), (numbers[1], &name("y"), at(1)));
    assert_eq!(open.before, intent("y").before);
    assert_eq!(state.key().id(), key);
    assert_eq!(state.units().await.unwrap(), [unit("a")]);
}

#[tokio::test]
async fn platforms_workspaces_and_scopes_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let here = State::open(dir.path(), PLATFORM).unwrap();
    let there = State::open(dir.path(), "https://other.example").unwrap();
    here.commit(&unit("a"), vec![own("crm")]).await.unwrap();
    let scoped = Unit { scope: Scope::parse("organization").unwrap(), ..unit("a") };
    assert!(here.inventory(&scoped).await.unwrap().owned.is_empty());
    assert!(here.inventory(&unit("b")).await.unwrap().owned.is_empty());
    assert!(there.inventory(&unit("a")).await.unwrap().owned.is_empty());
    assert!(there.units().await.unwrap().is_empty());
    there.commit(&unit("a"), vec![Change::Disown(name("crm"))]).await.unwrap();
    assert_eq!(here.inventory(&unit("a")).await.unwrap().owned.len(), 1);
}

#[tokio::test]
async fn a_commit_with_a_failing_change_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let changes = vec![own("crm"), journalled(entry("crm", at(0))), Change::CloseIntent(99)];
    let error = state.commit(&unit("a"), changes).await.unwrap_err();
    assert!(matches!(error, StateError::NoSuchIntent(99)), "{error}");
    assert!(state.inventory(&unit("a")).await.unwrap().owned.is_empty());
    assert!(state.journal(all_rows()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_intent_of_another_unit_cannot_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let numbers = state.record_intents(&unit("a"), vec![intent("x")], at(0)).await.unwrap();
    assert!(state.commit(&unit("b"), vec![Change::CloseIntent(numbers[0])]).await.is_err());
    assert_eq!(state.inventory(&unit("a")).await.unwrap().intents.len(), 1);
}

#[tokio::test]
async fn what_would_not_come_back_as_it_went_in_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let deep = (0..500).fold(Declared::Bool(true), |inner, _| Declared::Array(vec![inner]));
    for value in [Declared::Float(f64::INFINITY), deep] {
        let odd = owned("odd", definition([("odd", value)]));
        let error =
            state.commit(&unit("a"), vec![Change::Own(name("odd"), Box::new(odd))]).await.unwrap_err();
        assert!(matches!(error, StateError::Unstorable { .. }), "{error}");
    }
    assert!(state.inventory(&unit("a")).await.unwrap().owned.is_empty());
}

#[test]
fn any_definition_comes_back_as_it_went_in() {
    let leaf = proptest::prop_oneof![
        any::<bool>().prop_map(Declared::Bool),
        any::<i64>().prop_map(Declared::Integer),
        proptest::num::f64::NORMAL.prop_map(Declared::Float),
        any::<String>().prop_map(Declared::String),
        any::<String>().prop_map(|name| Declared::Secret(SecretRef::File(name))),
    ];
    let value = leaf.prop_recursive(4, 20, 4, |inner| {
        proptest::prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Declared::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Declared::Table),
        ]
    });
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = proptest::test_runner::Config { cases: 64, failure_persistence: None, ..Default::default() };
    proptest!(config, |(value in value)| {
        let source = owned("any", definition([("any", value)]));
        let change = Change::Own(name("any"), Box::new(source.clone()));
        let back = runtime.block_on(async {
            state.commit(&unit("a"), vec![change]).await.unwrap();
            state.inventory(&unit("a")).await.unwrap()
        });
        assert_eq!(back.owned[&name("any")], source);
    });
}

#[tokio::test]
async fn only_the_owner_may_read_what_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/state");
    let state = State::open(&path, PLATFORM).unwrap();
    state.commit(&unit("a"), vec![own("crm")]).await.unwrap();
    let _lock = state.lock(&unit("a"), "apply").unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&dir.path().join("deep")), 0o700);
    let mut files = 0;
    every_file(&path, &mut |file| {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        files += 1;
    });
    assert!(files >= 5, "database, log, key, locks: {files}");
}

#[tokio::test]
async fn reading_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("state");
    assert!(State::open_read_only(&missing, PLATFORM).unwrap().is_none());
    assert!(!missing.exists());
    assert!(State::open_read_only(dir.path(), PLATFORM).unwrap().is_none());
    assert!(listing(dir.path()).is_empty());

    let state = State::open(&missing, PLATFORM).unwrap();
    state.commit(&unit("a"), vec![own("crm")]).await.unwrap();
    drop(state);
    let before = listing(&missing);
    assert!(!before.contains(&"state.db-wal".to_owned()), "closed in good order: {before:?}");
    let reader = State::open_read_only(&missing, PLATFORM).unwrap().unwrap();
    assert_eq!(reader.inventory(&unit("a")).await.unwrap().owned.len(), 1);
    assert!(matches!(reader.commit(&unit("a"), vec![]).await, Err(StateError::ReadOnly { .. })));
    assert!(matches!(reader.lock(&unit("a"), "plan"), Err(LockError::ReadOnly)));
    assert_eq!(listing(&missing), before);
}

#[tokio::test]
async fn a_reader_sees_what_a_writer_commits_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    drop(State::open(dir.path(), PLATFORM).unwrap());
    let reader = State::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    let writer = State::open(dir.path(), PLATFORM).unwrap();
    writer.commit(&unit("a"), vec![own("one")]).await.unwrap();
    assert_eq!(reader.inventory(&unit("a")).await.unwrap().owned.len(), 1);
    writer.commit(&unit("a"), vec![own("two")]).await.unwrap();
    assert_eq!(reader.inventory(&unit("a")).await.unwrap().owned.len(), 2);
    assert_eq!(reader.key().id(), writer.key().id());
    drop(writer);
    assert_eq!(reader.inventory(&unit("a")).await.unwrap().owned.len(), 2);
    assert!(!dir.path().join("state.db-wal").exists());
}

#[tokio::test]
async fn a_directory_name_is_not_read_as_syntax() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a?mode=rwc#b %41 'é'");
    let state = State::open(&path, PLATFORM).unwrap();
    state.commit(&unit("a"), vec![own("crm")]).await.unwrap();
    drop(state);
    let reader = State::open_read_only(&path, PLATFORM).unwrap().unwrap();
    assert_eq!(reader.inventory(&unit("a")).await.unwrap().owned.len(), 1);
}

#[tokio::test]
async fn a_copy_taken_mid_write_opens_with_every_finished_commit() {
    // The files as they stand while the writer still holds them are what a kill would leave.
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    for n in 0..20 {
        state.commit(&unit("a"), vec![own(&format!("s{n}"))]).await.unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    for file in ["state.db", "state.db-wal", "fingerprint.key"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    // The last bytes of the log never reached the disk.
    let log = fs::OpenOptions::new().write(true).open(copy.path().join("state.db-wal")).unwrap();
    log.set_len(log.metadata().unwrap().len() - 10).unwrap();
    let reopened = State::open(copy.path(), PLATFORM).unwrap();
    let found = reopened.inventory(&unit("a")).await.unwrap().owned.len();
    assert_eq!(found, 19, "the torn commit is gone as a whole, the others stand");
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "this is no database, however long it may be".repeat(100)).unwrap();
    for error in [
        State::open(dir.path(), PLATFORM).err().unwrap(),
        State::open_read_only(dir.path(), PLATFORM).err().unwrap(),
    ] {
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert!(fs::read_to_string(&path).unwrap().starts_with("this is no database"));
}

#[tokio::test]
async fn some_other_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(State::open(dir.path(), PLATFORM), Err(StateError::Damaged { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage_not_absence() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    state.commit(&unit("a"), vec![own("crm")]).await.unwrap();
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.execute("UPDATE owned SET owned = '{\"key\": 1}'", []).unwrap();
    assert!(matches!(state.inventory(&unit("a")).await, Err(StateError::Damaged { .. })));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(State::open(dir.path(), PLATFORM).unwrap());
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    for error in [
        State::open(dir.path(), PLATFORM).err().unwrap(),
        State::open_read_only(dir.path(), PLATFORM).err().unwrap(),
    ] {
        assert!(matches!(error, StateError::Newer { found: 999, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_database_of_version_1_opens_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.execute_batch(include_str!("state/version_1.sql")).unwrap();
    drop(raw);
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&unit("ws_1")).await.unwrap();
    assert_eq!(inventory.owned[&name("crm")].id, Some(id("source_1")));
    assert_eq!(inventory.intents[0].kind, IntentKind::Cleanup(id("source_1")));
    assert_eq!(state.history(all_runs()).await.unwrap().len(), 1);
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), 1);
    assert_eq!(state.files("/tree").await.unwrap()["crm.toml"], [unit("ws_1")]);
    assert_eq!(state.quarantined(&unit("ws_1")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_the_wrong_length_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("fingerprint.key"), "short").unwrap();
    assert!(matches!(State::open(dir.path(), PLATFORM), Err(StateError::Key { .. })));
    assert_eq!(fs::read(dir.path().join("fingerprint.key")).unwrap(), b"short");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = State::open(&dir.path().join("file/state"), PLATFORM).err().unwrap();
    assert!(error.to_string().contains("file/state"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_firing_is_claimed_once_however_many_try() {
    let dir = tempfile::tempdir().unwrap();
    let path: Arc<Path> = dir.path().into();
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let state = State::open(&path, PLATFORM).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let claims = |n| vec![scheduled("crm", at(n)), scheduled("erp", at(n))];
                (0..25)
                    .flat_map(|n| runtime.block_on(state.claim(&unit("a"), claims(n), at(n))).unwrap())
                    .flatten()
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut won: Vec<i64> = tries.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(won.len(), 50);
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), 50, "every run has a number of its own");
}

#[tokio::test]
async fn only_scheduled_firings_are_unique_and_per_source() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let manual = Claim { trigger: Trigger::Manual, ..scheduled("crm", at(0)) };
    let claims =
        vec![scheduled("crm", at(0)), scheduled("crm", at(0)), manual.clone(), manual, scheduled("b", at(0))];
    let won = state.claim(&unit("a"), claims, at(0)).await.unwrap();
    assert_eq!(won.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true, true]);
    let elsewhere = state.claim(&unit("b"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    assert!(elsewhere[0].is_some());
}

#[tokio::test]
async fn runs_end_once_and_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    for (n, outcome) in [(0, RunOutcome::Done), (1, RunOutcome::Failed)] {
        let run =
            state.claim(&unit("a"), vec![scheduled("crm", at(n * 60))], at(n * 60 + 1)).await.unwrap()[0];
        state.finish(vec![finished(run.unwrap(), n * 60 + 5, outcome)]).await.unwrap();
        state.finish(vec![finished(run.unwrap(), 9999, RunOutcome::Unknown)]).await.unwrap();
    }
    let last = &state.last_runs(&unit("a")).await.unwrap()[&name("crm")];
    assert_eq!(last.outcome, RunOutcome::Failed);
    assert_eq!((last.firing, last.started_at), (at(60), at(61)));
    assert_eq!((last.finished_at, last.last_success), (Some(at(65)), Some(at(5))));
    assert_eq!(last.records, Some(10));
    let history = state.history(all_runs()).await.unwrap();
    assert_eq!(
        history.iter().map(|run| run.outcome).collect::<Vec<_>>(),
        [RunOutcome::Failed, RunOutcome::Done]
    );
    assert_eq!(history[0].message, None);
    let none = HistoryFilter { source: Some(name("other")), ..all_runs() };
    assert!(state.history(none).await.unwrap().is_empty());
    let one = HistoryFilter { unit: Some(unit("a")), source: Some(name("crm")), limit: 1 };
    assert_eq!(state.history(one).await.unwrap().len(), 1);
}

#[tokio::test]
async fn runs_of_a_dead_process_end_as_unknown_and_those_of_a_living_one_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let living = State::open(dir.path(), PLATFORM).unwrap();
    let dead = State::open(dir.path(), PLATFORM).unwrap();
    living.claim(&unit("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    dead.claim(&unit("a"), vec![scheduled("erp", at(0))], at(0)).await.unwrap();
    drop(dead);
    let third = State::open(dir.path(), PLATFORM).unwrap();
    let check = async |state: &State| {
        let last = state.last_runs(&unit("a")).await.unwrap();
        assert_eq!(last[&name("crm")].outcome, RunOutcome::Running);
        assert_eq!(last[&name("erp")].outcome, RunOutcome::Unknown);
    };
    check(&third).await;
    check(&living).await;
    let again = living.claim(&unit("a"), vec![scheduled("erp", at(0))], at(1)).await.unwrap();
    assert_eq!(again, [None], "the firing stays spent");
}

#[tokio::test]
async fn a_death_is_noticed_without_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let living = State::open(dir.path(), PLATFORM).unwrap();
    let dead = State::open(dir.path(), PLATFORM).unwrap();
    dead.claim(&unit("a"), vec![scheduled("erp", at(0))], at(0)).await.unwrap();
    assert_eq!(living.last_runs(&unit("a")).await.unwrap()[&name("erp")].outcome, RunOutcome::Running);
    drop(dead);
    let reader = State::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    for state in [&living, &reader] {
        assert_eq!(state.last_runs(&unit("a")).await.unwrap()[&name("erp")].outcome, RunOutcome::Unknown);
        let run = &state.history(all_runs()).await.unwrap()[0];
        assert_eq!(run.message.as_deref(), Some("the process ended before the answer came"));
    }
}

#[tokio::test]
async fn removals_are_counted_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let failed = JournalEntry { outcome: "failed".into(), ..entry("d", at(100)) };
    let replaced = JournalEntry { removal: false, mends_drift: true, ..entry("e", at(100)) };
    let rows = [entry("a", at(0)), entry("b", at(50)), entry("c", at(100)), failed, replaced.clone()];
    state.commit(&unit("a"), rows.into_iter().map(journalled).collect()).await.unwrap();
    assert_eq!(state.removals_since(&unit("a"), at(50)).await.unwrap(), 2);
    assert_eq!(state.removals_since(&unit("b"), at(0)).await.unwrap(), 0);
    let undone = state.undone_since(&unit("a"), at(0)).await.unwrap();
    assert_eq!(undone, [(name("e"), "cleanup".to_owned(), at(100))]);
    let journal = state.journal(JournalFilter { since: Some(at(50)), limit: 2, ..all_rows() }).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[0].entry, replaced);
    assert_eq!(journal[0].unit, unit("a"));
}

#[tokio::test]
async fn a_root_is_remembered_as_it_was_last_read() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let first = vec![("a.toml".to_owned(), vec![unit("a"), unit("b")]), ("b.toml".to_owned(), vec![])];
    state.remember_files("/tree", first).await.unwrap();
    state.remember_files("/other", vec![("c.toml".to_owned(), vec![unit("c")])]).await.unwrap();
    state.remember_files("/tree", vec![("a.toml".to_owned(), vec![unit("b")])]).await.unwrap();
    let files = state.files("/tree").await.unwrap();
    assert_eq!(files, BTreeMap::from([("a.toml".to_owned(), vec![unit("b")])]));
    assert_eq!(state.files("/other").await.unwrap().len(), 1);
    assert!(state.files("/never").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_quarantine_holds_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let held = Quarantined { since: at(0), reason: "undone twice".into(), mark: "m1".into() };
    state.commit(&unit("a"), vec![Change::Quarantine(name("crm"), held.clone())]).await.unwrap();
    assert_eq!(state.quarantined(&unit("a")).await.unwrap(), BTreeMap::from([(name("crm"), held)]));
    state.commit(&unit("a"), vec![Change::Release(name("crm"))]).await.unwrap();
    assert!(state.quarantined(&unit("a")).await.unwrap().is_empty());
}

#[tokio::test]
async fn pruning_keeps_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let outcomes =
        [RunOutcome::Done, RunOutcome::Done, RunOutcome::Failed, RunOutcome::Failed, RunOutcome::Failed];
    let running = state.claim(&unit("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap()[0].unwrap();
    let mut runs = Vec::new();
    for (n, outcome) in (1..).zip(outcomes) {
        let run = state.claim(&unit("a"), vec![scheduled("crm", at(n))], at(n)).await.unwrap()[0].unwrap();
        state.finish(vec![finished(run, n, outcome)]).await.unwrap();
        runs.push(run);
    }
    let day = SignedDuration::from_hours(24).as_secs();
    state
        .commit(&unit("a"), vec![journalled(entry("old", at(-day - 1))), journalled(entry("new", at(0)))])
        .await
        .unwrap();
    state.prune_history(at(0), Retention { runs_per_source: 2, age: Duration::ZERO }).await.unwrap();
    let kept: Vec<i64> = state.history(all_runs()).await.unwrap().iter().map(|run| run.run).collect();
    assert_eq!(kept, [runs[4], runs[3], runs[1], running]);
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), 1);
    assert_eq!(state.last_runs(&unit("a")).await.unwrap()[&name("crm")].last_success, Some(at(2)));
}

#[tokio::test]
async fn a_workspace_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = State::open(dir.path(), PLATFORM).unwrap();
    let second = State::open(dir.path(), PLATFORM).unwrap();
    let lock = first.lock(&unit("a"), "run").unwrap();
    let Err(LockError::Held { by }) = second.lock(&unit("a"), "apply") else { panic!("locked twice") };
    assert_eq!(by, format!("pid {} (run)", std::process::id()));
    let _other = second.lock(&unit("b"), "apply").unwrap();
    drop(lock);
    let _lock = second.lock(&unit("a"), "apply").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_waits_as_long_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let lock = state.lock(&unit("a"), "run").unwrap();
    let wait = Duration::from_secs(5);
    assert!(matches!(state.lock_waiting(&unit("a"), "apply", wait).await, Err(LockError::Held { .. })));
    let second = state.clone();
    let waiting = tokio::spawn(async move { second.lock_waiting(&unit("a"), "apply", wait).await.is_ok() });
    tokio::task::yield_now().await;
    drop(lock);
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn a_secret_stands_in_no_file_of_the_state() {
    const CANARY: &str = "c4nary-value-9f2b";
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let secrets = Secrets {
        variables: Arc::new(|_| Some(CANARY.to_owned())),
        secrets_dir: None,
        credentials_dir: None,
        forbidden: Default::default(),
    };
    let mut source = owned("crm", definition([("password", Declared::Secret(SecretRef::Env("P".into())))]));
    let resolved = secrets.resolve(&source.applied.definition).unwrap();
    source.applied.secrets = resolved.fingerprints(state.key());
    assert!(source.applied.secrets.contains_key(&FieldPath::root("connection_config").key("password")));
    let connect = NewIntent { kind: IntentKind::Connect(Box::new(source.applied.clone())), ..intent("crm") };
    state.record_intents(&unit("a"), vec![connect], at(0)).await.unwrap();
    state.commit(&unit("a"), vec![Change::Own(name("crm"), Box::new(source))]).await.unwrap();
    let look = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", file.display());
    };
    every_file(dir.path(), &mut |file| look(file));
    drop(state);
    every_file(dir.path(), &mut |file| look(file));
}

#[test]
fn the_state_works_without_a_runtime_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let first = tokio::runtime::Builder::new_current_thread().build().unwrap();
    first.block_on(state.commit(&unit("a"), vec![own("crm")])).unwrap();
    drop(first);
    let second = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(second.block_on(state.inventory(&unit("a"))).unwrap().owned.len(), 1);
}

#[tokio::test]
async fn a_killed_process_leaves_every_finished_commit_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env("VICTIM", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines();
    let finished = said.map_while(Result::ok).filter(|line| line.starts_with("finished ")).take(50).count();
    victim.kill().unwrap();
    victim.wait().unwrap();

    let reader = State::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    let seen = reader.inventory(&unit("a")).await.unwrap().owned.len();
    assert!(seen >= finished, "{seen} of {finished}");
    let state = State::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&unit("a")).await.unwrap();
    assert_eq!(inventory.owned.len(), seen);
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), seen.min(100), "both or neither");
    let _lock = state.lock(&unit("a"), "apply").unwrap();
    let run = &state.history(all_runs()).await.unwrap()[0];
    assert_eq!(run.outcome, RunOutcome::Unknown);
    assert_eq!(run.message.as_deref(), Some("the process ended before the answer came"));
    assert_eq!(listing(&dir.path().join("processes")).len(), 1, "its sign of life was cleared away");
}

#[tokio::test]
#[ignore = "run and killed by another test"]
async fn victim() {
    let Some(dir) = std::env::var_os("VICTIM") else { return };
    let state = State::open(Path::new(&dir), PLATFORM).unwrap();
    let _lock = state.lock(&unit("a"), "run").unwrap();
    state.claim(&unit("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    for n in 0.. {
        let changes = vec![own(&format!("s{n}")), journalled(entry("s", at(n)))];
        state.commit(&unit("a"), changes).await.unwrap();
        println!("\nfinished {n}");
    }
}

#[test]
fn reading_never_fails_and_never_goes_back_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    drop(State::open(dir.path(), PLATFORM).unwrap());
    let path: Arc<Path> = dir.path().into();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for n in 0..40 {
                let state = State::open(&path, PLATFORM).unwrap();
                runtime.block_on(state.commit(&unit("a"), vec![own(&format!("s{n}"))])).unwrap();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reader = State::open_read_only(&path, PLATFORM).unwrap().unwrap();
    let mut seen = 0;
    while !writer.is_finished() {
        let now = runtime.block_on(reader.inventory(&unit("a"))).unwrap().owned.len();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    writer.join().unwrap();
    assert_eq!(runtime.block_on(reader.inventory(&unit("a"))).unwrap().owned.len(), 40);
}
