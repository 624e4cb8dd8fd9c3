//! Tests of the files on disk: atomic, private, and without secrets.

use super::{
    PLATFORM, all_rows, all_runs, at, definition, entry, id, intent, journalled, name, own, owned, scheduled,
    workspace,
};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use wellspring::model::{ConfigValue, FieldPath, IntentKind, SecretRef};
use wellspring::secrets::Secrets;
use wellspring::store::{LockError, NewIntent, RunOutcome, Store, StoreChange, StoreError};

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
async fn only_the_owner_may_read_what_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/state");
    let state = Store::open(&path, PLATFORM).unwrap();
    state.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    let _lock = state.lock(&workspace("a"), "apply").unwrap();
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
async fn the_log_is_written_back_before_it_grows_large() {
    const MIB: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let large = definition([("query", ConfigValue::String("x".repeat(MIB)))]);
    for n in 0..64 {
        let owned = Arc::new(owned("crm", large.clone()));
        state
            .commit(&workspace(&format!("w{n}")), vec![StoreChange::Manage(name("crm"), owned)])
            .await
            .unwrap();
    }
    let size = |file: &str| usize::try_from(fs::metadata(dir.path().join(file)).unwrap().len()).unwrap();
    assert!(size("state.db-wal") < 32 * MIB, "{} bytes", size("state.db-wal"));
    assert!(size("state.db") > 32 * MIB, "{} bytes", size("state.db"));
}

#[tokio::test]
async fn reading_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("state");
    assert!(Store::open_read_only(&missing, PLATFORM).unwrap().is_none());
    assert!(!missing.exists());
    assert!(Store::open_read_only(dir.path(), PLATFORM).unwrap().is_none());
    assert!(listing(dir.path()).is_empty());

    let state = Store::open(&missing, PLATFORM).unwrap();
    state.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    drop(state);
    let before = listing(&missing);
    assert!(!before.contains(&"state.db-wal".to_owned()), "closed in good order: {before:?}");
    let reader = Store::open_read_only(&missing, PLATFORM).unwrap().unwrap();
    assert_eq!(reader.inventory(&workspace("a")).await.unwrap().managed.len(), 1);
    assert!(matches!(reader.commit(&workspace("a"), vec![]).await, Err(StoreError::ReadOnly { .. })));
    assert!(matches!(reader.lock(&workspace("a"), "plan"), Err(LockError::ReadOnly)));
    assert_eq!(listing(&missing), before);
}

#[tokio::test]
async fn a_reader_sees_what_a_writer_commits_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), PLATFORM).unwrap());
    let reader = Store::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    let writer = Store::open(dir.path(), PLATFORM).unwrap();
    writer.commit(&workspace("a"), vec![own("one")]).await.unwrap();
    assert_eq!(reader.inventory(&workspace("a")).await.unwrap().managed.len(), 1);
    writer.commit(&workspace("a"), vec![own("two")]).await.unwrap();
    assert_eq!(reader.inventory(&workspace("a")).await.unwrap().managed.len(), 2);
    assert_eq!(reader.key().id(), writer.key().id());
    drop(writer);
    assert_eq!(reader.inventory(&workspace("a")).await.unwrap().managed.len(), 2);
    assert!(!dir.path().join("state.db-wal").exists());
    let writer = Store::open(dir.path(), PLATFORM).unwrap();
    writer.commit(&workspace("a"), vec![own("six")]).await.unwrap();
    drop(writer);
    assert_eq!(
        reader.inventory(&workspace("a")).await.unwrap().managed.len(),
        3,
        "of a file that was closed again"
    );
}

