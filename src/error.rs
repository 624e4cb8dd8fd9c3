//! Text of an error with its causes.
//!
//! Invariant: no error prints its own cause, so each appears once.

use std::error::Error;

/// Formats an error and its sources on one line.
pub fn error_chain(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Iterates over the sources of an error, the nearest first.
pub fn causes<'e>(error: &'e dyn Error) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (**cause).source())
}
