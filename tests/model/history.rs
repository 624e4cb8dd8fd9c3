//! One history: steps, a pass after each, and the final checks.

use crate::chance::Chance;
use crate::tree;
use crate::wire::{Died, Wire};
use crate::world::{Checks, Echo, Ids, Row, Semantics, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::Poll;
use std::time::Duration;
use wellspring::client::{ApiReader, ApiWriter, Backoff, BaseUrl, ClientConfig, Token};
use wellspring::model::{Adopt, CompressedWorkspace, DesiredWorkspace, RemovedAction};
use wellspring::plan::{
    ActionResult, HostLimits, Overrides, RemovalBlock, Step, WithheldReason, WorkspacePlan,
};
use wellspring::reconcile::{Clock, Pass, PassId, Planner, Reconciler, Task};
use wellspring::secrets::Secrets;
use wellspring::store::{Store, Trigger};
use wellspring::sync::{SyncCall, SyncMember, Syncer};

const SETTLE: Duration = Duration::from_secs(5);

/// Result of a history.
pub(crate) struct Report {
    pub(crate) semantics: Semantics,
    pub(crate) breaches: Vec<String>,
    pub(crate) log: Vec<String>,
    pub(crate) counts: BTreeMap<String, usize>,
    pub(crate) checks: BTreeMap<&'static str, Checks>,
}

/// Runs the history of `seed` with a simulated clock.
///
/// The report contains a log if `is_logged`.
pub(crate) fn run(seed: u64, is_logged: bool) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut history = History::begin(seed, is_logged);
        history.unfold().await;
        let mut world = history.wire.world();
        Report {
            semantics: world.semantics.clone(),
            breaches: std::mem::take(&mut world.breaches),
            log: std::mem::take(&mut world.log),
            counts: std::mem::take(&mut history.counts),
            checks: std::mem::take(&mut world.checks),
        }
    })
}

/// A history in progress.
pub(crate) struct History {
    chance: Chance,
    pub(crate) wire: Wire,
    dir: tempfile::TempDir,
    state: Option<Store>,
    states: usize,
    pub(crate) tree: DesiredWorkspace,
    compressed: Option<(DesiredWorkspace, Arc<CompressedWorkspace>)>,
    password: Arc<Mutex<Option<String>>>,
    counts: BTreeMap<String, usize>,
    firing: i64,
}

