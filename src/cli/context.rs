//! Context of commands that use the platform: settings, files, platform, state.

use super::args::{Common, Format};
use super::local_platform::{self, LocalPlatform, LocalPlatformMode};
use super::select::Selector;
use super::{CommandError, Exit, progress};
use crate::client::{ApiReader, BaseUrl};
use crate::config::ParseCache;
use crate::load::{FileIndex, LoadCache, LoadedConfig};
use crate::model::{FingerprintKey, WorkspaceRef};
use crate::plan::{Action, ActionKind, Overrides, Plan, Step, WorkspacePlan};
use crate::reconcile::{Clock, MAX_PREFETCHES, Planner, Task, resolved};
use crate::report::{Orphan, Problems, escape};
use crate::settings::{self, NonNegativeDuration, PlatformChoice, Settings, SettingsError};
use crate::store::{DaemonLock, LockError, Store};
use crate::tree::{self, TreeError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Default quiet time of the files before a removal.
const QUIET_PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

/// Start of a run that only parses what may have changed.
pub(super) struct CachedStart {
    pub(super) tree: tree::TreeSnapshot,
    /// Makes the load skip the workspaces that are in sync.
    pub(super) cache: ParseCache,
    /// Client that has listed the cached workspaces already.
    pub(super) reader: ApiReader,
}

/// State and results that a command has before its context.
#[derive(Default)]
pub(super) struct CommandStart {
    pub(super) cached: Option<CachedStart>,
    /// State, opened for reading.
    pub(super) state: Option<Store>,
}

/// Settings, files, platform and state, opened for one command.
pub(super) struct CommandContext {
    pub(super) settings: Settings,
    pub(super) reading: LoadedConfig,
    pub(super) reader: ApiReader,
    pub(super) state: Option<Store>,
    pub(super) file_index: FileIndex,
    pub(super) settle: std::time::Duration,
    /// Lock that ensures a single daemon.
    pub(super) daemon_lock: Option<DaemonLock>,
    /// True if there are managed sources but no files at all.
    pub(super) is_emptied: bool,
    url: String,
    local: Option<LocalPlatform>,
}

/// The kind of access that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessMode {
    /// Creates and changes nothing.
    Read,
    /// Keeps state and writes to the platform.
    Write,
    /// Like [`AccessMode::Write`], until shutdown.
    Serve,
}

impl AccessMode {
    fn stay(self) -> LocalPlatformMode {
        match self {
            Self::Read => LocalPlatformMode::ReadOnly,
            Self::Write => LocalPlatformMode::OneShot,
            Self::Serve => LocalPlatformMode::LongRunning,
        }
    }
}

impl CommandContext {
    /// Loads the files, resolves the platform and opens the state.
    ///
    /// Sends no request yet.
    pub(super) async fn open(common: &Common, access: AccessMode) -> Result<Self, CommandError> {
        Self::open_from(common, access, CommandStart::default()).await
    }

    /// Like [`CommandContext::open`], with the results of an earlier check.
    pub(super) async fn open_from(
        common: &Common,
        access: AccessMode,
        start: CommandStart,
    ) -> Result<Self, CommandError> {
        let settings = resolve(common)?;
        settings.check_state_dir().map_err(|error| CommandError::invalid(&error))?;
        let variable = settings.variables();
        let (mut reading, listed_by) = match (start.cached, access) {
            (Some(CachedStart { tree, cache: known, reader }), _) => {
                (LoadedConfig::from_snapshot(tree, &*variable, &known), Some(reader))
            }
            (None, AccessMode::Serve) => (load_and_keep(&settings)?, None),
            (None, AccessMode::Read | AccessMode::Write) => (read(&settings)?, None),
        };
        print_diagnostics(common, &reading);
        reading.drop_texts();
        let at = platform(&settings, &reading)?;
        reject_foreign_state(&settings)?;
        let key = key(&at);
        let settle = reading.settle.unwrap_or_else(|| settings.settle(&at));
        // A second daemon must fail before it waits for the local platform.
        let serving = match access {
            AccessMode::Serve => {
                let state = Store::open(&settings.state_dir, &key)?;
                Some((acquire_daemon_lock(&state)?, state))
            }
            AccessMode::Read | AccessMode::Write => None,
        };
        let (local, base_url, token) = match at.clone() {
            PlatformChoice::Local => {
                let local = LocalPlatform::open(&settings.state_dir, &settings.root, access.stay()).await?;
                let (base_url, token) = (local.base_url.clone(), Arc::clone(&local.token));
                (Some(local), base_url, token)
            }
            PlatformChoice::Remote(base_url) => {
                let token = settings::token(&settings, &base_url, common.interactive())
                    .map_err(|error| CommandError { exit: Exit::Auth, ..CommandError::invalid(&error) })?;
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
            (None, AccessMode::Read) => match start.state {
                Some(state) => (None, Some(state.for_platform(&key))),
                None => (None, Store::open_read_only(&settings.state_dir, &key)?),
            },
            (None, _) => (None, Some(Store::open(&settings.state_dir, &key)?)),
        };
        if let Some(state) = &state {
            let used = state.origins().await?;
            settings.check_known_origin(&at, &used).map_err(|error| CommandError::invalid(&error))?;
            if access != AccessMode::Read && !used.contains(&at.origin()) {
                state.record_origin(&at.origin()).await?;
            }
        }
        let memory = match &state {
            Some(state) => state.files(&root(&settings)).await?,
            None => FileIndex::new(),
        };
        let has_sources = match &state {
            Some(state) if reading.is_empty() => !state.workspaces().await?.is_empty(),
            _ => false,
        };
        // A daemon waits for files to appear.
        if has_sources && access != AccessMode::Serve {
            return Err(CommandError::invalid(&TreeError::Emptied(settings.root.clone())));
        }
        Ok(Self {
            settings,
            reading,
            reader,
            state,
            file_index: memory,
            settle,
            daemon_lock: alone,
            is_emptied: has_sources,
            url,
            local,
        })
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
            prefetch_permits: Arc::new(Semaphore::new(MAX_PREFETCHES)),
            unchanged: None,
            hashes: false,
            clock: clock(),
        }
    }

