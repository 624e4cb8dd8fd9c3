//! Status of the daemon: published snapshot, and the line for the service manager.

use super::EventLoop;
use crate::client::TokenTrouble;
use crate::plan::ErrorKind;
use crate::report::{escape, humanize};
use jiff::Timestamp;
use std::fmt;

impl EventLoop {
    /// Publishes problems of the platform and other changes.
    ///
    /// Returns when to publish the remaining changes.
    pub(super) fn publish(&mut self) -> Option<Timestamp> {
        let now = self.now();
        let trouble = match &self.unreachable {
            Some(why) => Some((ErrorKind::Unreachable, why.clone())),
            None => self.token().map(|trouble| (trouble.kind(), trouble.to_string())),
        };
        self.daemon.publisher.platform(trouble, now);
        self.daemon.publisher.publish(now)
    }

    /// Returns the problem with the token while it pauses everything.
    fn token(&self) -> Option<&TokenTrouble> {
        if self.scheduler.is_paused() { self.token.as_ref() } else { None }
    }

    pub(super) fn status(&self) -> DaemonStatus {
        if self.is_stopping {
            return DaemonStatus::Stopping;
        }
        let Some(accepted) = &self.accepted_load else { return DaemonStatus::Loading };
        let (workspaces, sources, failing) = self.scheduler.totals();
        DaemonStatus::Running {
            platform_changed: self.platform_changed,
            token: self.token().cloned(),
            unreachable: self.unreachable.clone(),
            errors: accepted.errors,
            failing,
            sources,
            workspaces,
        }
    }
}

#[derive(PartialEq, Eq)]
pub(in crate::daemon) enum DaemonStatus {
    Stopping,
    Loading,
    Running {
        platform_changed: bool,
        token: Option<TokenTrouble>,
        unreachable: Option<String>,
        errors: usize,
        failing: usize,
        sources: usize,
        workspaces: usize,
    },
}

/// Formats one line, with problems first.
impl fmt::Display for DaemonStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("Shutting down after the requests in flight"),
            Self::Loading => f.write_str("Reading the files"),
            Self::Running {
                platform_changed: elsewhere,
                token,
                unreachable,
                errors,
                failing,
                sources,
                workspaces,
            } => {
                if *elsewhere {
                    f.write_str("wellspring.toml names another platform, restart to go there; ")?;
                }
                if let Some(trouble) = token {
                    write!(f, "{}; ", escape::terminal_line(&trouble.to_string()))?;
                }
                if let Some(why) = unreachable {
                    write!(f, "{}; ", escape::terminal_line(why))?;
                }
                if *errors > 0 {
                    write!(f, "{} in the files; ", humanize::count(*errors, "error"))?;
                }
                if *failing > 0 {
                    write!(f, "{} failing; ", humanize::count(*failing, "workspace"))?;
                }
                write!(
                    f,
                    "{} in {}",
                    humanize::count(*sources, "source"),
                    humanize::count(*workspaces, "workspace")
                )
            }
        }
    }
}
