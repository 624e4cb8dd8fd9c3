//! What the service manager is told: that we are ready, read the files again, stop, and are alive.
//!
//! Where nobody listens (`NOTIFY_SOCKET` is not set) nothing is sent.

use super::turn::Standing;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Speaks to the service manager.
pub(super) struct Systemd {
    stage: Stage,
    standing: Option<Standing>,
    /// The service is killed when nothing was heard of it for this long.
    watchdog: Option<Duration>,
    alive_at: Option<Instant>,
    /// That nothing can be told was told.
    deaf: bool,
}

/// How far the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The files are to be read, for the first time or again.
    Asked,
    /// They are being read.
    Reading,
    /// They were read.
    Ready,
    Stopping,
}

impl Systemd {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Asked,
            standing: None,
            watchdog: sd_notify::watchdog_enabled(),
            alive_at: None,
            deaf: false,
        }
    }

    /// The files are to be read again because someone asked for it.
    pub(super) fn reloading(&mut self) {
        if self.stage == Stage::Stopping || std::mem::replace(&mut self.stage, Stage::Asked) != Stage::Ready {
            return;
        }
        // Both in one message: the time says which reload this belongs to.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "could not read the monotonic clock"),
        }
    }

    /// A reading of the files begins; what was asked for before is answered by it.
    pub(super) fn reading(&mut self) {
        if self.stage == Stage::Asked {
            self.stage = Stage::Reading;
        }
    }

    /// A reading of the files ended, well or not.
    pub(super) fn read(&mut self) {
        if self.stage == Stage::Reading {
            self.stage = Stage::Ready;
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Nothing new is started any more.
    pub(super) fn stopping(&mut self) {
        if self.stage != Stage::Stopping {
            self.stage = Stage::Stopping;
            self.tell(&[NotifyState::Stopping]);
        }
    }

    /// How things stand, in one line; told when it is another than before.
    pub(super) fn stands(&mut self, standing: Standing) {
        if self.standing.as_ref() != Some(&standing) {
            self.tell(&[NotifyState::Status(&standing.to_string())]);
            self.standing = Some(standing);
        }
    }

    /// To be called each time the loop comes round. Returns how long it may sleep, `sleep` at most.
    pub(super) fn alive(&mut self, sleep: Duration) -> Duration {
        let Some(patience) = self.watchdog else { return sleep };
        if self.alive_at.is_none_or(|at| at.elapsed() >= patience / 4) {
            self.alive_at = Some(Instant::now());
            self.tell(&[NotifyState::Watchdog]);
        }
        sleep.min(patience / 3)
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        let told = sd_notify::notify(states);
        if let Err(error) = told
            && !std::mem::replace(&mut self.deaf, true)
        {
            tracing::warn!(%error, "could not tell the service manager (NOTIFY_SOCKET) how things stand");
        }
    }
}
