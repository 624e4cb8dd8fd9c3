//! `wellspring run`: watches the files and reconciles the platform continuously.

mod services;

use super::args::{Common, RunArgs};
use super::context::{self, AccessMode, CommandContext};
use super::reporters::{Log, Terminal};
use super::{CommandError, Exit, output};
use crate::apply::SourceLocks;
use crate::client::ApiWriter;
use crate::daemon::{self, Daemon, Event, Reporter, Writers};
use crate::plan::Overrides;
use crate::reconcile::{Planner, Reconciler};
use crate::settings::{HumanDuration, Mode};
use crate::sync::{Syncer, UnrecordedResults};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Default interval of full checks for drift.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Maximum wait of a pass for a workspace that another process is writing.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(common: &Common, args: &RunArgs) -> Result<Exit, CommandError> {
    // A daemon must not depend on the user who starts it, so it never prompts.
    let common = &common.unattended();
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events.clone())?;
    let settings = context::resolve(common)?;
    let dry_run = args.dry_run || settings.host.daemon.mode == Mode::DryRun;
    if !dry_run {
        refuse_swapped_state(&settings)?;
    }
    let access = if dry_run { AccessMode::Read } else { AccessMode::Serve };
    let Some(place) = open_unless_stopped(common, access, &mut inbox).await else {
        return Ok(Exit::Success);
    };
    let mut place = place?;
    let _alone = place.daemon_lock.take();
    let planner = Planner { unchanged: Some(Arc::default()), ..place.planner(Overrides::default()) };
    let voice: Arc<dyn Reporter> = if common.prints_for_terminal() {
        Arc::new(Terminal::new(output::style(common)))
    } else {
        Arc::new(Log::default())
    };
    let host = &place.settings.host.daemon;
    let interval = args.interval.or(host.interval).map_or(INTERVAL, HumanDuration::get);
    let about = services::about(&place, args, interval, dry_run);
    let warnings = about.warnings.clone();
    let (publisher, open) = match services::open(&place, args, about, &*voice).await {
        Ok(opened) => opened,
        Err(failure) => {
            place.close().await;
            return Err(failure);
        }
    };
    let hands = match (&place.state, dry_run) {
        (Some(state), false) => {
            let syncing = SourceLocks::default();
            let writer = ApiWriter::new(&place.reader);
            let (told, stop) = (Arc::clone(&voice), Arc::clone(&stopping));
            let syncer = Syncer {
                writer: writer.clone(),
                state: state.clone(),
                source_locks: syncing.clone(),
                clock: context::clock(),
                unrecorded: UnrecordedResults::default(),
            };
            let reconciler = Reconciler {
                planner: planner.clone(),
                writer,
                state: state.clone(),
                holder: "run",
                lock_wait: LOCK_TIMEOUT,
                should_stop: Arc::new(move || daemon::is_stopping(&stop)),
                on_actions: Arc::new(move |plan, results| {
                    results
                        .iter()
                        .for_each(|(n, result)| told.action_finished(plan, &plan.actions[*n], result));
                }),
                source_locks: syncing,
            };
            Some(Writers { reconciler: Arc::new(reconciler), syncer })
        }
        _ => None,
    };
    let at = if place.is_local() { "the local platform".to_owned() } else { place.url() };
    voice.info(&format!(
        "watching {} for {at}{}",
        place.settings.root.display(),
        if dry_run { " (dry run: changes are only logged)" } else { "" }
    ));
    warnings.iter().for_each(|warning| voice.warning(warning));
    let daemon = Daemon {
        root: place.settings.root.clone(),
        cookie_path: hands.as_ref().map(|hands| hands.reconciler.state.cookie_path()),
        interval,
        quiet_period: place.quiet_period(),
        planner,
        write_access: hands,
        cache: Arc::clone(&place.reading.cache),
        file_index: place.file_index.clone(),
        is_emptied: place.is_emptied,
        reporter: voice,
        publisher,
        variables: place.settings.variables(),
        clock: context::clock(),
    };
    // Free the files loaded for the start; otherwise the daemon would keep them in memory.
    let local = place.into_local();
    // Run on a worker thread, next to the tasks it communicates with, to avoid thread switches.
    if let Err(error) = tokio::spawn(daemon.run(events, inbox)).await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    open.close().await;
    if let Some(local) = local {
        local.stop().await;
    }
    Ok(Exit::Success)
}

/// Opens the command context; returns `None` once a shutdown is requested.
async fn open_unless_stopped(
    common: &Common,
    access: AccessMode,
    inbox: &mut UnboundedReceiver<Event>,
) -> Option<Result<CommandContext, CommandError>> {
    let common = common.clone();
    // In a task of its own, because it may block on files and on another process.
    let opening = tokio::spawn(async move { CommandContext::open(&common, access).await });
    tokio::select! {
        opened = opening => match opened {
            Ok(opened) => Some(opened),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        },
        () = daemon::wait_for_stop(inbox) => None,
    }
}

/// Refuses a state directory inside a symlinked root.
///
/// The next deployment would replace it.
fn refuse_swapped_state(settings: &crate::settings::Settings) -> Result<(), CommandError> {
    let inside = settings.state_dir.starts_with(&settings.root);
    let swapped = std::fs::symlink_metadata(&settings.root).is_ok_and(|root| root.is_symlink());
    if inside && swapped {
        let root = settings.root.display();
        return Err(CommandError::usage(&format!(
            "{root} is a symlink, and its target may be switched with the state in it; choose another state directory with \
             --state-dir"
        )));
    }
    Ok(())
}
