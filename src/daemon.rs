//! The one loop: events in, passes and syncs out.
//!
//! A trigger says when, never what: every pass looks at the whole unit anew. What is due is decided
//! by `board` and `files`, which know no runtime; this file starts it and waits.

mod board;
mod files;
mod probes;
mod publish;
mod signals;
mod systemd;
mod voice;

pub use probes::Tested;
pub use publish::Publisher;
pub use signals::{Signal, Stopping, is_set, listen};
pub use voice::{After, Voice};

use crate::apply::chain;
use crate::manifest::Known;
use crate::model::{SourceName, Unit};
use crate::plan::{ActionResult, Outcome, Step, UnitPlan};
use crate::reading::{Memory, Reading};
use crate::reconcile::{Clock, PassId, Planner, Reconciler, Task};
use crate::render::words;
use crate::settings::Environment;
use crate::state::{Retention, RunOutcome, State, StateError, Trigger};
use crate::sync::{Call, Synced, Syncer};
use crate::tree::TreeError;
use crate::watch;
use board::{Board, Ended, Records};
use files::{Counts, Files};
use jiff::{SignedDuration, Timestamp};
use probes::Probes;
use publish::Held;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use systemd::Systemd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Run history is trimmed this often.
const TRIM_EVERY: SignedDuration = SignedDuration::from_hours(6);

/// A state that could not be written is tried again after this long.
const STATE_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// How much history is kept.
const KEEP: Retention =
    Retention { runs_per_source: 500, age: Duration::from_secs(400 * 24 * 60 * 60), journal_rows: 1_000_000 };

/// What the loop is told.
pub enum Event {
    /// The tree may have changed.
    Woken,
    /// A signal came.
    Signal(Signal),
    /// The tree was read.
    Read(Box<Result<Reading, TreeError>>),
    /// A pass ended.
    PassEnded(Box<PassEnded>),
    /// A sync call ended.
    SyncEnded(Call, Result<Vec<Synced>, StateError>),
    /// A regular connection test ended.
    TestEnded(Tested),
}

/// How a pass over one unit ended.
pub struct PassEnded {
    plan: UnitPlan,
    /// `None` in a dry run.
    outcome: Option<Outcome>,
    again: Option<Duration>,
    records: Option<Records>,
    took: Duration,
}

/// What the loop needs.
pub struct Daemon {
    /// The tree.
    pub root: PathBuf,
    /// Full re-check for drift.
    pub interval: Duration,
    /// Quiet time before a removal is acted on.
    pub settle: Duration,
    /// Makes plans; in a dry run it is all there is.
    pub planner: Planner,
    /// Carries them out, and syncs; `None` in a dry run.
    pub hands: Option<Hands>,
    /// Which file declares which workspace, from earlier runs.
    pub memory: Memory,
    /// Who tells of it.
    pub voice: Arc<dyn Voice>,
    /// Publishes how everything stands.
    pub publisher: Publisher,
    /// Variables, for `${}` in `wellspring.toml`.
    pub environment: Environment,
    /// The clock.
    pub clock: Clock,
}

/// What a daemon that may write writes with.
pub struct Hands {
    /// Applies.
    pub reconciler: Reconciler,
    /// Syncs.
    pub syncer: Syncer,
}

