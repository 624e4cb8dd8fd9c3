//! `wellspring run`: watches the files and reconciles the platform continuously.

mod open;

use super::args::{Common, RunArgs};
use super::voice::{Log, Terminal};
use super::workplace::{self, Access, Workplace};
use super::{Exit, Failure, answer};
use crate::apply::Syncing;
use crate::daemon::{self, Daemon, Event, Hands, Voice};
use crate::plan::Overrides;
use crate::reconcile::{Planner, Reconciler};
use crate::remote::Writer;
use crate::settings::{Humane, Mode};
use crate::sync::{Syncer, Unrecorded};
use crate::tree;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Default interval of full checks for drift.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Maximum wait of a pass for a workspace that another process is writing.
const LOCK_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn run(common: &Common, args: &RunArgs) -> Result<Exit, Failure> {
    // A daemon must not depend on the user who starts it, so it never prompts.
    let common = &common.unattended();
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events.clone())?;
    let settings = workplace::resolve(common)?;
    let dry_run = args.dry_run || settings.host.daemon.mode == Mode::DryRun;
    if !dry_run {
        refuse_swapped_state(&settings)?;
    }
    let access = if dry_run { Access::Read } else { Access::Serve };
    let Some(place) = open_unless_stopped(common, access, &mut inbox).await else {
        return Ok(Exit::Done);
    };
    let mut place = place?;
    let _alone = place.alone.take();
    let planner = Planner { settled: Some(Arc::default()), ..place.planner(Overrides::default()) };
    let voice: Arc<dyn Voice> = if common.has_reader() {
        Arc::new(Terminal::new(answer::look(common)))
    } else {
        Arc::new(Log::default())
    };
    let host = &place.settings.host.daemon;
    let interval = args.interval.or(host.interval).map_or(INTERVAL, Humane::get);
    let about = open::about(&place, interval, dry_run);
    let (publisher, open) = match open::open(&place, args, about, &*voice).await {
        Ok(opened) => opened,
        Err(failure) => {
            place.close().await;
            return Err(failure);
        }
    };
    let hands = match (&place.state, dry_run) {
        (Some(state), false) => {
            let syncing = Syncing::default();
            let writer = Writer::new(&place.reader);
            let (told, stop) = (Arc::clone(&voice), Arc::clone(&stopping));
            let syncer = Syncer {
                writer: writer.clone(),
                state: state.clone(),
                syncing: syncing.clone(),
                clock: workplace::clock(),
                unrecorded: Unrecorded::default(),
            };
            let reconciler = Reconciler {
                planner: planner.clone(),
                writer,
                state: state.clone(),
                holder: "run",
                lock_wait: LOCK_WAIT,
                stopping: Arc::new(move || daemon::is_set(&stop)),
                on_actions: Arc::new(move |plan, results| {
                    results.iter().for_each(|(n, result)| told.action(plan, &plan.actions[*n], result));
                }),
                syncing,
            };
            Some(Hands { reconciler: Arc::new(reconciler), syncer })
        }
        _ => None,
    };
    let at = if place.is_local() { "the local platform".to_owned() } else { place.url() };
    voice.note(&format!(
        "watching {} for {at}{}",
        place.settings.root.display(),
        if dry_run { " (dry run: changes are only logged)" } else { "" }
    ));
    if place.reading.commit().is_none() && tree::uses_reftable(&place.settings.root) {
        voice.warn(
            "the Git repository uses reftable and the git program cannot read it: changes are recorded without a \
             commit; install Git 2.45 or newer",
        );
    }
    let daemon = Daemon {
        root: place.settings.root.clone(),
        bell: hands.as_ref().map(|hands| hands.reconciler.state.bell()),
        interval,
        settle: place.rest(),
        planner,
        hands,
        known: Arc::clone(&place.reading.known),
        memory: place.memory.clone(),
        emptied: place.emptied,
        voice,
        publisher,
        variables: place.settings.variables(),
        clock: workplace::clock(),
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
    Ok(Exit::Done)
}

/// Opens the command context; returns `None` once a shutdown is requested.
async fn open_unless_stopped(
    common: &Common,
    access: Access,
    inbox: &mut UnboundedReceiver<Event>,
) -> Option<Result<Workplace, Failure>> {
    let common = common.clone();
    // In a task of its own, because it may block on files and on another process.
    let opening = tokio::spawn(async move { Workplace::open(&common, access).await });
    tokio::select! {
        opened = opening => match opened {
            Ok(opened) => Some(opened),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        },
        () = daemon::stopped(inbox) => None,
    }
}

/// Refuses a state directory inside a symlinked root.
///
/// The next deployment would replace it.
fn refuse_swapped_state(settings: &crate::settings::Settings) -> Result<(), Failure> {
    let inside = settings.state_dir.starts_with(&settings.root);
    let swapped = std::fs::symlink_metadata(&settings.root).is_ok_and(|root| root.is_symlink());
    if inside && swapped {
        let root = settings.root.display();
        return Err(Failure::usage(&format!(
            "{root} is a symlink, and its target may be switched with the state in it; choose another state directory with \
             --state-dir"
        )));
    }
    Ok(())
}
