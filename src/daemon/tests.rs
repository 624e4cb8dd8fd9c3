//! Tests of the whole loop, without a platform.

use super::*;
use crate::client::{ApiReader, BaseUrl, ClientConfig};
use crate::config::Lookup;
use crate::model::{DesiredWorkspace, SourceKey};
use crate::plan::{Action, ActionResult, HostLimits, Overrides};
use crate::reconcile::{MAX_PREFETCHES, PassId, Task};
use crate::schedule::CompiledSchedule;
use crate::secrets::Secrets;
use crate::store::Store;
use jiff::Timestamp;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::unbounded_channel;

/// Reporter that panics in the first pass and forwards ends of passes and loads.
struct Breaking {
    broke: AtomicBool,
    ends: UnboundedSender<Option<&'static str>>,
    readings: UnboundedSender<Option<String>>,
}

impl Reporter for Breaking {
    fn plan_ready(&self, _: &WorkspacePlan, _: bool) {
        assert!(self.broke.swap(true, Ordering::Relaxed), "on purpose");
    }
    fn pass_ended(&self, plan: &WorkspacePlan, _: Option<&ApplyOutcome>, _: &NextAttempt) {
        let _ = self.ends.send(plan.error.as_ref().map(|error| error.kind.as_str()));
    }
    fn config_loaded(&self, _: &LoadedConfig) {
        let _ = self.readings.send(None);
    }
    fn config_unreadable(&self, why: &str) {
        let _ = self.readings.send(Some(why.to_owned()));
    }
    fn pass_started(&self, _: &WorkspaceRef, _: &PassId) {}
    fn action_finished(&self, _: &WorkspacePlan, _: &Action, _: &ActionResult) {}
    fn platform_unreachable(&self, _: &str, _: Option<Timestamp>) {}
    fn sync_started(&self, _: &SyncCall) {}
    fn sync_ended(&self, _: Option<&DesiredWorkspace>, _: &[SyncResult]) {}
    fn next_syncs(&self, _: &[(Timestamp, &Task, &SourceKey, &CompiledSchedule)], _: Timestamp) {}
    fn info(&self, _: &str) {}
    fn warning(&self, _: &str) {}
    fn shutting_down(&self, _: bool) {}
    fn shut_down(&self) {}
}

/// Planner whose list requests fail because there is no token.
fn planner(state: Store) -> Planner {
    let token = Arc::new(|| Err("there is none".to_owned()));
    let settings = ClientConfig::new(BaseUrl::parse("http://127.0.0.1:9/api/v1").unwrap(), token);
    Planner {
        reader: ApiReader::new(settings).unwrap(),
        key: state.key().clone(),
        state: Some(state),
        secrets: Arc::new(Secrets::of_variables(Arc::new(|_| None))),
        root: "/tree".into(),
        settle: Duration::ZERO,
        upserts: false,
        overrides: Overrides::default(),
        host: HostLimits::default(),
        prefetch_permits: Arc::new(tokio::sync::Semaphore::new(MAX_PREFETCHES)),
        unchanged: None,
        hashes: false,
        clock: Arc::new(Timestamp::now),
    }
}

/// Daemon for one workspace, with settings that refer to a variable.
fn daemon(tree: &Path, dir: &Path, voice: Breaking, variables: Variables) -> Daemon {
    std::fs::write(tree.join("wellspring.toml"), "[workspaces]\nw = \"${W}\"\n").unwrap();
    std::fs::create_dir(tree.join("workspaces")).unwrap();
    let file = tree.join("workspaces/one.toml");
    std::fs::write(file, "sources = {}\n\n[workspace]\nid = \"ws\"\n").unwrap();
    Daemon {
        root: tree.to_owned(),
        cookie_path: None,
        interval: Duration::from_secs(3600),
        quiet_period: Duration::ZERO,
        planner: planner(Store::open(dir, "http://127.0.0.1:9/api/v1").unwrap()),
        write_access: None,
        cache: Arc::default(),
        file_index: FileIndex::default(),
        is_emptied: false,
        reporter: Arc::new(voice),
        publisher: Publisher::none(),
        variables,
        clock: Arc::new(Timestamp::now),
    }
}

#[tokio::test]
async fn a_pass_that_breaks_off_is_tried_again_and_holds_up_no_stop() {
    let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (events, inbox) = unbounded_channel();
    let (ends, mut ended) = unbounded_channel();
    let voice = Breaking { broke: AtomicBool::new(false), ends, readings: unbounded_channel().0 };
    let daemon = daemon(tree.path(), dir.path(), voice, Arc::new(|_| Lookup::Unset));
    let running = tokio::spawn(daemon.run(events.clone(), inbox));
    let to_the_end = async {
        assert_eq!(ended.recv().await, Some(Some("fault")));
        assert!(events.send(Event::Signal(Signal::CheckNow)).is_ok());
        let again = ended.recv().await.flatten();
        assert!(again.is_some_and(|kind| kind != "fault"), "{again:?}");
        assert!(events.send(Event::Signal(Signal::Stop)).is_ok());
        running.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), to_the_end).await.unwrap();
}

#[tokio::test]
async fn a_reading_that_breaks_off_is_told_and_tried_again() {
    let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (events, inbox) = unbounded_channel();
    let (readings, mut read) = unbounded_channel();
    let voice = Breaking { broke: AtomicBool::new(true), ends: unbounded_channel().0, readings };
    let broke = AtomicBool::new(false);
    let variables = Arc::new(move |_: &str| {
        assert!(broke.swap(true, Ordering::Relaxed), "on purpose");
        Lookup::Unset
    });
    let daemon = daemon(tree.path(), dir.path(), voice, variables);
    let running = tokio::spawn(daemon.run(events.clone(), inbox));
    let to_the_end = async {
        let told = read.recv().await.flatten();
        assert!(told.as_ref().is_some_and(|why| why.contains("internal error")), "{told:?}");
        assert!(events.send(Event::Signal(Signal::Reload)).is_ok());
        assert_eq!(read.recv().await, Some(None), "it is read");
        assert!(events.send(Event::Signal(Signal::Stop)).is_ok());
        running.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), to_the_end).await.unwrap();
}
