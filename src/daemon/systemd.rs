//! Notifications to the service manager: state, status line and watchdog.
//!
//! Nothing is sent if `NOTIFY_SOCKET` is not set.

use super::turn::Standing;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Connection to the service manager.
pub(super) struct Systemd {
    stage: Stage,
    standing: Option<Standing>,
    /// Time without a ping after which the service manager kills the service.
    watchdog: Option<Duration>,
    alive_at: Option<Instant>,
    /// True once a failed notification was logged.
    deaf: bool,
}

/// The state of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A load is requested, the first one or again.
    Asked,
    /// Loading.
    Reading,
    /// Loaded.
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

    /// Reports that a reload was requested.
    pub(super) fn reloading(&mut self) {
        if self.stage == Stage::Stopping || std::mem::replace(&mut self.stage, Stage::Asked) != Stage::Ready {
            return;
        }
        // Both must be in one message: the time identifies the reload.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "could not read the monotonic clock"),
        }
    }

    /// Records the start of a load, which fulfils the earlier requests.
    pub(super) fn reading(&mut self) {
        if self.stage == Stage::Asked {
            self.stage = Stage::Reading;
        }
    }

    /// Records the end of a load, successful or not.
    pub(super) fn read(&mut self) {
        if self.stage == Stage::Reading {
            self.stage = Stage::Ready;
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Reports that the daemon is shutting down.
    pub(super) fn stopping(&mut self) {
        if self.stage != Stage::Stopping {
            self.stage = Stage::Stopping;
            self.tell(&[NotifyState::Stopping]);
        }
    }

    /// Sends the status line if it changed.
    pub(super) fn stands(&mut self, standing: Standing) {
        if self.standing.as_ref() != Some(&standing) {
            self.tell(&[NotifyState::Status(&standing.to_string())]);
            self.standing = Some(standing);
        }
    }

    /// Pings the watchdog if necessary; call once per iteration of the loop.
    ///
    /// Returns how long the loop may sleep, at most `sleep`.
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
