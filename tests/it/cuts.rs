//! Tests that cut every request after every byte of it and of its response.
//!
//! Afterwards nothing is duplicated, no source of others is gone, and the next passes converge.
//!
//! That amounts to some ten thousand runs, so by default only the first, the last and every eleventh byte are
//! cut; `WELLSPRING_CUTS=all` cuts at every one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wellspring::client::{ApiReader, ApiWriter, Backoff, BaseUrl, ClientConfig, Token};
use wellspring::model::{
    CompressedWorkspace, ConfigValue, Definition, DesiredSource, DesiredWorkspace, Limit, Policy, Prune,
    Scope, SortedMap, SourceKey, SourceLocation, SourceName, TestSpec, WorkspaceId, WorkspaceRef,
};
use wellspring::plan::{HostLimits, Overrides};
use wellspring::reconcile::{MAX_PREFETCHES, Pass, PassId, Planner, Reconciler, Task};
use wellspring::secrets::Secrets;
use wellspring::store::{Store, Trigger};
use wellspring::sync::{SyncCall, SyncMember, Syncer};
use wellspring_testkit::{EchoManner, FaultProxy, Platform, Semantics, Taken, Wire};

/// Settle time; a cut request reaches the platform at once or not at all.
///
/// Long enough for this many runs on shared processors.
const SETTLE: Duration = Duration::from_millis(60);

/// Number of concurrent runs of each test; nearly all the time they wait.
const AT_ONCE: usize = 12;

/// A platform behind a proxy, and everything needed to reconcile with it.
struct Stage {
    platform: Platform,
    proxy: FaultProxy,
    reconciler: Reconciler,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Creates a platform on which an unmanaged source `z` exists.
    fn set(semantics: &Semantics) -> Self {
        let platform = Platform::with(semantics.clone());
        platform.add("ws", "user", "z", "api", serde_json::json!({}));
        let proxy = FaultProxy::before(&platform.url());
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let state = Store::open(dir.path(), "http://127.0.0.1/api/v1").unwrap();
        let given = platform.token();
        let token: Token = Arc::new(move || Ok(given.clone().into()));
        let settings = ClientConfig {
            backoff: Backoff {
                base: Duration::from_micros(10),
                max_wait: Duration::from_micros(50),
                ..Backoff::default()
            },
            requests_per_second: None,
            ..ClientConfig::new(BaseUrl::parse(&proxy.url()).unwrap(), token)
        };
        let reader = ApiReader::new(settings).unwrap();
        let reconciler = Reconciler {
            planner: Planner {
                reader: reader.clone(),
                state: Some(state.clone()),
                key: state.key().clone(),
                secrets: Arc::new(Secrets::of_variables(Arc::new(|_| None))),
                root: "/tree".into(),
                settle: SETTLE,
                upserts: false,
                overrides: Overrides::default(),
                host: HostLimits::default(),
                prefetch_permits: Arc::new(tokio::sync::Semaphore::new(MAX_PREFETCHES)),
                unchanged: Some(Default::default()),
                hashes: false,
                clock: Arc::new(jiff::Timestamp::now),
            },
            writer: ApiWriter::new(&reader),
            state,
            holder: "cuts",
            lock_wait: Duration::ZERO,
            should_stop: Arc::new(|| false),
            on_actions: Arc::new(|_, _| {}),
            source_locks: Default::default(),
        };
        Self { platform, proxy, reconciler, _dir: dir }
    }

    async fn pass(&self, declared: &[(&str, &str)]) -> Pass {
        let desired = Arc::new(tree(declared));
        let task = Task {
            desired: Arc::new(CompressedWorkspace::compress(desired)),
            owner: None,
            checkout: None,
            removals_blocked: None,
            released: Vec::new(),
            declarations: Arc::default(),
        };
        self.reconciler.pass(&task, &PassId::new(jiff::Timestamp::now()), |_| {}).await
    }