/// In memory if possible, because thousands of histories sync their state to disk.
fn workplace() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl History {
    fn begin(seed: u64, is_logged: bool) -> Self {
        let mut chance = Chance::new(seed);
        let semantics = Semantics::any(&mut chance);
        let tree = tree::any(&mut chance);
        Self::of(seed, chance, semantics, tree, is_logged)
    }

    /// Creates a history without random events.
    pub(crate) fn quiet(semantics: Semantics, tree: DesiredWorkspace) -> Self {
        let history = Self::of(0, Chance::new(0), semantics, tree, true);
        history.wire.world().faulty = false;
        history
    }

    /// Sets the value of the variable that the declared secrets refer to.
    pub(crate) fn set_password(&self, value: &str) {
        *self.password.lock().unwrap() = Some(value.to_owned());
    }

    fn of(seed: u64, chance: Chance, semantics: Semantics, tree: DesiredWorkspace, is_logged: bool) -> Self {
        let world = World::new(semantics, Chance::new(seed ^ 0xabcd), is_logged);
        let mut history = Self {
            chance,
            wire: Wire::new(world),
            dir: workplace(),
            state: None,
            states: 0,
            tree,
            compressed: None,
            password: Arc::new(Mutex::new(Some("pw-one".into()))),
            counts: BTreeMap::new(),
            firing: 0,
        };
        history.wire.world().note(format_args!("the tree is {}", Described(&history.tree)));
        history.reopen();
        history
    }

    async fn unfold(&mut self) {
        // Short ones find most mistakes, some need many events.
        let length = (0..3).map(|_| self.chance.below(10)).min().unwrap_or_default() + 1;
        for _ in 0..length {
            self.something_happens().await;
            self.passes().await;
            if self.broken() {
                return;
            }
        }
        self.faults_stop().await;
    }

    fn broken(&self) -> bool {
        !self.wire.world().breaches.is_empty()
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn reopen(&mut self) {
        /// A database without anything in it, made once.
        static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let place = workplace();
            drop(Store::open(place.path(), "http://127.0.0.1:1/api/v1").unwrap());
            std::fs::read(place.path().join("state.db")).unwrap()
        });
        self.state = None;
        let dir = self.dir.path().join(self.states.to_string());
        if !dir.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
            std::fs::write(dir.join("state.db"), &*EMPTY).unwrap();
        }
        self.state = Some(Store::open(&dir, "http://127.0.0.1:1/api/v1").unwrap());
    }

    fn clock(&self) -> Clock {
        let wire = self.wire.clone();
        Arc::new(move || {
            wire.point();
            now(&wire)
        })
    }

    fn reconciler(&self) -> Reconciler {
        let token: Token = Arc::new(|| Ok("token".to_owned().into()));
        let settings = ClientConfig {
            // Random delays with a maximum of zero leave the clock unchanged.
            backoff: Backoff { base: Duration::ZERO, max_wait: Duration::ZERO, ..Backoff::default() },
            requests_per_second: None,
            ..ClientConfig::new(BaseUrl::parse("http://127.0.0.1:1").unwrap(), token)
        };
        let reader = ApiReader::in_process(settings, self.wire.platform());
        let state = self.state.clone().unwrap();
        let password = self.password.clone();
        let wire = self.wire.clone();
        Reconciler {
            planner: Planner {
                reader: reader.clone(),
                state: Some(state.clone()),
                key: state.key().clone(),
                secrets: Arc::new(Secrets {
                    variables: Arc::new(move |_| password.lock().unwrap().clone()),
                    secrets_dir: None,
                    credentials_dir: None,
                    forbidden: Default::default(),
                    allow: Vec::new(),
                    settings_variables: None,
                    shared: Default::default(),
                }),
                root: "/tree".into(),
                settle: SETTLE,
                upserts: false,
                overrides: Overrides::default(),
                host: HostLimits::default(),
                prefetch_permits: Arc::new(tokio::sync::Semaphore::new(0)),
                unchanged: Some(Default::default()),
                hashes: false,
                clock: self.clock(),
            },
            writer: ApiWriter::new(&reader),
            state,
            holder: "model",
            lock_wait: Duration::ZERO,
            should_stop: Arc::new(|| false),
            on_actions: Arc::new(move |plan, results| {
                let mut world = wire.world();
                for (n, result) in results {
                    let action = &plan.actions[*n];
                    world.note(format_args!("{} {}: {result:?}", action.step.kind(), action.name));
                    let forgets = plan.desired.removed.iter().any(|removed| {
                        removed.key == action.source && removed.action == RemovedAction::Forget
                    });
                    if forgets && action.step == Step::Forget && *result == ActionResult::Done {
                        let name = action.name.as_str();
                        let numbers: Vec<u64> =
                            world.rows.iter().filter(|row| row.name == name).map(|row| row.number).collect();
                        world.ours.retain(|number| !numbers.contains(number));
                    }
                }
            }),
            source_locks: Default::default(),
        }
    }

    /// Runs `work` until it ends or the process dies.
    ///
    /// In that case the state is reopened.
    async fn live<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let deadly = self.chance.percent(15);
        let points = self.chance.below(30);
        self.wire.dies_in(deadly.then_some(points));
        let ended = {
            let mut work = pin!(work);
            let survived = std::future::poll_fn(|context| {
                match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                    Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(panic) if panic.is::<Died>() => Poll::Ready(None),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            });
            tokio::select! {
                biased;
                () = self.wire.died.notified() => None,
                ended = survived => ended,
            }
        };
        self.wire.dies_in(None);
        ended
    }

    /// Returns the compressed project; compressing it takes longer than most passes.
    fn compressed(&mut self) -> Arc<CompressedWorkspace> {
        let kept = self.compressed.take().filter(|(tree, _)| *tree == self.tree);
        let (tree, compressed) = kept.unwrap_or_else(|| {
            let tree = self.tree.clone();
            (tree.clone(), Arc::new(CompressedWorkspace::compress(Arc::new(tree))))
        });
        Arc::clone(&self.compressed.insert((tree, compressed)).1)
    }

    fn task(&mut self, barred: bool) -> Task {
        let why =
            || RemovalBlock { code: WithheldReason::Unreadable, reason: "a file cannot be read".into() };
        Task {
            desired: self.compressed(),
            owner: None,
            checkout: None,
            removals_blocked: barred.then(why),
            released: Vec::new(),
            declarations: Arc::default(),
        }
    }

    /// Runs a pass, and further ones as it requests them.
    async fn passes(&mut self) {
        for _ in 0..3 {
            let again = match self.pass().await {
                Some(pass) => pass.retry_after,
                None => Some(Duration::from_secs(self.chance.one_of(&[0, 1, 6]))),
            };
            match again {
                Some(after) if self.chance.percent(80) => tokio::time::sleep(after).await,
                _ => return,
            }
        }
    }

    /// Runs a pass; `None` if the process died.
    pub(crate) async fn pass(&mut self) -> Option<Pass> {
        let faulty = self.wire.world().faulty;
        let barred = faulty && self.chance.percent(8);
        let task = self.task(barred);
        {
            let mut world = self.wire.world();
            world.barred = barred;
            world.declared = self.tree.sources.iter().map(|source| source.name.to_string()).collect();
            if world.is_logged {
                let rows: Vec<String> = world.rows.iter().map(shown).collect();
                world.note(format_args!("pass; the platform holds {}", rows.join(", ")));
            }
        }
        let reconciler = self.reconciler();
        let wire = self.wire.clone();
        let id = PassId::new(now(&wire));
        let pass = async {
            reconciler
                .pass(&task, &id, |plan| {
                    let mut world = wire.world();
                    for action in &plan.actions {
                        world.note(format_args!(
                            "plan: {} {} ({})",
                            action.step.kind(),
                            action.name,
                            action.reason
                        ));
                        // Without its secret, a source is not adopted yet.
                        if let Step::Adopt { index, entry: owned } = &action.step
                            && action.missing_secrets.is_none()
                        {
                            adopted(
                                &mut world,
                                &plan.desired,
                                *index,
                                owned.id.as_ref().map(wellspring::model::SourceId::as_json),
                            );
                        }
                    }
                    for withheld in &plan.withheld {
                        world.note(format_args!(
                            "withheld: {} {} ({})",
                            withheld.action, withheld.name, withheld.code
                        ));
                    }
                    if let Some(error) = &plan.error {
                        world.note(format_args!("plan: {}", error.message));
                    }
                })
                .await
        };
        let ended = if faulty { self.live(pass).await } else { Some(pass.await) };
        if !faulty && reconciler.planner.may_be_unchanged(&task) {
            self.plan_without_cache(&reconciler.planner, &task).await;
        }
        drop(reconciler);
        self.count(if ended.is_some() { "passes" } else { "deaths" });
        if ended.is_none() {
            self.wire.world().note("our process dies");
            self.reopen();
        }
        ended
    }

    /// Plans a workspace that is in the cache as if it were not: there must be nothing to do.
    async fn plan_without_cache(&mut self, planner: &Planner, task: &Task) {
        // A list that lags may show something else by now.
        if self.wire.world().semantics.lag > 0 {
            return;
        }
        self.count("cached");
        let planned = Planner { unchanged: None, ..planner.clone() }.plan(task).await;
        if !planned.plan.is_unchanged() || !planned.corrections.is_empty() {
            let (plan, corrections) = (planned.plan, planned.corrections);
            let breach = format!("cached, though there is {:?} {corrections:?}", plan.actions);
            self.wire.world().breaches.push(breach);
        }
    }

    async fn something_happens(&mut self) {
        let kind = self.chance.below(21);
        self.count("steps");
        match kind {
            0..=6 => {
                let what = tree::edit(&mut self.chance, &mut self.tree);
                self.wire.world().note(format_args!("the tree: {what}: {}", Described(&self.tree)));
            }
            7..=11 => self.someone_acts().await,
            12 | 13 => self.sync().await,
            14 => {
                let value = self.chance.one_of(&[Some("pw-one"), Some("pw-two"), None]);
                self.wire.world().note(format_args!("the password is {value:?}"));
                *self.password.lock().unwrap() = value.map(str::to_owned);
            }
            15 if self.chance.percent(30) => {
                self.wire.world().note("the state is lost");
                self.states += 1;
                self.reopen();
                self.wire.world().forget();
            }
            20 if self.chance.percent(50) => self.wire.world().renumber(),
            _ => {
                let seconds = self.chance.one_of(&[1, 6, 60, 1_200, 4_000]);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.wire.world().note(format_args!("{seconds} s go by"));
            }
        }
    }

    /// Changes the platform as others might.
    async fn someone_acts(&mut self) {
        let name = self.chance.one_of(&tree::NAMES);
        let inventory = self.state.as_ref().unwrap().inventory(&tree::unit()).await.unwrap();
        let open = inventory.intents.values().any(|intent| intent.name.as_str() == name);
        let definition = tree::definition(&mut self.chance);
        let config: Value = definition
            .connection_config
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    wellspring::model::ConfigValue::String(text) => json!(text),
                    wellspring::model::ConfigValue::Integer(number) => json!(number),
                    _ => json!("someone's password"),
                };
                (key.to_string(), value)
            })
            .collect();
        let mut world = self.wire.world();
        let kind = self.chance.below(4);
        match kind {
            0 => {
                let metadata = self.chance.one_of(&[Value::Null, json!({}), json!({"team": "x"})]);
                world.add(name, &definition.kind, config, metadata);
                // Exemption: if only names are listed and no id is returned, the row listed first is the one that the
                // platform reported.
                if open && world.semantics.echo == Echo::Nothing && !world.semantics.answers_ids {
                    let number = world.rows.last().unwrap().number;
                    world.ours.insert(number);
                }
            }
            1 => {
                world.note(format_args!("someone removes every {name}"));
                world.rows.retain(|row| row.name != name);
            }
            _ => {
                world.note(format_args!("someone sets every {name} to {config}"));
                for row in world.rows.iter_mut().filter(|row| row.name == name) {
                    row.config.clone_from(&config);
                    row.disturbed = true;
                    row.unseen |= open;
                }
            }
        }
        world.changed();
    }

    async fn sync(&mut self) {
        let reconciler = self.reconciler();
        let inventory = reconciler.state.inventory(&tree::unit()).await.unwrap();
        if self.chance.percent(70) {
            self.firing += 1;
        }
        let firing = self.firing;
        let syncer = Syncer {
            writer: reconciler.writer.clone(),
            state: reconciler.state.clone(),
            source_locks: reconciler.source_locks.clone(),
            clock: self.clock(),
            unrecorded: Default::default(),
        };
        let members: Vec<SyncMember> = inventory
            .managed
            .iter()
            .map(|(name, owned)| SyncMember {
                name: name.clone(),
                key: owned.key.clone(),
                trigger: Trigger::Schedule,
                firing: Timestamp::from_second(firing).unwrap(),
            })
            .collect();
        let options = json!({"firing": firing}).as_object().unwrap().clone();
        let call = SyncCall { unit: tree::unit(), members, options, timeout: None };
        self.wire.world().note(format_args!("sync {firing}"));
        drop(reconciler);
        let ended = self.live(async { syncer.call(&call).await.unwrap() }).await;
        drop(syncer);
        self.count("syncs");
        if ended.is_none() {
            self.wire.world().note("our process dies");
            self.reopen();
        }
    }

    /// Ends all faults: two passes must suffice, and a third must write nothing.
    async fn faults_stop(&mut self) {
        tree::heal(&mut self.tree);
        *self.password.lock().unwrap() = Some("pw-one".into());
        self.wire.world().faulty = false;
        tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
        self.wire.world().note(format_args!("faults stop; the tree is {}", Described(&self.tree)));
        // A list that lacks most of our sources is trusted after a minute; a lagging one is up to date only
        // then.
        let rest = Duration::from_millis(self.wire.world().semantics.lag.max(61_000));
        // The last one is for replacements that are permitted once another has shown that the platform updates in place.
        let mut checks = 2;
        for _ in 0..4 {
            // Passes requested at once (because an adopted source differs) belong to the first.
            let mut last = self.pass().await;
            while last.as_ref().is_some_and(|pass| pass.outcome.needs_second_pass) {
                last = self.pass().await;
            }
            tokio::time::sleep(rest).await;
            let is_at_rest = |plan: &WorkspacePlan| plan.is_unchanged() && plan.withheld.is_empty();
            // Nobody writes any more, and the list was up to date: the next one is the same.
            if last.as_ref().and_then(Pass::plan).is_some_and(is_at_rest) {
                checks = 1;
                break;
            }
        }
        self.wire.world().writes = 0;
        for _ in 0..checks {
            let Some(pass) = self.pass().await else { unreachable!("nobody dies without faults") };
            tokio::time::sleep(rest).await;
            self.check(&pass);
            if self.broken() {
                return;
            }
        }
    }

    fn check(&mut self, pass: &Pass) {
        let plan = pass.plan().unwrap();
        let mut breaches = Vec::new();
        let writes = self.wire.world().writes;
        if writes > 0 {
            breaches.push(format!("I4: {writes} writes after the quiet passes"));
        }
        if let Some(error) = plan.error.as_ref().or(pass.outcome.error.as_ref()) {
            breaches.push(format!("I4: the pass fails: {}", error.message));
        }
        if let Some(action) = plan.actions.first() {
            breaches.push(format!("I4: still to {} {}: {}", action.step.kind(), action.name, action.reason));
        }
        for withheld in &plan.withheld {
            *self.counts.entry(format!("withheld {}", withheld.code)).or_default() += 1;
        }
        let mut world = self.wire.world();
        for source in &plan.desired.sources {
            if plan.withheld.iter().any(|withheld| withheld.name == source.name) {
                continue;
            }
            let rows: Vec<&Row> = world.rows.iter().filter(|row| row.name == source.name.as_str()).collect();
            match rows.as_slice() {
                [row] => {
                    let differs = differs(row, source);
                    let excused = differs.is_some() && may_differ(&world, row);
                    let breach =
                        differs.filter(|_| !excused).map(|what| format!("I4: {} has {what}", row.name));
                    breaches.extend(breach);
                    world.checked("I4", excused);
                }
                [] => breaches.push(format!("I4: {} is not there", source.name)),
                [..] if rows.len()
                    == plan.unmanaged.iter().filter(|other| other.name == source.name).count() + 1 => {}
                _ => breaches.push(format!(
                    "I3: {} rows bear the name {} and nothing is said",
                    rows.len(),
                    source.name
                )),
            }
        }
        for name in tree::NAMES {
            let is_withheld = |codes: &[WithheldReason]| {
                let withheld = plan.withheld.iter().filter(|withheld| withheld.name.as_str() == name);
                withheld.map(|withheld| withheld.code).any(|code| codes.contains(&code))
            };
            let ours: Vec<&Row> = world
                .rows
                .iter()
                .filter(|row| row.name == name && world.ours.contains(&row.number))
                .collect();
            let unmanaged = plan.unmanaged.iter().filter(|other| other.name.as_str() == name).count();
            // Exemption: duplicates that nothing identifies, or that belong to a lost state. The plan says so.
            let told =
                is_withheld(&[WithheldReason::Ambiguous, WithheldReason::NoId, WithheldReason::NotListed])
                    || (world.epoch > 0 && is_withheld(&[WithheldReason::OtherWriter]))
                    || unmanaged + 1 >= ours.len();
            let excused = told
                && (may_stay_double(&world.semantics)
                    || world.epoch > 0
                    || ours.iter().filter(|row| !forgotten(&world, row)).count() <= 1);
            let number = ours.len();
            world.checked("I3", number > 1 && excused);
            if number > 1 && !excused {
                breaches.push(format!("I3: {number} of ours bear the name {name}, told: {told}"));
            }
        }
        for breach in breaches {
            world.note(format_args!("BREACH {breach}"));
            world.breaches.push(breach);
        }
    }
}

