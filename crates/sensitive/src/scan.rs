//! A search that remembers its result, so that repeated questions about a text cost its length once.
//!
//! Without it, a value that consists of the beginnings of secrets costs the square of its length.

use std::ops::Range;

/// Finds the next byte that is of a class, or is not.
pub(super) struct NextByte {
    is_member: fn(u8) -> bool,
    wanted: bool,
    /// There is none in this range, and one at its end unless the text ends there.
    known: Range<usize>,
}

impl NextByte {
    pub(super) fn new(is_member: fn(u8) -> bool, wanted: bool) -> Self {
        Self { is_member, wanted, known: 0..0 }
    }

    /// Returns the first position from `from` on with such a byte, or the end of the text.
    pub(super) fn at(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < bytes.len() && (self.is_member)(bytes[at]) != self.wanted {
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
