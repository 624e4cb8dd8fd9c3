//! What earlier readings learned: a file that is as it was, below settings that are as they were, is not
//! parsed again.

use super::diagnostic::Diagnostic;
use super::document::Span;
use super::workspace::FileReading;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// SHA-256 of a file's text.
pub type TextDigest = [u8; 32];

/// What was learned of each file.
#[derive(Default)]
pub struct Known {
    /// What every file was read by; `None` when that cannot be told again.
    pub(super) ground: Option<Ground>,
    pub(super) files: HashMap<Arc<str>, (TextDigest, Arc<Learned>)>,
}

/// What the meaning of a file depends on beside its text.
#[derive(PartialEq, Eq)]
pub(super) struct Ground {
    /// `wellspring.toml`; `None` when there is none.
    pub(super) settings: Option<TextDigest>,
    /// The variables that were looked up for it.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

/// What one file says, and what is wrong with it.
#[derive(Clone)]
pub(super) struct Learned {
    pub(super) reading: FileReading,
    pub(super) found: Vec<(Span, Diagnostic)>,
    /// Errors in the file itself, listed or not.
    pub(super) errors: usize,
    /// Bytes that its sources take.
    pub(super) weight: usize,
    /// The number of the settings among the documents.
    pub(super) settings: Option<u32>,
}

impl Known {
    /// What is known of a file with this text.
    pub(super) fn of(
        &self,
        ground: Option<&Ground>,
        path: &str,
        digest: Option<TextDigest>,
    ) -> Option<&Arc<Learned>> {
        ground.filter(|ground| self.ground.as_ref() == Some(ground))?;
        self.files.get(path).filter(|(known, _)| Some(*known) == digest).map(|(_, learned)| learned)
    }
}

impl Learned {
    /// The same where the file, and the settings, have these numbers among the documents.
    pub(super) fn numbered(this: &Arc<Self>, document: u32, settings: Option<u32>) -> Arc<Self> {
        if this.reading.document == document && this.settings == settings {
            return Arc::clone(this);
        }
        let mut learned = Self::clone(this);
        let before = learned.reading.document;
        for (span, _) in &mut learned.found {
            span.document = if span.document == before { document } else { settings.unwrap_or(document) };
        }
        learned.reading.renumber(document);
        learned.settings = settings;
        Arc::new(learned)
    }
}
