//! Exit codes and the errors that lead to them.

use crate::client::RemoteError;
use crate::error::error_chain;
use crate::report;
use crate::store::{LockError, StoreError};
use std::process::ExitCode;

/// The exit codes; if several apply, the first in this list wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 130: interrupted.
    Interrupted,
    /// 64: invalid command line.
    Usage,
    /// 5: the platform rejects the token.
    Auth,
    /// 1: failed, or partly applied.
    Failed,
    /// 3: invalid files, or a missing secret.
    Invalid,
    /// 4: refused by a guard.
    Refused,
    /// 2: changes are pending (`--detailed-exitcode`).
    Changes,
    /// 0: done, or nothing to do.
    Success,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Usage => 64,
            Self::Auth => 5,
            Self::Failed => 1,
            Self::Invalid => 3,
            Self::Refused => 4,
            Self::Changes => 2,
            Self::Success => 0,
        }
    }

    /// Returns the more severe of two exit codes.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.min(other)
    }

    /// Returns this exit code if `it` is true, else [`Exit::Success`].
    #[must_use]
    pub fn when(self, it: bool) -> Self {
        if it { self } else { Self::Success }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[derive(Debug)]
pub struct CommandError {
    pub exit: Exit,
    /// Error message, empty if it was printed already.
    pub message: String,
}

impl CommandError {
    /// Creates a failure for invalid files or settings.
    pub fn invalid(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit: Exit::Invalid, message: error_chain(error) }
    }

    /// Creates a failure for an operation that did not work.
    pub fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit: Exit::Failed, message: error_chain(error) }
    }

    /// Creates a failure for an invalid command line.
    pub fn usage(message: &str) -> Self {
        Self { exit: Exit::Usage, message: message.to_owned() }
    }

    pub fn print(self) -> Exit {
        if !self.message.is_empty() {
            note!("error: {}", report::escape::terminal(&self.message));
        }
        self.exit
    }
}

impl From<RemoteError> for CommandError {
    fn from(error: RemoteError) -> Self {
        Self { exit: if error.is_auth() { Exit::Auth } else { Exit::Failed }, message: error_chain(&error) }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(&error)
    }
}

impl From<LockError> for CommandError {
    fn from(error: LockError) -> Self {
        Self::failed(&error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::failed(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_graver_exit_code_wins() {
        let order = [130, 64, 5, 1, 3, 4, 2, 0];
        let all = [
            Exit::Interrupted,
            Exit::Usage,
            Exit::Auth,
            Exit::Failed,
            Exit::Invalid,
            Exit::Refused,
            Exit::Changes,
            Exit::Success,
        ];
        assert_eq!(all.map(Exit::code), order);
        assert_eq!(Exit::Changes.or(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::Success.or(Exit::Refused), Exit::Refused);
    }
}
