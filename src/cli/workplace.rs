//! Context of commands that use the platform: settings, files, platform, state.

use super::args::{Common, Format};
use super::local::{self, Local, Stay};
use super::select::Selector;
use super::settled::Start;
use super::{Exit, Failure, progress};
use crate::model::{FingerprintKey, Unit};
use crate::plan::{Action, ActionKind, Overrides, Plan, Step, UnitPlan};
use crate::reading::{Known, Memory, Reading};
use crate::reconcile::{Clock, EAGER, Planner, Task, resolved};
use crate::remote::{BaseUrl, Reader};
use crate::render::{Orphan, Problems, escape};
use crate::settings::{self, Pause, Platform, Settings};
use crate::state::{DaemonLock, LockError, State};
use crate::tree::{self, TreeError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Default quiet time of the files before a removal.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

/// Settings, files, platform and state, opened for one command.
pub(super) struct Workplace {
    pub(super) settings: Settings,
    pub(super) reading: Reading,
    pub(super) reader: Reader,
    pub(super) state: Option<State>,
    pub(super) memory: Memory,
    pub(super) settle: std::time::Duration,
    /// Lock that ensures a single daemon.
    pub(super) alone: Option<DaemonLock>,
    /// True if there are managed sources but no files at all.
    pub(super) emptied: bool,
    url: String,
    local: Option<Local>,
}

/// The kind of access that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Creates and changes nothing.
    Read,
    /// Keeps state and writes to the platform.
    Write,
    /// Like [`Access::Write`], until shutdown.
    Serve,
}

impl Access {
    fn stay(self) -> Stay {
        match self {
            Self::Read => Stay::Look,
            Self::Write => Stay::Short,
            Self::Serve => Stay::Long,
        }
    }
}

impl Workplace {
    /// Loads the files, resolves the platform and opens the state.
    ///
    /// Sends no request yet.
    pub(super) async fn open(common: &Common, access: Access) -> Result<Self, Failure> {
        Self::open_from(common, access, None).await
    }

    /// Like [`Workplace::open`], with the results of an earlier check.
    pub(super) async fn open_from(
        common: &Common,
        access: Access,
        start: Option<Start>,
    ) -> Result<Self, Failure> {
        let settings = resolve(common)?;
        settings.check_state_dir().map_err(|error| Failure::invalid(&error))?;
        let variable = settings.variables();
        let (mut reading, listed_by) = match (start, access) {
            (Some(Start { tree, known, reader }), _) => {
                (Reading::of_tree(tree, &*variable, &known), Some(reader))
            }
            (None, Access::Serve) => (read_to_stay(&settings)?, None),
            (None, Access::Read | Access::Write) => (read(&settings)?, None),
        };
        tell_diagnostics(common, &reading);
        reading.forget_texts();
        let at = platform(&settings, &reading)?;
        must_be_own(&settings)?;
        let key = key(&at);
        let settle = reading.settle.unwrap_or_else(|| settings.settle(&at));
        // A second daemon must fail before it waits for the local platform.
        let serving = match access {
            Access::Serve => {
                let state = State::open(&settings.state_dir, &key)?;
                Some((alone(&state)?, state))
            }
            Access::Read | Access::Write => None,
        };
        let (local, base_url, token) = match at.clone() {
            Platform::Local => {
                let local = Local::open(&settings.state_dir, &settings.root, access.stay()).await?;
                let (base_url, token) = (local.base_url.clone(), Arc::clone(&local.token));
                (Some(local), base_url, token)
            }
            Platform::Remote(base_url) => {
                let token = settings::token(&settings, &base_url, common.interactive())
                    .map_err(|error| Failure { exit: Exit::Auth, ..Failure::invalid(&error) })?;
                (None, base_url, token)
            }
        };
        let url = base_url.as_str().to_owned();
        let reader = match listed_by {
            Some(reader) => reader,
            None => reader(&settings, base_url, token)?,
        };
        let (alone, state) = match (serving, access) {
            (Some((alone, state)), _) => (Some(alone), Some(state)),
            (None, Access::Read) => (None, State::open_read_only(&settings.state_dir, &key)?),
            (None, _) => (None, Some(State::open(&settings.state_dir, &key)?)),
        };
        if let Some(state) = &state {
            let used = state.origins().await?;
            settings.must_know(&at, &used).map_err(|error| Failure::invalid(&error))?;
            if access != Access::Read && !used.contains(&at.origin()) {
                state.remember_origin(&at.origin()).await?;
            }
        }
        let memory = match &state {
            Some(state) => state.files(&root(&settings)).await?,
            None => Memory::new(),
        };
        let has_sources = match &state {
            Some(state) if reading.is_empty() => !state.units().await?.is_empty(),
            _ => false,
        };
        // A daemon waits for files to appear.
        if has_sources && access != Access::Serve {
            return Err(Failure::invalid(&TreeError::Emptied(settings.root.clone())));
        }
        Ok(Self { settings, reading, reader, state, memory, settle, alone, emptied: has_sources, url, local })
    }