impl Daemon {
    /// Runs until a stop is asked for, and until what was under way then has ended.
    pub async fn run(self, events: UnboundedSender<Event>, mut inbox: UnboundedReceiver<Event>) {
        self.watch(events.clone());
        let now = (self.clock)();
        let mut turn = Turn {
            files: Files::new(duration(self.settle), now),
            board: Board::default(),
            probes: Probes::default(),
            reading: None,
            memory: self.memory.clone(),
            remembered: self.memory.clone(),
            look_every: now,
            trim_at: now,
            reading_under_way: false,
            known: Arc::default(),
            elsewhere: false,
            stopping: false,
            unreachable: None,
            state_again: None,
            seen: now,
            systemd: Systemd::new(),
            daemon: self,
            events,
        };
        loop {
            turn.start_what_is_due().await;
            if turn.stopping && turn.board.is_idle() {
                turn.stop().await;
                return;
            }
            turn.publish();
            turn.systemd.status(turn.standing());
            let sleep = turn.systemd.alive(turn.sleep());
            tokio::select! {
                event = inbox.recv() => {
                    let Some(event) = event else { return };
                    turn.handle(event).await;
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Wakes the loop when the tree may have changed. Where it cannot be watched, the regular look
    /// still finds every change.
    fn watch(&self, events: UnboundedSender<Event>) {
        match watch::start(&self.root) {
            Err(error) => {
                self.voice.warn(&format!("{}; changes are found every interval only", chain(&error)));
            }
            Ok(mut watch) => {
                tokio::spawn(async move {
                    loop {
                        watch.changed().await;
                        watch.rearm();
                        if events.send(Event::Woken).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    }
}

/// The loop's own state.
struct Turn {
    daemon: Daemon,
    files: Files,
    board: Board,
    probes: Probes,
    reading: Option<Reading>,
    memory: Memory,
    /// As the state has it.
    remembered: Memory,
    /// The next regular look at the files.
    look_every: Timestamp,
    trim_at: Timestamp,
    reading_under_way: bool,
    /// What the next reading need not parse again.
    known: Arc<Known>,
    /// The files name another platform than the one that this process speaks to.
    elsewhere: bool,
    stopping: bool,
    /// No connection to the platform opens, for this reason.
    unreachable: Option<String>,
    /// The state could not be written; nothing that must be recorded first is begun before this.
    state_again: Option<Timestamp>,
    /// When it was last seen what is due.
    seen: Timestamp,
    systemd: Systemd,
    events: UnboundedSender<Event>,
}

impl Turn {
    async fn start_what_is_due(&mut self) {
        if self.stopping {
            return;
        }
        let now = self.now();
        if now < self.seen {
            self.clock_set_back(now);
        }
        self.seen = now;
        if now >= self.look_every {
            self.look_every = later(now, duration(self.daemon.interval));
            self.files.woken(now);
        }
        if !self.reading_under_way && self.files.look_at.is_some_and(|at| at <= now) {
            self.look();
        }
        if self.elsewhere {
            return;
        }
        for task in self.board.passes_due(now) {
            self.start_pass(task);
        }
        if self.state_again.is_none_or(|at| at <= now)
            && let Err(error) = self.start_syncs(now).await
        {
            self.state_failed(&error, now);
        }
        self.start_tests(now);
        self.tell_stale(now);
    }

    fn start_tests(&mut self, now: Timestamp) {
        let Some(hands) = &self.daemon.hands else { return };
        if self.board.is_paused() {
            return;
        }
        for due in self.probes.due(now, |unit| self.board.task(unit).map(|task| &task.desired)) {
            let (planner, events) = (hands.reconciler.planner.clone(), self.events.clone());
            tokio::spawn(async move {
                let tested = due.ask(&planner.reader, &planner.secrets).await;
                let _ = events.send(Event::TestEnded(tested));
            });
        }
    }

    async fn start_syncs(&mut self, now: Timestamp) -> Result<(), StateError> {
        let Some(hands) = &self.daemon.hands else { return Ok(()) };
        if now >= self.trim_at {
            self.trim_at = later(now, TRIM_EVERY);
            hands.reconciler.state.prune_history(now, KEEP).await?;
        }
        for call in self.board.syncs_due(now) {
            self.daemon.voice.sync_started(&call);
            self.daemon.publisher.sync_started(&call, now);
            self.daemon.publisher.scheduled(&call.unit, &self.board, now);
            let (syncer, events) = (hands.syncer.clone(), self.events.clone());
            tokio::spawn(async move {
                let ended = syncer.call(&call).await;
                let _ = events.send(Event::SyncEnded(call, ended));
            });
        }
        let told = (&*self.daemon.voice, &mut self.daemon.publisher);
        record_spent(&mut self.board, hands, told, now).await
    }

    /// Its disk may be full. What must be recorded before it is sent waits; the rest goes on.
    fn state_failed(&mut self, error: &StateError, now: Timestamp) {
        if self.state_again.replace(later(now, STATE_RETRY)).is_none() {
            self.daemon
                .voice
                .warn(&format!("{}; no sync starts until it can be written again", chain(error)));
        }
    }

    /// Each source once when its data becomes stale, and once when it is fresh again.
    fn tell_stale(&mut self, now: Timestamp) {
        for turned in self.board.turned(now) {
            let name = format!("{}/{}", turned.unit.label(), turned.key);
            self.daemon.publisher.turned(&turned.unit.unit, &turned.name, turned.stale);
            if !turned.stale {
                self.daemon.voice.note(&format!("{name}: its data is fresh again"));
                continue;
            }
            let last = match turned.last_success {
                Some(at) => format!("its last good sync ended {}", words::ago(at, now)),
                None => "it has never synced".to_owned(),
            };
            self.daemon.voice.warn(&format!("{name}: its data is stale: {last}"));
        }
    }

    /// What was to come at some time may lie far ahead now.
    fn clock_set_back(&mut self, now: Timestamp) {
        self.board.clock_set_back(now);
        self.probes.clock_set_back(now);
        self.files.clock_set_back(now);
        self.look_every = self.look_every.min(now);
        self.trim_at = self.trim_at.min(later(now, TRIM_EVERY));
        self.state_again = self.state_again.map(|at| at.min(later(now, STATE_RETRY)));
    }

    async fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Woken => self.files.woken(now),
            Event::Signal(Signal::Stop) => {
                self.stopping = true;
                self.systemd.stopping();
                self.daemon.voice.stopping(!self.board.is_idle());
            }
            Event::Signal(Signal::Reload) => {
                self.daemon.voice.note("reading the files again (SIGHUP)");
                self.systemd.reloading();
                self.board.want_all();
                self.files.woken(now);
            }
            Event::Signal(Signal::Now) => {
                self.daemon.voice.note("looking at everything now (SIGUSR1)");
                self.board.want_all();
            }
            Event::Read(read) => {
                self.reading_under_way = false;
                self.systemd.read();
                match *read {
                    Ok(reading) => {
                        if let Err(error) = self.looked(reading, now).await {
                            self.state_failed(&error, now);
                        }
                    }
                    Err(error) => {
                        self.files.unreadable(now);
                        self.daemon.voice.unreadable(&chain(&error));
                        self.daemon.publisher.unreadable(&chain(&error));
                    }
                }
            }
            Event::PassEnded(ended) => self.pass_ended(*ended, now),
            Event::TestEnded(tested) => self.tested(&tested, now),
            Event::SyncEnded(call, Ok(synced)) => self.synced(&call, &synced, now).await,
            Event::SyncEnded(call, Err(error)) => {
                self.board.sync_not_sent(&call);
                self.daemon.publisher.sync_not_sent(&call);
                self.state_failed(&error, now);
            }
        }
    }

    async fn synced(&mut self, call: &Call, synced: &[Synced], now: Timestamp) {
        self.board.sync_ended(call, now);
        if self.state_again.take().is_some() {
            self.daemon.voice.note("the state can be written again");
        }
        let told = (&*self.daemon.voice, &mut self.daemon.publisher);
        if let Some(hands) = &self.daemon.hands
            && let Err(error) = record_spent(&mut self.board, hands, told, now).await
        {
            self.state_failed(&error, now);
        }
        let good = synced.iter().filter(|synced| synced.outcome == RunOutcome::Done);
        self.board.refreshed(&call.unit, good.map(|synced| &synced.name), now);
        if synced.iter().any(|synced| synced.unauthorized) {
            self.pause(now);
        }
        let desired = self.board.task(&call.unit).map(|task| Arc::clone(&task.desired));
        self.daemon.publisher.synced(&call.unit, synced);
        self.daemon.voice.synced(desired.as_deref(), synced);
        self.tell_next(now);
    }

    async fn stop(&self) {
        if let Some(hands) = &self.daemon.hands
            && let Err(error) = hands.syncer.catch_up().await
        {
            let text = format!("{}; how the last syncs ended is not recorded", chain(&error));
            self.daemon.voice.warn(&text);
        }
        self.daemon.voice.stopped();
    }

    fn look(&mut self) {
        self.files.look_at = None;
        self.reading_under_way = true;
        self.systemd.reading();
        let (root, environment) = (self.daemon.root.clone(), Arc::clone(&self.daemon.environment));
        let (events, known) = (self.events.clone(), Arc::clone(&self.known));
        tokio::task::spawn_blocking(move || {
            let read = Reading::take_again(&root, &|name| environment(name), &known);
            let _ = events.send(Event::Read(Box::new(read)));
        });
    }

    async fn looked(&mut self, reading: Reading, now: Timestamp) -> Result<(), StateError> {
        self.known = Arc::clone(&reading.known);
        let counts =
            self.files.looked(*reading.digest.as_bytes(), reading.settings_digest, reading.git_locked, now);
        if self.files.lock_is_stale(now) {
            self.daemon.voice.warn(
                "Git has been writing the files for ten minutes (.git/index.lock), and nothing counts \
                 meanwhile; if no Git is at work there, delete the lock",
            );
        }
        let barred = match counts {
            Counts::NotYet => return Ok(()),
            Counts::Additions(barred) => Some(barred),
            Counts::Wholly => None,
        };
        let before = self.reading.as_ref();
        if before.is_none_or(|before| before.digest != reading.digest) {
            self.daemon.voice.files(&reading);
        }
        let had_settings = before.is_some_and(|before| before.settings_digest.is_some());
        if had_settings && reading.settings_digest.is_none() {
            let text = "wellspring.toml is gone, and with it its aliases, defaults and policy; nothing that \
                        needs them is done until it is back";
            self.daemon.voice.warn(text);
        }
        if before.is_some_and(|before| before.settings_digest.is_none()) && reading.settings_digest.is_some()
        {
            self.daemon.voice.note("wellspring.toml is there now, and counts");
        }
        let moved = |before: &Reading| {
            let (was, now) = (&before.desired.platform, &reading.desired.platform);
            now.is_some() && was.is_some() && now != was
        };
        if before.is_some_and(moved) {
            if !self.elsewhere {
                let text = "wellspring.toml names another platform now; restart to go there. Until then nothing is done";
                self.daemon.voice.warn(text);
            }
            self.elsewhere = true;
            self.daemon.publisher.read(&reading, true, now);
            return Ok(());
        }
        if std::mem::take(&mut self.elsewhere) {
            self.board.want_all();
        }
        self.daemon.publisher.read(&reading, false, now);
        let asked = reading.asked(&self.memory);
        let memory = reading.memory(&self.memory);
        // Until the files are at rest, what was known of a file stays known beside what is new: the
        // next save may break it.
        for (file, units) in &memory {
            let known = self.memory.entry(file.clone()).or_default();
            known.extend(units.iter().filter(|unit| !known.contains(unit)).cloned().collect::<Vec<_>>());
        }
        // With the settings unreadable, no file says what it declares: what was accepted stays.
        let held = Held::by(&asked);
        if !reading.desired.units.is_empty() || !reading.has_errors() {
            for unit in self.board.accept(asked, barred.as_ref(), now) {
                self.daemon.voice.warn(&format!(
                    "{unit}: no file declares this workspace any more; its sources are left alone \
                     (declare it with `sources = {{}}` to mean none)"
                ));
            }
        }
        self.daemon.publisher.accepted(&held, &self.board);
        if barred.is_none() && memory != self.remembered {
            if let Some(hands) = &self.daemon.hands {
                let root = self.daemon.root.to_string_lossy();
                hands.reconciler.state.remember_files(&root, memory.clone().into_iter().collect()).await?;
            }
            self.remembered = memory.clone();
        }
        if barred.is_none() {
            self.memory = memory;
        }
        self.reading = Some(reading);
        Ok(())
    }

    fn start_pass(&self, task: Task) {
        let events = self.events.clone();
        let voice = Arc::clone(&self.daemon.voice);
        let id = PassId::new(self.now());
        voice.pass_started(&task.desired.unit, &id);
        let started = Instant::now();
        match &self.daemon.hands {
            None => {
                let planner = self.daemon.planner.clone();
                tokio::spawn(async move {
                    let made = planner.plan(&task).await;
                    let again = made.settling;
                    let approved = crate::reconcile::guard(std::slice::from_ref(&made), &planner.host);
                    let plan = approved.plan().units.first().cloned().unwrap_or(made.plan);
                    voice.planned(&plan, true);
                    let took = started.elapsed();
                    let ended = PassEnded { plan, outcome: None, again, records: None, took };
                    let _ = events.send(Event::PassEnded(Box::new(ended)));
                });
            }
            Some(hands) => {
                let reconciler = hands.reconciler.clone();
                tokio::spawn(async move {
                    let pass = reconciler.pass(&task, &id, |plan| voice.planned(plan, false)).await;
                    let plan = match pass.plan() {
                        Some(plan) => plan.clone(),
                        None => return,
                    };
                    let records = match pass.known {
                        // As the pass before left it.
                        true => Ok(None),
                        false => records(&reconciler.state, &plan, &pass.outcome).await.map(Some),
                    };
                    let (outcome, again, records) = match records {
                        Ok(records) => (pass.outcome, pass.again, records),
                        Err(error) => {
                            let error = crate::plan::UnitError { kind: "state", message: chain(&error) };
                            (Outcome { error: Some(error), ..pass.outcome }, pass.again, None)
                        }
                    };
                    let took = started.elapsed();
                    let ended = PassEnded { plan, outcome: Some(outcome), again, records, took };
                    let _ = events.send(Event::PassEnded(Box::new(ended)));
                });
            }
        }
    }

    fn pass_ended(&mut self, mut ended: PassEnded, now: Timestamp) {
        let error = ended.outcome.as_ref().map_or(&ended.plan.error, |outcome| &outcome.error);
        let auth = error.as_ref().is_some_and(|error| error.kind == "auth");
        let good = error.is_none() && ended.outcome.as_ref().is_none_or(Outcome::is_good);
        let rest = ["unsettled", "unreadable", "git-lock"];
        let waits_for_rest = ended.plan.withheld.iter().any(|withheld| rest.contains(&withheld.code));
        let waits_for_sync = ended.outcome.as_ref().is_some_and(|outcome| outcome.waits_for_sync);
        let unreachable = error.as_ref().filter(|error| error.kind == "unreachable").cloned();
        let asked = error.as_ref().is_none_or(|error| matches!(error.kind, "auth" | "platform"));
        self.daemon.publisher.pass_ended(&ended, good, now);
        let records = ended.records.take();
        if let Some(records) = &records {
            self.probes.accept(&ended.plan.desired, |name| records.owned.contains_key(name), now);
        }
        let unit: &Unit = ended.plan.unit();
        let end =
            Ended { good, unauthorized: auth, again: ended.again, waits_for_rest, waits_for_sync, records };
        let resumed = self.board.pass_ended(unit, end, duration(self.daemon.interval), now);
        self.daemon.publisher.scheduled(unit, &self.board, now);
        if auth {
            self.pause(now);
        }
        let after = self.board.after(unit);
        if resumed {
            self.daemon.voice.note("the platform accepts the token again");
        }
        self.daemon.voice.pass_ended(&ended.plan, ended.outcome.as_ref(), &after);
        match unreachable {
            Some(error) if self.unreachable.as_ref() != Some(&error.message) => {
                self.daemon.voice.unreachable(&error.message, after.again);
                self.unreachable = Some(error.message);
            }
            None if asked && self.unreachable.take().is_some() => {
                self.daemon.voice.note("the platform answers again");
                self.board.want_failed();
            }
            _ => {}
        }
        self.tell_next(now);
    }

    /// A verdict that is another than before is told once.
    fn tested(&mut self, tested: &Tested, now: Timestamp) {
        let unit = self.board.task(&tested.unit).map(|task| Arc::clone(&task.desired));
        let turn = self.probes.ended(tested, unit.as_deref(), now);
        self.daemon.publisher.tested(tested, now);
        let (Some(turn), Some(unit)) = (turn, unit) else { return };
        let name = format!("{}/{}", unit.label(), turn.key);
        match turn.up {
            true => self.daemon.voice.note(&format!("{name}: its connection works again")),
            false => {
                self.daemon.voice.warn(&format!("{name}: its connection test failed: {}", tested.message));
            }
        }
    }

    fn publish(&mut self) {
        let now = self.now();
        let trouble = match &self.unreachable {
            Some(why) => Some(("unreachable", why.clone())),
            None if self.board.is_paused() => Some((
                "auth",
                "the platform refuses the token; renew it, and it goes on by itself".to_owned(),
            )),
            None => None,
        };
        self.daemon.publisher.platform(trouble, now);
        self.daemon.publisher.publish(now);
    }

    fn pause(&mut self, now: Timestamp) {
        if self.board.pause(now) {
            self.daemon.voice.warn(
                "the platform refuses the token; everything there is paused, and tried again with one \
                 workspace every minute. It goes on by itself once the token is renewed",
            );
        }
    }

    /// Once nothing is under way, what comes next.
    fn tell_next(&self, now: Timestamp) {
        let soon = self.board.next(now).is_some_and(|at| at <= now);
        if self.board.is_idle() && !soon && !self.board.is_paused() && !self.stopping {
            self.daemon.voice.next(&self.board.upcoming(now), now);
        }
    }

    fn sleep(&self) -> Duration {
        let now = self.now();
        let look = self.files.look_at.filter(|_| !self.reading_under_way);
        let board = if self.elsewhere { None } else { self.board.next(self.seen) };
        let state = self.state_again.filter(|at| *at > self.seen);
        let tests = self.probes.next().filter(|_| !self.elsewhere && !self.board.is_paused());
        let next = [look, board, tests, state, Some(self.look_every)];
        let next = next.into_iter().flatten().min().unwrap_or(now);
        if self.stopping {
            return Duration::from_secs(3600);
        }
        // The clock of firings may be set; waking now and then finds that out.
        Duration::try_from(next.duration_since(now)).unwrap_or_default().min(Duration::from_secs(60))
    }

    fn now(&self) -> Timestamp {
        (self.daemon.clock)()
    }
}

/// Records the firings that will not run, then tells of them.
async fn record_spent(
    board: &mut Board,
    hands: &Hands,
    (voice, publisher): (&dyn Voice, &mut Publisher),
    now: Timestamp,
) -> Result<(), StateError> {
    for (unit, spent) in board.take_spent() {
        if let Err(error) = hands.reconciler.state.spend(&unit.unit, spent.clone(), now).await {
            board.put_back_spent(&unit.unit, spent);
            return Err(error);
        }
        for spent in spent {
            let key = unit.sources.iter().find(|source| source.name == spent.name);
            let key = key.map_or_else(|| spent.name.to_string(), |source| source.key.to_string());
            publisher.spent(spent.outcome);
            let (word, why) = (spent.outcome.as_str(), spent.message);
            voice.warn(&format!("{}/{key}: sync of {} {word}: {why}", unit.label(), spent.firing));
        }
    }
    Ok(())
}

/// What the schedule needs to know after a pass.
async fn records(state: &State, plan: &UnitPlan, outcome: &Outcome) -> Result<Records, StateError> {
    let inventory = state.inventory(plan.unit()).await?;
    let runs = state.last_runs(plan.unit()).await?;
    let at_once: Vec<(SourceName, Trigger)> = plan
        .actions
        .iter()
        .zip(&outcome.results)
        .filter(|(_, result)| **result == ActionResult::Done)
        .filter_map(|(action, _)| {
            let (index, trigger) = match action.step {
                Step::Connect { index } => (index, Trigger::Connect),
                Step::Replace { index, .. } => (index, Trigger::Change),
                _ => return None,
            };
            let spec = plan.desired.sources[index].sync.as_ref()?;
            let wanted = if trigger == Trigger::Connect { spec.on_connect } else { spec.on_change };
            wanted.then(|| (action.name.clone(), trigger))
        })
        .collect();
    let owned = inventory.owned.into_iter().map(|(name, owned)| (name, owned.applied.sync_since)).collect();
    Ok(Records { owned, runs, at_once })
}

fn duration(of: Duration) -> SignedDuration {
    SignedDuration::try_from(of).unwrap_or(SignedDuration::MAX)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
