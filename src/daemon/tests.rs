//! The loop as a whole; no platform answers it.

use super::*;
use crate::model::{DesiredUnit, SourceKey};
use crate::plan::{Action, ActionResult, HostLimits, Overrides};
use crate::reconcile::{EAGER, PassId, Task};
use crate::remote::{BaseUrl, Reader, Settings};
use crate::schedule::Timing;
use crate::secrets::Secrets;
use crate::state::State;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::unbounded_channel;

/// Breaks the first pass off, and tells how each ended.
struct Breaking {
    broke: AtomicBool,
    ends: UnboundedSender<Option<&'static str>>,
}

impl Voice for Breaking {
    fn planned(&self, _: &UnitPlan, _: bool) {
        assert!(self.broke.swap(true, Ordering::Relaxed), "on purpose");
    }
    fn pass_ended(&self, plan: &UnitPlan, _: Option<&Outcome>, _: &After) {
        self.ends.send(plan.error.as_ref().map(|error| error.kind)).unwrap();
    }
    fn files(&self, _: &Reading) {}
    fn unreadable(&self, _: &str) {}
    fn pass_started(&self, _: &Unit, _: &PassId) {}
    fn action(&self, _: &UnitPlan, _: &Action, _: &ActionResult) {}
    fn unreachable(&self, _: &str, _: Option<Timestamp>) {}
    fn sync_started(&self, _: &Call) {}
    fn synced(&self, _: Option<&DesiredUnit>, _: &[Synced]) {}
    fn next(&self, _: &[(Timestamp, &Task, &SourceKey, &Timing)], _: Timestamp) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
    fn stopping(&self, _: bool) {}
    fn stopped(&self) {}
}

/// Its list fails, as nothing has the token.
fn planner(state: State) -> Planner {
    let token = Arc::new(|| Err("there is none".to_owned()));
    let settings = Settings::new(BaseUrl::parse("http://127.0.0.1:9/api/v1").unwrap(), token);
    Planner {
        reader: Reader::new(settings).unwrap(),
        key: state.key().clone(),
        state: Some(state),
        secrets: Arc::new(Secrets {
            variables: Arc::new(|_| None),
            secrets_dir: None,
            credentials_dir: None,
            forbidden: Default::default(),
            allow: Vec::new(),
            held: Default::default(),
        }),
        root: "/tree".into(),
        settle: Duration::ZERO,
        upserts: false,
        overrides: Overrides::default(),
        host: HostLimits::default(),
        eager: Arc::new(tokio::sync::Semaphore::new(EAGER)),
        settled: None,
        hashes: false,
        clock: Arc::new(Timestamp::now),
    }
}

#[tokio::test]
async fn a_pass_that_breaks_off_is_tried_again_and_holds_up_no_stop() {
    let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(tree.path().join("wellspring.toml"), "").unwrap();
    std::fs::create_dir(tree.path().join("workspaces")).unwrap();
    let file = tree.path().join("workspaces/one.toml");
    std::fs::write(file, "sources = {}\n\n[workspace]\nid = \"ws\"\n").unwrap();
    let (events, inbox) = unbounded_channel();
    let (ends, mut ended) = unbounded_channel();
    let daemon = Daemon {
        root: tree.path().to_owned(),
        bell: None,
        interval: Duration::from_secs(3600),
        settle: Duration::ZERO,
        planner: planner(State::open(dir.path(), "http://127.0.0.1:9/api/v1").unwrap()),
        hands: None,
        known: Arc::default(),
        memory: Memory::default(),
        voice: Arc::new(Breaking { broke: AtomicBool::new(false), ends }),
        publisher: Publisher::none(),
        environment: Arc::new(|_| None),
        clock: Arc::new(Timestamp::now),
    };
    let running = tokio::spawn(daemon.run(events.clone(), inbox));
    let to_the_end = async {
        assert_eq!(ended.recv().await, Some(Some("fault")));
        assert!(events.send(Event::Signal(Signal::Now)).is_ok());
        let again = ended.recv().await.flatten();
        assert!(again.is_some_and(|kind| kind != "fault"), "{again:?}");
        assert!(events.send(Event::Signal(Signal::Stop)).is_ok());
        running.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), to_the_end).await.unwrap();
}
