//! Searches that remember their result, so that repeated questions about a text cost its length once.
//!
//! Without them, a value that consists of the beginnings of secrets costs the square of its length.

use std::ops::Range;

/// Finds the end of the run of bytes of one kind that contains a position.
pub(super) struct RunEnd {
    is_member: fn(u8) -> bool,
    known: Range<usize>,
}

impl RunEnd {
    pub(super) fn new(is_member: fn(u8) -> bool) -> Self {
        Self { is_member, known: 0..0 }
    }

    /// Returns the first position from `from` on without such a byte.
    pub(super) fn of(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < bytes.len() && (self.is_member)(bytes[at]) {
            if self.known.contains(&at) {
                at = self.known.end;
                break;
            }
            at += 1;
            work::add(1);
        }
        self.known = from..at;
        at
    }
}

/// Finds the next byte of one kind.
pub(super) struct NextByte {
    is_wanted: fn(u8) -> bool,
    /// There is none in this range, and one at its end unless the text ends there.
    known: Range<usize>,
}

impl NextByte {
    pub(super) fn new(is_wanted: fn(u8) -> bool) -> Self {
        Self { is_wanted, known: 0..0 }
    }

    /// Returns the first position from `from` on with such a byte, or the end of the text.
    pub(super) fn at(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < bytes.len() && !(self.is_wanted)(bytes[at]) {
            if self.known.contains(&at) {
                at = self.known.end;
                break;
            }
            at += 1;
            work::add(1);
        }
        self.known = from..at;
        at
    }
}

/// Counts the examined bytes in tests.
pub(super) mod work {
    #[cfg(test)]
    thread_local!(static EXAMINED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

    #[cfg(not(test))]
    pub(crate) fn add(_: usize) {}

    #[cfg(test)]
    pub(crate) fn add(bytes: usize) {
        EXAMINED.set(EXAMINED.get() + bytes);
    }

    /// Returns the number of bytes examined since the last call.
    #[cfg(test)]
    pub(crate) fn take() -> usize {
        EXAMINED.take()
    }
}