#[tokio::test]
async fn a_draft_that_an_interrupted_start_left_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tempfile::tempdir().unwrap();
    drop(Store::open(whole.path(), PLATFORM).unwrap());
    let bytes = fs::read(whole.path().join("state.db")).unwrap();
    fs::write(dir.path().join("state.db.new"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(dir.path().join("state.db.new-wal"), "half a log").unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    state.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    drop(state);
    assert!(listing(dir.path()).iter().all(|name| !name.contains("new")), "{:?}", listing(dir.path()));
    assert_eq!(mode(&dir.path().join("state.db")), 0o600);
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    let text = |pragma| raw.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    assert_eq!((text("integrity_check").as_str(), text("journal_mode").as_str()), ("ok", "wal"));
    let page: i64 = raw.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    assert_eq!(page, 16 << 10);
}

#[tokio::test]
async fn a_directory_name_is_not_read_as_syntax() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a?mode=rwc#b %41 'é'");
    let state = Store::open(&path, PLATFORM).unwrap();
    state.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    drop(state);
    let reader = Store::open_read_only(&path, PLATFORM).unwrap().unwrap();
    assert_eq!(reader.inventory(&workspace("a")).await.unwrap().managed.len(), 1);
}

#[tokio::test]
async fn a_copy_taken_mid_write_opens_with_every_finished_commit() {
    // A copy taken while the writer is running contains what a kill would leave behind.
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    for n in 0..20 {
        state.commit(&workspace("a"), vec![own(&format!("s{n}"))]).await.unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    for file in ["state.db", "state.db-wal", "fingerprint.key"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    // Simulates a log whose last bytes never reached the disk.
    let log = fs::OpenOptions::new().write(true).open(copy.path().join("state.db-wal")).unwrap();
    log.set_len(log.metadata().unwrap().len() - 10).unwrap();
    let reopened = Store::open(copy.path(), PLATFORM).unwrap();
    let found = reopened.inventory(&workspace("a")).await.unwrap().managed.len();
    assert_eq!(found, 19, "the torn commit is gone as a whole, the others stand");
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "this is no database, however long it may be".repeat(100)).unwrap();
    for error in [
        Store::open(dir.path(), PLATFORM).err().unwrap(),
        Store::open_read_only(dir.path(), PLATFORM).err().unwrap(),
    ] {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
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
    assert!(matches!(Store::open(dir.path(), PLATFORM), Err(StoreError::Damaged { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage_not_absence() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    state.commit(&workspace("a"), vec![own("crm")]).await.unwrap();
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.execute("UPDATE owned SET owned = '{\"key\": 1}'", []).unwrap();
    assert!(matches!(state.inventory(&workspace("a")).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), PLATFORM).unwrap());
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    for error in [
        Store::open(dir.path(), PLATFORM).err().unwrap(),
        Store::open_read_only(dir.path(), PLATFORM).err().unwrap(),
    ] {
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_database_of_version_1_opens_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let raw = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    raw.execute_batch(include_str!("version_1.sql")).unwrap();
    drop(raw);
    let before = fs::read(dir.path().join("state.db")).unwrap();
    let looked = Store::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    assert_eq!(
        looked.last_runs(&workspace("ws_1")).await.unwrap().len(),
        1,
        "verbs that only look work at once"
    );
    let refused = looked.commit(&workspace("ws_1"), vec![own("crm")]).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    drop(looked);
    assert_eq!(fs::read(dir.path().join("state.db")).unwrap(), before, "and the file stays as it is");
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&workspace("ws_1")).await.unwrap();
    assert_eq!(inventory.managed[&name("crm")].id, Some(id("source_1")));
    assert_eq!(inventory.intents.values().next().unwrap().kind, IntentKind::Cleanup(id("source_1")));
    let history = state.history(all_runs()).await.unwrap();
    let last = state.last_runs(&workspace("ws_1")).await.unwrap()[&name("crm")].clone();
    assert_eq!(history.len(), 1);
    assert_eq!((last.firing, last.started_at), (history[0].firing, history[0].started_at));
    assert_eq!((last.last_success, last.outcome), (history[0].finished_at, RunOutcome::Done));
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), 1);
    assert_eq!(state.files("/tree").await.unwrap()["crm.toml"], [workspace("ws_1")]);
    assert_eq!(state.quarantined(&workspace("ws_1")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_the_wrong_length_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("fingerprint.key"), "short").unwrap();
    assert!(matches!(Store::open(dir.path(), PLATFORM), Err(StoreError::Key { .. })));
    assert_eq!(fs::read(dir.path().join("fingerprint.key")).unwrap(), b"short");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/state"), PLATFORM).err().unwrap();
    assert!(error.to_string().contains("file/state"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_secret_stands_in_no_file_of_the_state() {
    const CANARY: &str = "c4nary-value-9f2b";
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let secrets = Secrets::of_variables(Arc::new(|_| Some(CANARY.to_owned())));
    let mut source =
        owned("crm", definition([("password", ConfigValue::Secret(SecretRef::Env("P".into())))]));
    let resolved = secrets.resolve(source.applied.definition.shared(), &[]).unwrap();
    source.applied.secrets = resolved.fingerprints(state.key());
    assert!(source.applied.secrets.contains_key(&FieldPath::root("connection_config").key("password")));
    let connect = NewIntent { kind: IntentKind::Connect(Arc::new(source.applied.clone())), ..intent("crm") };
    state.record_intents(&workspace("a"), &[connect], at(0)).await.unwrap();
    // Many intents are compressed, so a search in the file would not find the canary.
    let recorded = state.inventory(&workspace("a")).await.unwrap().intents;
    assert!(!serde_json::to_string(&recorded).unwrap().contains(CANARY));
    state.commit(&workspace("a"), vec![StoreChange::Manage(name("crm"), Arc::new(source))]).await.unwrap();
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
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let first = tokio::runtime::Builder::new_current_thread().build().unwrap();
    first.block_on(state.commit(&workspace("a"), vec![own("crm")])).unwrap();
    drop(first);
    let second = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(second.block_on(state.inventory(&workspace("a"))).unwrap().managed.len(), 1);
}

#[tokio::test]
async fn a_killed_process_leaves_every_finished_commit_and_no_lock() {
    if let Some(dir) = std::env::var_os("VICTIM") {
        return victim(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::disk::a_killed_process_leaves_every_finished_commit_and_no_lock",
            "--nocapture",
        ])
        .env("VICTIM", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines();
    let finished = said.map_while(Result::ok).filter(|line| line.starts_with("finished ")).take(50).count();
    victim.kill().unwrap();
    victim.wait().unwrap();

    let reader = Store::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    let seen = reader.inventory(&workspace("a")).await.unwrap().managed.len();
    assert!(seen >= finished, "{seen} of {finished}");
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let inventory = state.inventory(&workspace("a")).await.unwrap();
    assert_eq!(inventory.managed.len(), seen);
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), seen.min(100), "both or neither");
    let _lock = state.lock(&workspace("a"), "apply").unwrap();
    let run = &state.history(all_runs()).await.unwrap()[0];
    assert_eq!(run.outcome, RunOutcome::Unknown);
    assert_eq!(run.message.as_deref(), Some("the process ended before the response arrived"));
    assert_eq!(listing(&dir.path().join("processes")).len(), 1, "its sign of life was cleared away");
}

/// Body of the process that the test above kills.
async fn victim(dir: &Path) {
    let state = Store::open(dir, PLATFORM).unwrap();
    let _lock = state.lock(&workspace("a"), "run").unwrap();
    state.claim(&workspace("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    for n in 0.. {
        let changes = vec![own(&format!("s{n}")), journalled(entry("s", at(n)))];
        state.commit(&workspace("a"), changes).await.unwrap();
        println!("\nfinished {n}");
    }
}

#[test]
fn reading_never_fails_and_never_goes_back_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), PLATFORM).unwrap());
    let path: Arc<Path> = dir.path().into();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for n in 0..40 {
                let state = Store::open(&path, PLATFORM).unwrap();
                runtime.block_on(state.commit(&workspace("a"), vec![own(&format!("s{n}"))])).unwrap();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reader = Store::open_read_only(&path, PLATFORM).unwrap().unwrap();
    let mut seen = 0;
    while !writer.is_finished() {
        let now = runtime.block_on(reader.inventory(&workspace("a"))).unwrap().managed.len();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    writer.join().unwrap();
    assert_eq!(runtime.block_on(reader.inventory(&workspace("a"))).unwrap().managed.len(), 40);
}