    /// Returns the selected workspaces; reports workspaces blocked by broken files on stderr.
    pub(super) fn tasks(&self, selector: &Selector) -> Result<Vec<Task>, CommandError> {
        selector.resolve_names(&self.reading);
        let asked = self.reading.work_set(&self.file_index);
        for (workspace, file) in &asked.blocked {
            let file = escape::terminal(file);
            progress::hide();
            note!("{workspace}: skipped, because {file} has errors");
        }
        let declared = !asked.tasks.is_empty();
        let tasks: Vec<Task> =
            asked.tasks.into_iter().filter(|task| selector.selects_workspace(task.desired.names())).collect();
        if declared {
            selector.require_declared_workspaces(&self.reading)?;
        }
        if tasks.is_empty() && declared && !selector.selects_everything() {
            selector.require_matches(&self.reading, "declared source", "`wellspring show` lists them")?;
            return Err(CommandError::usage("no declared workspace matches; `wellspring show` lists them"));
        }
        let secrets = Arc::new(self.settings.secrets());
        for task in &tasks {
            let (desired, secrets) = (Arc::clone(&task.desired), Arc::clone(&secrets));
            let workspace = &task.desired.unit;
            self.reader.register_loader(workspace, move || resolved(&desired.open(), &secrets));
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
    pub(super) async fn problems(&self, plan: &Plan) -> Result<Problems, CommandError> {
        let broken = self.reading.desired.broken.iter();
        let rejected = broken.map(|broken| Arc::clone(&broken.file)).collect();
        let lists_any = |workspace: &WorkspacePlan| {
            let adopts = |action: &Action| matches!(action.step, Step::Adopt { .. });
            !workspace.unmanaged.is_empty()
                || workspace.actions.iter().any(adopts)
                || workspace.withheld.iter().any(|withheld| withheld.action == ActionKind::Adopt)
        };
        Ok(Problems {
            rejected,
            orphaned: self.orphaned().await?,
            unknown_ownership: self.state.is_none() && plan.workspaces.iter().any(lists_any),
        })
    }

    /// Returns workspaces with managed sources that no file declares any more.
    async fn orphaned(&self) -> Result<Vec<Orphan>, CommandError> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let asked = self.reading.work_set(&self.file_index);
        let tasks = asked.tasks.iter().map(|task| &task.desired.unit);
        let settled = self.reading.desired.unchanged.iter().map(|workspace| &workspace.unit);
        let declared: BTreeSet<&WorkspaceRef> = tasks.chain(settled).collect();
        let mut orphaned = Vec::new();
        for workspace in state.workspaces().await? {
            let known = asked.blocked.contains_key(&workspace) || declared.contains(&workspace);
            if !known && asked.unattributed_error.is_none() {
                let sources = state.inventory(&workspace).await?.managed.len();
                orphaned.push(Orphan { workspace, sources });
            }
        }
        Ok(orphaned)
    }

    /// Saves which file declares which workspace.
    pub(super) async fn remember(&self) -> Result<(), CommandError> {
        let Some(state) = &self.state else { return Ok(()) };
        let memory = self.reading.updated_index(&self.file_index);
        if memory == self.file_index {
            return Ok(());
        }
        let files = memory.into_iter().collect();
        Ok(state.record_files(&root(&self.settings), files).await?)
    }

    /// Returns the quiet time of the files that a removal requires.
    pub(super) fn quiet_period(&self) -> std::time::Duration {
        self.settings.host.daemon.settle.map_or(QUIET_PERIOD, NonNegativeDuration::get)
    }

    /// Returns true if the platform is the local one.
    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Drops everything but the local platform, which must be stopped at the end.
    pub(super) fn into_local(self) -> Option<LocalPlatform> {
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
fn acquire_daemon_lock(state: &Store) -> Result<DaemonLock, CommandError> {
    /// `status` holds the lock for a moment when it checks for a daemon.
    const LOCK_RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(50);
    let locked = match state.lock_daemon("run") {
        Err(LockError::Held { .. }) => {
            std::thread::sleep(LOCK_RETRY_INTERVAL);
            state.lock_daemon("run")
        }
        locked => locked,
    };
    locked.map_err(|error| match error {
        LockError::Held { held_by: by } => CommandError {
            exit: Exit::Failed,
            message: format!(
                "{by} already runs for this platform with the state in {}; stop it, or pass a different \
                 --state-dir",
                state.dir().display()
            ),
        },
        error => CommandError::failed(&error),
    })
}

/// Returns the root as text, the form used in the state.
pub(super) fn root(settings: &Settings) -> String {
    settings.root.to_string_lossy().into_owned()
}

pub(super) fn clock() -> Clock {
    Arc::new(jiff::Timestamp::now)
}

pub(super) fn resolve(common: &Common) -> Result<Settings, CommandError> {
    settings(common).map_err(|error| CommandError::invalid(&error))
}

/// Like [`resolve`], with the kind of the error.
pub(super) fn settings(common: &Common) -> Result<Settings, SettingsError> {
    let environment = Arc::new(|name: &str| std::env::var(name).ok());
    Settings::resolve(&common.flags(), environment).inspect_err(|error| {
        if let Some(explained) = error.render_diagnostics(common.stderr_has_color()) {
            super::output::eprint(&explained);
        }
    })
}

pub(super) fn read(settings: &Settings) -> Result<LoadedConfig, CommandError> {
    LoadedConfig::load(&settings.root, &*settings.variables()).map_err(|error| CommandError::invalid(&error))
}

/// Like [`read`], but with compressed workspaces and a cache for the next load.
fn load_and_keep(settings: &Settings) -> Result<LoadedConfig, CommandError> {
    LoadedConfig::reload(&settings.root, &*settings.variables(), &LoadCache::default(), true)
        .map_err(|error| CommandError::invalid(&error))
}

pub(super) fn print_diagnostics(common: &Common, reading: &LoadedConfig) {
    if !reading.diagnostics.is_empty() && common.format != Format::Github {
        progress::hide();
        super::output::eprint(&reading.render_diagnostics(common.stderr_has_color()));
    }
}

pub(super) fn platform(settings: &Settings, reading: &LoadedConfig) -> Result<PlatformChoice, CommandError> {
    let declared = reading.desired.platform.as_ref();
    if declared.is_none() && reading.has_errors() && settings.platform(None).is_err() {
        // The file that names the platform is broken, which was reported already.
        return Err(CommandError { exit: Exit::Invalid, message: String::new() });
    }
    settings.platform(declared).map_err(|error| CommandError::invalid(&error))
}

/// Refuses a state that is tracked by Git.
///
/// Such a state is not this host's own, and must not decide which sources are managed.
pub(super) fn reject_foreign_state(settings: &Settings) -> Result<(), CommandError> {
    let dir = &settings.state_dir;
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    Store::check(dir)?;
    if !tree::is_tracked(dir) {
        return Ok(());
    }
    let message = format!(
        "Git tracks the state directory {0}, so it is not this host's own; take it out of the repository \
         (`git rm -r --cached {0}`) and remove it, or name another --state-dir",
        dir.display()
    );
    Err(CommandError { exit: Exit::Invalid, message })
}

/// Returns the key of the platform in the state.
pub(super) fn key(platform: &PlatformChoice) -> String {
    match platform {
        PlatformChoice::Local => local_platform::KEY.to_owned(),
        PlatformChoice::Remote(base_url) => base_url.as_str().to_owned(),
    }
}

pub(super) fn reader(
    settings: &Settings,
    base_url: BaseUrl,
    token: crate::client::Token,
) -> Result<ApiReader, CommandError> {
    ApiReader::new(settings.remote(base_url, token)).map_err(|error| CommandError::invalid(&error))
}