    /// Checks that two more passes converge, and that a third writes nothing.
    async fn converges(&self, declared: &[(&str, &str)], cut: &str) {
        for _ in 0..2 {
            tokio::time::sleep(SETTLE).await;
            self.pass(declared).await;
        }
        self.platform.forget_calls();
        let last = self.pass(declared).await;
        let plan = last.plan().unwrap();
        assert!(
            plan.error.is_none() && plan.actions.is_empty() && last.outcome.is_success(),
            "{cut}: {plan:?}"
        );
        assert!(self.platform.writes().is_empty(), "{cut}");
        let mut wanted: Vec<(String, String)> =
            declared.iter().map(|(name, host)| ((*name).to_owned(), (*host).to_owned())).collect();
        wanted.push(("z".to_owned(), String::new()));
        assert_eq!(self.holds(), wanted, "{cut}");
    }

    fn holds(&self) -> Vec<(String, String)> {
        let host = |config: &serde_json::Value| config["host"].as_str().unwrap_or_default().to_owned();
        let mut rows: Vec<_> = self
            .platform
            .rows("ws", "user")
            .into_iter()
            .map(|row| (row.name, host(&row.connection_config)))
            .collect();
        rows.sort();
        rows
    }

    /// Applies a fault to request number `at` (from 0) of those that follow.
    fn cut(&self, at: usize, wire: &Wire) {
        self.proxy.script(std::iter::repeat_n(Wire::Pass, at).chain([wire.clone()]));
    }
}

fn workspace() -> WorkspaceRef {
    WorkspaceRef { workspace: WorkspaceId::parse("ws").unwrap(), scope: Scope::default() }
}

fn tree(declared: &[(&str, &str)]) -> DesiredWorkspace {
    let source = |(name, host): &(&str, &str)| DesiredSource {
        key: SourceKey::parse(name).unwrap(),
        name: SourceName::parse(name).unwrap(),
        definition: Arc::new(Definition {
            kind: "api".into(),
            connection_config: [("host", ConfigValue::String((*host).to_owned()))].into(),
            metadata: SortedMap::default(),
        }),
        protect: false,
        adopt: None,
        sync: None,
        sync_options: serde_json::Map::new(),
        suspend: None,
        test: TestSpec::default(),
        at: SourceLocation { file: "ws.toml".into(), line: 1 },
    };
    DesiredWorkspace {
        unit: workspace(),
        alias: None,
        policy: Policy { prune: Prune::Owned, max_cleanup: Limit::Percent(100), ..Policy::default() },
        sources: declared.iter().map(source).collect(),
        moved: Vec::new(),
        removed: Vec::new(),
        files: Vec::new(),
    }
}

/// Returns every cut of a request and a response of these sizes.
fn cuts((request, answer): (usize, usize)) -> impl Iterator<Item = Wire> {
    let all = std::env::var("WELLSPRING_CUTS").is_ok_and(|which| which == "all");
    let chosen = move |end: usize| (0..=end).filter(move |at| all || at % 11 == 0 || at + 1 >= end);
    let requests = chosen(request).map(Wire::ResetAfterRequestBytes);
    let resets = chosen(answer - 1).map(Wire::ResetAfterAnswerBytes);
    requests.chain(resets).chain(chosen(answer - 1).map(Wire::CloseAfterAnswerBytes))
}

fn run<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test())
}

/// Runs the test with each fault.
fn each(wires: impl Iterator<Item = Wire>, test: impl AsyncFn(&Wire) + Sync) {
    let wires: Vec<Wire> = wires.collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                run(async || {
                    while let Some(wire) = wires.get(next.fetch_add(1, Ordering::Relaxed)) {
                        test(wire).await;
                    }
                });
            });
        }
    });
}

/// Changes `before` to `after`, cutting request number `at` of the pass in every way.
fn between(taken: Taken, before: &[(&str, &str)], after: &[(&str, &str)], at: usize) {
    let semantics = Semantics { taken, echo: EchoManner::Everything, ..Semantics::default() };
    let sizes = run(async || {
        let stage = Stage::set(&semantics);
        stage.pass(before).await;
        let calls = stage.proxy.sizes().len();
        stage.pass(after).await;
        stage.proxy.sizes()[calls + at]
    });
    each(cuts(sizes), async |wire| {
        let stage = Stage::set(&semantics);
        stage.pass(before).await;
        stage.cut(at, wire);
        stage.pass(after).await;
        stage.converges(after, &format!("{taken:?} {wire:?}")).await;
    });
}

