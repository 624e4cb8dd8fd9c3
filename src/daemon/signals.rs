//! Converts signals to events, on a thread of its own.

use super::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// The action that a signal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: finish running requests, start nothing new, exit.
    Stop,
    /// SIGHUP: load the files again.
    Reload,
    /// SIGUSR1: reconcile everything now.
    CheckNow,
}

/// Flag that is set once a shutdown is requested.
pub type Stopping = Arc<AtomicBool>;

/// Sends signals as events; the second SIGTERM or SIGINT exits the process at once.
pub fn listen(events: UnboundedSender<Event>) -> io::Result<Stopping> {
    let stopping: Stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order matters: the first signal finds the flag unset and sets it, the second one exits.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let signal = match signal {
                SIGHUP => Signal::Reload,
                SIGUSR1 => Signal::CheckNow,
                _ => Signal::Stop,
            };
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(stopping)
}

/// Returns true once a shutdown was requested.
pub fn is_stopping(stopping: &Stopping) -> bool {
    stopping.load(Ordering::SeqCst)
}

/// Waits until a shutdown is requested.
pub async fn wait_for_stop(inbox: &mut UnboundedReceiver<Event>) {
    while let Some(event) = inbox.recv().await {
        if matches!(event, Event::Signal(Signal::Stop)) {
            return;
        }
    }
}