/// Exemption: duplicates may stay if nothing identifies ours.
///
/// Without returned markers nothing proves which of several rows of a name are ours, and without ids none can
/// be cleaned up. Duplicates are reported and left alone.
fn may_stay_double(semantics: &Semantics) -> bool {
    semantics.ids == Ids::None || matches!(semantics.echo, Echo::Nothing | Echo::Unstamped)
}

/// Exemption: a connect that took effect long after it was given up.
///
/// The source was edited or removed in the meantime, and the connect took effect only long after the platform must
/// have settled. No record of it exists by then; the row is reported and left alone.
fn forgotten(world: &World, row: &Row) -> bool {
    let twin_differs = world.rows.iter().any(|other| other.name == row.name && other.config != row.config);
    let is_removed = !world.declared.contains(&row.name);
    world.semantics.very_late && row.disturbed && (twin_differs || is_removed)
}

/// Exemption: nothing shows the difference.
fn may_differ(world: &World, row: &Row) -> bool {
    let echo = world.semantics.echo;
    // Hidden changes by others cannot be detected; nor can changes before our write was listed.
    let is_hidden = row.unseen || (row.disturbed && echo == Echo::Nothing);
    // With names only, no ids in responses and lists that lag too long, nothing shows which of two writes took effect.
    let tells_ids = world.semantics.answers_ids && world.semantics.ids != Ids::None;
    is_hidden || (echo == Echo::Nothing && !tells_ids && u128::from(world.semantics.lag) > SETTLE.as_millis())
}