#[test]
fn a_list_cut_anywhere_concludes_nothing() {
    between(Taken::Duplicate, &[("a", "h1"), ("b", "h2")], &[("b", "h2")], 0);
}

#[test]
fn a_connection_test_cut_anywhere_does_no_harm() {
    between(Taken::Duplicate, &[], &[("a", "h1")], 1);
}

#[test]
fn a_connect_cut_anywhere_leaves_one() {
    between(Taken::Duplicate, &[], &[("a", "h1")], 2);
}

#[test]
fn a_replacement_by_a_second_one_cut_anywhere_leaves_the_new_one() {
    between(Taken::Duplicate, &[("a", "h1")], &[("a", "h2")], 2);
}

#[test]
fn a_replacement_in_place_cut_anywhere_leaves_the_new_one() {
    between(Taken::Upsert, &[("a", "h1")], &[("a", "h2")], 2);
}

#[test]
fn a_replacement_where_names_conflict_cut_anywhere_leaves_the_new_one() {
    // Refused; cleaned up; connected.
    for at in 3..=4 {
        between(Taken::Conflict, &[("a", "h1")], &[("a", "h2")], at);
    }
}

#[test]
fn the_look_after_a_connect_cut_anywhere_leaves_one() {
    between(Taken::Duplicate, &[], &[("a", "h1")], 3);
}

#[test]
fn a_cleanup_cut_anywhere_removes_that_one() {
    between(Taken::Duplicate, &[("a", "h1"), ("b", "h2")], &[("b", "h2")], 1);
}

#[test]
fn a_sync_cut_anywhere_is_sent_once() {
    let semantics = Semantics::default();
    let once = async |wire: Option<&Wire>| {
        let stage = Stage::set(&semantics);
        stage.pass(&[("a", "h1")]).await;
        let syncer = Syncer {
            writer: stage.reconciler.writer.clone(),
            state: stage.reconciler.state.clone(),
            source_locks: stage.reconciler.source_locks.clone(),
            clock: Arc::new(jiff::Timestamp::now),
            unrecorded: Default::default(),
        };
        let member = SyncMember {
            name: SourceName::parse("a").unwrap(),
            key: SourceKey::parse("a").unwrap(),
            trigger: Trigger::Schedule,
            firing: jiff::Timestamp::UNIX_EPOCH,
        };
        let call = SyncCall {
            unit: workspace(),
            members: vec![member],
            options: serde_json::Map::new(),
            timeout: None,
        };
        if let Some(wire) = wire {
            stage.cut(0, wire);
        }
        let first = syncer.call(&call).await.unwrap();
        assert_eq!(first.len(), 1);
        assert!(syncer.call(&call).await.unwrap().is_empty(), "{wire:?}");
        tokio::time::sleep(SETTLE).await;
        assert!(stage.platform.calls_to("sync").len() <= 1, "{wire:?}");
        stage.proxy.sizes().last().copied().unwrap()
    };
    each(cuts(run(async || once(None).await)), async |wire| {
        once(Some(wire)).await;
    });
}

#[test]
fn a_schema_cut_anywhere_is_read_again() {
    run(async || {
        let stage = Stage::set(&Semantics::default());
        stage.pass(&[("a", "h1")]).await;
        let inventory = stage.reconciler.state.inventory(&workspace()).await.unwrap();
        let id = inventory.managed.values().next().unwrap().id.clone().unwrap();
        let reader = stage.reconciler.writer.reader();
        let whole = reader.schema(&workspace(), &id).await.unwrap();
        for wire in cuts(stage.proxy.sizes().last().copied().unwrap()) {
            stage.cut(0, &wire);
            assert_eq!(reader.schema(&workspace(), &id).await.unwrap(), whole, "{wire:?}");
        }
    });
}
