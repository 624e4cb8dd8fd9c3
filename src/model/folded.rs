//! What the files say of one unit, folded up small while nobody looks at it: a daemon holds many units,
//! and looks at those that move.

use super::{DesiredUnit, Unit};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A [`DesiredUnit`], open or folded up. What is asked of it often stands beside it.
pub struct FoldedUnit {
    /// The workspace and scope.
    pub unit: Unit,
    /// The alias from `wellspring.toml`, when it has one.
    pub alias: Option<String>,
    /// The files that declare it, sorted.
    pub files: Vec<Arc<str>>,
    /// How many sources it has.
    pub count: usize,
    whole: Whole,
}

enum Whole {
    Open(Arc<DesiredUnit>),
    Folded {
        /// JSON, deflated.
        bytes: Box<[u8]>,
        /// What was last opened, for as long as anybody holds it.
        opened: Mutex<Weak<DesiredUnit>>,
    },
}

impl FoldedUnit {
    /// Leaves it open.
    #[must_use]
    pub fn open_as(unit: Arc<DesiredUnit>) -> Self {
        Self::new(&unit, Whole::Open(Arc::clone(&unit)))
    }

    /// Folds it up.
    #[must_use]
    pub fn folding(unit: Arc<DesiredUnit>) -> Self {
        let mut bytes = DeflateEncoder::new(Vec::new(), Compression::fast());
        match serde_json::to_writer(&mut bytes, &*unit).ok().and_then(|()| bytes.finish().ok()) {
            Some(bytes) => {
                let opened = Mutex::new(Arc::downgrade(&unit));
                Self::new(&unit, Whole::Folded { bytes: bytes.into(), opened })
            }
            // Memory is written to and every part can be serialised; should one not, it stays open.
            None => Self::open_as(unit),
        }
    }

    fn new(unit: &DesiredUnit, whole: Whole) -> Self {
        Self {
            unit: unit.unit.clone(),
            alias: unit.alias.clone(),
            files: unit.files.clone(),
            count: unit.sources.len(),
            whole,
        }
    }

    /// All of it.
    #[must_use]
    pub fn open(&self) -> Arc<DesiredUnit> {
        match &self.whole {
            Whole::Open(unit) => Arc::clone(unit),
            Whole::Folded { bytes, opened } => {
                let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                opened.upgrade().unwrap_or_else(|| {
                    let unit = Arc::new(unfold(bytes));
                    *opened = Arc::downgrade(&unit);
                    unit
                })
            }
        }
    }

    /// Do both say the same?
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.whole, &other.whole) {
            (Whole::Folded { bytes, .. }, Whole::Folded { bytes: others, .. }) => bytes == others,
            _ => *self.open() == *other.open(),
        }
    }

    /// How people name the workspace: its alias, else its id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.unit.workspace.as_str())
    }

    /// The names by which people may call the workspace: its alias, its id.
    #[must_use]
    pub fn names(&self) -> [&str; 2] {
        [self.label(), self.unit.workspace.as_str()]
    }
}

#[expect(clippy::expect_used, reason = "these bytes were made from such a unit, and never left this process")]
fn unfold(bytes: &[u8]) -> DesiredUnit {
    let json = std::io::read_to_string(DeflateDecoder::new(bytes)).expect("what was deflated here inflates");
    serde_json::from_str(&json).expect("what was written as JSON here is read back")
}

impl fmt::Debug for FoldedUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.open(), f)
    }
}

impl PartialEq for FoldedUnit {
    fn eq(&self, other: &Self) -> bool {
        self.says_the_same(other)
    }
}