/// Returns how the platform's row differs from the declaration.
fn differs(row: &Row, source: &wellspring::model::DesiredSource) -> Option<String> {
    let mut wanted = serde_json::Map::new();
    for (key, value) in &source.definition.connection_config {
        let value = match value {
            wellspring::model::ConfigValue::String(text) => json!(text),
            wellspring::model::ConfigValue::Integer(number) => json!(number),
            _ if row.disturbed => continue,
            _ => json!("pw-one"),
        };
        wanted.insert(key.to_string(), value);
    }
    let mut config = row.config.as_object().cloned().unwrap_or_default();
    if row.disturbed {
        config.remove("password");
        // Exemption: a key that is not returned is unknown, and an undeclared key is ignored.
        config.retain(|key, _| wanted.contains_key(key));
        wanted.retain(|key, _| config.contains_key(key));
    }
    if config != wanted {
        return Some(format!("{} instead of {}", Value::from(config), Value::from(wanted)));
    }
    (row.kind != source.definition.kind).then(|| format!("type {}", row.kind))
}

/// Checks that a plan may adopt a row, which is ours from now on.
fn adopted(world: &mut World, desired: &DesiredWorkspace, index: usize, id: Option<&Value>) {
    let source = &desired.sources[index];
    let rows: Vec<Row> = world
        .rows
        .iter()
        .filter(|row| row.name == source.name.as_str())
        .filter(|row| id.is_none_or(|id| world.id(row.number) == *id))
        .cloned()
        .collect();
    match source.adopt.unwrap_or(desired.policy.adopt) {
        Adopt::Never => world.breaches.push(format!("I1: {} is adopted against the policy", source.name)),
        // Exemption: a row adopted by its name only may have any content.
        Adopt::ByName => {
            let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            let adopted = world.rows.iter_mut().filter(|row| numbers.contains(&row.number));
            adopted.for_each(|row| row.disturbed = true);
        }
        Adopt::Identical | Adopt::Replace => {}
    }
    world.ours.extend(rows.iter().map(|row| row.number));
    if let Some(id) = id {
        world.own(id);
    }
}

