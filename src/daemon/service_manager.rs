//! Notifications to the service manager: state, status line and watchdog.
//!
//! Nothing is sent if `NOTIFY_SOCKET` is not set.

use super::event_loop::DaemonStatus;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

pub(super) struct ServiceManager {
    stage: ServiceState,
    status: Option<DaemonStatus>,
    /// Time without a ping after which the service manager kills the service.
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
    /// True once a failed notification was logged.
    failure_logged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServiceState {
    /// A load is requested, the first one or again.
    LoadRequested,
    Reading,
    Ready,
    Stopping,
}

impl ServiceManager {
    pub(super) fn new() -> Self {
        Self {
            stage: ServiceState::LoadRequested,
            status: None,
            watchdog: sd_notify::watchdog_enabled(),
            last_ping: None,
            failure_logged: false,
        }
    }

    pub(super) fn load_requested(&mut self) {
        if self.stage == ServiceState::Stopping
            || std::mem::replace(&mut self.stage, ServiceState::LoadRequested) != ServiceState::Ready
        {
            return;
        }
        // Both must be in one message: the time identifies the reload.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "could not read the monotonic clock"),
        }
    }

    /// Records the start of a load, which fulfils the earlier requests.
    pub(super) fn load_started(&mut self) {
        if self.stage == ServiceState::LoadRequested {
            self.stage = ServiceState::Reading;
        }
    }

    /// Records the end of a load, successful or not.
    pub(super) fn load_finished(&mut self) {
        if self.stage == ServiceState::Reading {
            self.stage = ServiceState::Ready;
            self.notify(&[NotifyState::Ready]);
        }
    }

    /// Reports that the daemon is shutting down.
    pub(super) fn stopping(&mut self) {
        if self.stage != ServiceState::Stopping {
            self.stage = ServiceState::Stopping;
            self.notify(&[NotifyState::Stopping]);
        }
    }

    /// Sends the status line if it changed.
    pub(super) fn set_status(&mut self, standing: DaemonStatus) {
        if self.status.as_ref() != Some(&standing) {
            self.notify(&[NotifyState::Status(&standing.to_string())]);
            self.status = Some(standing);
        }
    }

    /// Pings the watchdog if necessary; call once per iteration of the loop.
    ///
    /// Returns how long the loop may sleep, at most `sleep`.
    pub(super) fn watchdog_ping(&mut self, sleep: Duration) -> Duration {
        let Some(patience) = self.watchdog else { return sleep };
        if self.last_ping.is_none_or(|at| at.elapsed() >= patience / 4) {
            self.last_ping = Some(Instant::now());
            self.notify(&[NotifyState::Watchdog]);
        }
        sleep.min(patience / 3)
    }

    fn notify(&mut self, states: &[NotifyState<'_>]) {
        let told = sd_notify::notify(states);
        if let Err(error) = told
            && !std::mem::replace(&mut self.failure_logged, true)
        {
            tracing::warn!(%error, "could not send the status to the service manager (NOTIFY_SOCKET)");
        }
    }
}