    pub(super) fn planner(&self, overrides: Overrides) -> Planner {
        let key = match &self.state {
            Some(state) => Arc::clone(state.key()),
            // Nothing is managed yet, so no fingerprints are compared.
            None => Arc::new(FingerprintKey::new([0; 32])),
        };
        Planner {
            reader: self.reader.clone(),
            state: self.state.clone(),
            key,
            secrets: Arc::new(self.settings.secrets()),
            root: root(&self.settings).into(),
            settle: self.settle,
            upserts: self.is_local(),
            overrides,
            host: self.settings.limits(),
            eager: Arc::new(Semaphore::new(EAGER)),
            settled: None,
            hashes: false,
            clock: clock(),
        }
    }

    /// Returns the selected units; reports units blocked by broken files on stderr.
    pub(super) fn tasks(&self, selector: &Selector) -> Result<Vec<Task>, Failure> {
        selector.look_up_names(&self.reading);
        let asked = self.reading.asked(&self.memory);
        for (unit, file) in &asked.held {
            let file = escape::terminal(file);
            progress::hide();
            note!("{unit}: skipped, because {file} has errors");
        }
        let declared = !asked.tasks.is_empty();
        let tasks: Vec<Task> =
            asked.tasks.into_iter().filter(|task| selector.unit(task.desired.names())).collect();
        if declared {
            selector.must_name(&self.reading)?;
        }
        if tasks.is_empty() && declared && !selector.selects_everything() {
            selector.must_match(&self.reading, "declared source", "`wellspring show` lists them")?;
            return Err(Failure::usage("no declared workspace matches; `wellspring show` lists them"));
        }
        let secrets = Arc::new(self.settings.secrets());
        for task in &tasks {
            let (desired, secrets) = (Arc::clone(&task.desired), Arc::clone(&secrets));
            let unit = &task.desired.unit;
            self.reader.withhold_at_first(unit, move || resolved(&desired.open(), &secrets));
        }
        Ok(tasks)
    }

    /// Returns 3 if a file has an error.
    pub(super) fn exit(&self) -> Exit {
        Exit::Invalid.when(self.reading.has_errors())
    }

    /// Returns problems to show before a plan.
    ///
    /// These are rejected files, workspaces that are no longer declared, and the lack of a state.
    pub(super) async fn problems(&self, plan: &Plan) -> Result<Problems, Failure> {
        let broken = self.reading.desired.broken.iter();
        let rejected = broken.map(|broken| Arc::clone(&broken.file)).collect();
        let lists_any = |unit: &UnitPlan| {
            let adopts = |action: &Action| matches!(action.step, Step::Adopt { .. });
            !unit.unmanaged.is_empty()
                || unit.actions.iter().any(adopts)
                || unit.withheld.iter().any(|withheld| withheld.action == ActionKind::Adopt)
        };
        Ok(Problems {
            rejected,
            orphaned: self.orphaned().await?,
            unknown_ownership: self.state.is_none() && plan.units.iter().any(lists_any),
        })
    }

    /// Returns workspaces with managed sources that no file declares any more.
    async fn orphaned(&self) -> Result<Vec<Orphan>, Failure> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let asked = self.reading.asked(&self.memory);
        let tasks = asked.tasks.iter().map(|task| &task.desired.unit);
        let settled = self.reading.desired.settled.iter().map(|unit| &unit.unit);
        let declared: BTreeSet<&Unit> = tasks.chain(settled).collect();
        let mut orphaned = Vec::new();
        for unit in state.units().await? {
            let known = asked.held.contains_key(&unit) || declared.contains(&unit);
            if !known && asked.stranger.is_none() {
                let sources = state.inventory(&unit).await?.owned.len();
                orphaned.push(Orphan { unit, sources });
            }
        }
        Ok(orphaned)
    }

    /// Saves which file declares which workspace.
    pub(super) async fn remember(&self) -> Result<(), Failure> {
        let Some(state) = &self.state else { return Ok(()) };
        let memory = self.reading.memory(&self.memory);
        if memory == self.memory {
            return Ok(());
        }
        let files = memory.into_iter().collect();
        Ok(state.remember_files(&root(&self.settings), files).await?)
    }

    /// Returns the quiet time of the files that a removal requires.
    pub(super) fn rest(&self) -> std::time::Duration {
        self.settings.host.daemon.settle.map_or(REST, Pause::get)
    }

    /// Returns true if the platform is the local one.
    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Returns the URL of the platform.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Drops everything but the local platform, which must be stopped at the end.
    pub(super) fn into_local(self) -> Option<Local> {
        self.local
    }

    /// Stops the local platform, if it was started for this command.
    pub(super) async fn close(self) {
        if let Some(local) = self.into_local() {
            local.stop().await;
        }
    }
}

