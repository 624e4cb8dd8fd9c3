//! Lists of words, written as text.

use std::sync::LazyLock;

/// Words that are split at first use, because every key of a file is compared with them.
pub(crate) type WordList = LazyLock<Vec<&'static str>>;

/// Words separated by white space.
#[derive(Debug, Clone, Copy)]
pub struct Words(pub &'static str);

impl Words {
    /// Returns true if `word` is one of them.
    #[must_use]
    pub fn contains(self, word: &str) -> bool {
        self.iter().any(|listed| listed == word)
    }

    /// Iterates over the words in order.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        self.0.split_ascii_whitespace()
    }
}
