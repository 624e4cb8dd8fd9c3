//! Tests of the whole loop, without a platform.

use super::*;
use crate::manifest::Lookup;
use crate::model::{DesiredUnit, SourceKey};
use crate::plan::{Action, ActionResult, HostLimits, Overrides};
use crate::reconcile::{EAGER, PassId, Task};
use crate::remote::{BaseUrl, Reader, Settings};
use crate::schedule::Timing;
use crate::secrets::Secrets;
use crate::state::State;
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

impl Voice for Breaking {
    fn planned(&self, _: &UnitPlan, _: bool) {
        assert!(self.broke.swap(true, Ordering::Relaxed), "on purpose");
    }
    fn pass_ended(&self, plan: &UnitPlan, _: Option<&Outcome>, _: &After) {
        let _ = self.ends.send(plan.error.as_ref().map(|error| error.kind.as_str()));
    }
    fn files(&self, _: &Reading) {
        let _ = self.readings.send(None);
    }
    fn unreadable(&self, why: &str) {
        let _ = self.readings.send(Some(why.to_owned()));
    }
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

/// Planner whose list requests fail because there is no token.
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
            for_settings: None,
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

/// Daemon for one workspace, with settings that refer to a variable.
fn daemon(tree: &Path, dir: &Path, voice: Breaking, variables: Variables) -> Daemon {
    std::fs::write(tree.join("wellspring.toml"), "[workspaces]\nw = \"${W}\"\n").unwrap();
    std::fs::create_dir(tree.join("workspaces")).unwrap();
    let file = tree.join("workspaces/one.toml");
    std::fs::write(file, "sources = {}\n\n[workspace]\nid = \"ws\"\n").unwrap();
    Daemon {
        root: tree.to_owned(),
        bell: None,
        interval: Duration::from_secs(3600),
        settle: Duration::ZERO,
        planner: planner(State::open(dir, "http://127.0.0.1:9/api/v1").unwrap()),
        hands: None,
        known: Arc::default(),
        memory: Memory::default(),
        emptied: false,
        voice: Arc::new(voice),
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
        assert!(events.send(Event::Signal(Signal::Now)).is_ok());
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