/// Locks the state for a daemon.
///
/// Two daemons would report everything twice and wait for each other's locks.
fn alone(state: &State) -> Result<DaemonLock, Failure> {
    /// `status` holds the lock for a moment when it checks for a daemon.
    const A_MOMENT: std::time::Duration = std::time::Duration::from_millis(50);
    let locked = match state.lock_daemon("run") {
        Err(LockError::Held { .. }) => {
            std::thread::sleep(A_MOMENT);
            state.lock_daemon("run")
        }
        locked => locked,
    };
    locked.map_err(|error| match error {
        LockError::Held { by } => Failure {
            exit: Exit::Failed,
            message: format!(
                "{by} already runs for this platform with the state in {}; stop it, or pass a different \
                 --state-dir",
                state.dir().display()
            ),
        },
        error => Failure::failed(&error),
    })
}

/// Returns the root as text, the form used in the state.
pub(super) fn root(settings: &Settings) -> String {
    settings.root.to_string_lossy().into_owned()
}

pub(super) fn clock() -> Clock {
    Arc::new(jiff::Timestamp::now)
}

pub(super) fn resolve(common: &Common) -> Result<Settings, Failure> {
    let environment = Arc::new(|name: &str| std::env::var(name).ok());
    Settings::resolve(&common.flags(), environment).map_err(|error| {
        if let Some(explained) = error.explained(common.color_err()) {
            eprint!("{explained}");
        }
        Failure::invalid(&error)
    })
}

pub(super) fn read(settings: &Settings) -> Result<Reading, Failure> {
    Reading::take(&settings.root, &*settings.variables()).map_err(|error| Failure::invalid(&error))
}

/// Like [`read`], but with compressed units and a cache for the next load.
fn read_to_stay(settings: &Settings) -> Result<Reading, Failure> {
    Reading::take_again(&settings.root, &*settings.variables(), &Known::default(), true)
        .map_err(|error| Failure::invalid(&error))
}

/// Prints diagnostics to stderr.
pub(super) fn tell_diagnostics(common: &Common, reading: &Reading) {
    if !reading.diagnostics.is_empty() && common.format != Format::Github {
        progress::hide();
        super::answer::note(&reading.explained(common.color_err()));
    }
}

pub(super) fn platform(settings: &Settings, reading: &Reading) -> Result<Platform, Failure> {
    let declared = reading.desired.platform.as_ref();
    if declared.is_none() && reading.has_errors() && settings.platform(None).is_err() {
        // The file that names the platform is broken, which was reported already.
        return Err(Failure { exit: Exit::Invalid, message: String::new() });
    }
    settings.platform(declared).map_err(|error| Failure::invalid(&error))
}

/// Refuses a state that is tracked by Git.
///
/// Such a state is not this host's own, and must not decide which sources are managed.
pub(super) fn must_be_own(settings: &Settings) -> Result<(), Failure> {
    let dir = &settings.state_dir;
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    State::check(dir)?;
    if !tree::is_tracked(dir) {
        return Ok(());
    }
    let message = format!(
        "Git tracks the state directory {0}, so it is not this host's own; take it out of the repository \
         (`git rm -r --cached {0}`) and remove it, or name another --state-dir",
        dir.display()
    );
    Err(Failure { exit: Exit::Invalid, message })
}

/// Returns the key of the platform in the state.
pub(super) fn key(platform: &Platform) -> String {
    match platform {
        Platform::Local => local::KEY.to_owned(),
        Platform::Remote(base_url) => base_url.as_str().to_owned(),
    }
}

pub(super) fn reader(
    settings: &Settings,
    base_url: BaseUrl,
    token: crate::remote::Token,
) -> Result<Reader, Failure> {
    Reader::new(settings.remote(base_url, token)).map_err(|error| Failure::invalid(&error))
}
