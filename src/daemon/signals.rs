//! Signals to events: one thread, one channel.

use super::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: finish the current calls, start nothing new, end.
    Stop,
    /// SIGHUP: read the files again.
    Reload,
    /// SIGUSR1: look at everything now.
    Now,
}

/// Set once a stop was asked for.
pub type Stopping = Arc<AtomicBool>;

/// Sends signals as events from now on. The second SIGTERM or SIGINT ends the process at once.
///
/// # Errors
/// When the system refuses a handler.
pub fn listen(events: UnboundedSender<Event>) -> io::Result<Stopping> {
    let stopping: Stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset and sets it, the second one exits.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let signal = match signal {
                SIGHUP => Signal::Reload,
                SIGUSR1 => Signal::Now,
                _ => Signal::Stop,
            };
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(stopping)
}

/// Was a stop asked for?
#[must_use]
pub fn is_set(stopping: &Stopping) -> bool {
    stopping.load(Ordering::SeqCst)
}

/// Waits until a stop is asked for.
pub async fn stopped(inbox: &mut UnboundedReceiver<Event>) {
    while let Some(event) = inbox.recv().await {
        if matches!(event, Event::Signal(Signal::Stop)) {
            return;
        }
    }
}