fn now(wire: &Wire) -> Timestamp {
    let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    base + SignedDuration::from_millis(i64::try_from(wire.elapsed()).unwrap())
}

fn shown(row: &Row) -> String {
    format!("{}#{} {} {} {}", row.name, row.number, row.kind, row.config, row.metadata)
}

/// Shows a project in one line.
struct Described<'a>(&'a DesiredWorkspace);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(self.0))
    }
}

fn describe(tree: &DesiredWorkspace) -> String {
    let sources: Vec<String> = tree
        .sources
        .iter()
        .map(|source| {
            let flags = (source.protect, source.suspend.is_some());
            let config: Vec<String> = source
                .definition
                .connection_config
                .iter()
                .map(|(key, value)| format!("{key}={value:?}"))
                .collect();
            let metadata = Value::Object(source.definition.metadata.clone().into());
            format!("{}[{}] {} {metadata} {flags:?}", source.name, config.join(" "), source.definition.kind)
        })
        .collect();
    let moved: Vec<String> = tree.moved.iter().map(|moved| format!("{}->{}", moved.from, moved.to)).collect();
    let removed: Vec<String> =
        tree.removed.iter().map(|gone| format!("{} {:?}", gone.key, gone.action)).collect();
    format!("{} | moved {moved:?} removed {removed:?} {:?}", sources.join(", "), tree.policy)
}
