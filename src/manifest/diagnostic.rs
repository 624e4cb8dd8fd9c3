//! What is wrong with the files, and where.

use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One finding in one place. Serialises to `code`, `severity`, `file`, `line`, `column`, `message`, `help`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of finding it is; stable across releases.
    pub code: Code,
    /// Does it break the file?
    pub severity: Severity,
    /// Path below the tree's root.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What was found. Holds no value of a secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The bytes of `file` it points at.
    #[serde(skip)]
    pub span: Range<usize>,
    /// What is said beside the place itself.
    #[serde(skip)]
    pub label: Option<String>,
    /// Other places that explain it, perhaps in other files.
    #[serde(skip)]
    pub labels: Vec<Label>,
    /// It is about the tree as a whole: told once, however many files show it.
    #[serde(skip)]
    pub(super) once: bool,
}

/// A place that explains a [`Diagnostic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Path below the tree's root.
    pub file: Arc<str>,
    /// The bytes it points at.
    pub span: Range<usize>,
    /// What is said beside them.
    pub text: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file contributes nothing until it is mended.
    Error,
    /// Worth a look.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kinds of findings. A code, once published, keeps its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is shown: `W012`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

codes! {
    /// The file cannot be read.
    Unreadable = "W001",
    /// The file is not TOML.
    Syntax = "W002",
    /// TOML 1.1, where only 1.0 is read.
    NewerToml = "W003",
    /// Tables or lists nested beyond any use.
    TooDeep = "W004",
    /// More sources than can be held.
    TooMuch = "W005",
    /// A key nobody reads.
    UnknownKey = "W010",
    /// A value of another type than the key takes.
    WrongType = "W011",
    /// One of our keys inside `connection_config`.
    Misplaced = "W012",
    /// A key that must stand is missing.
    Missing = "W013",
    /// A value the key does not take.
    InvalidValue = "W014",
    /// Two keys that exclude each other.
    Exclusive = "W015",
    /// A name with characters in it that cannot be seen.
    Unseen = "W016",
    /// A file without `[workspace]`.
    NoWorkspace = "W020",
    /// An alias `wellspring.toml` does not have.
    UnknownAlias = "W021",
    /// One workspace named twice.
    SameWorkspace = "W022",
    /// A variable that is not set here.
    UnsetVariable = "W023",
    /// A `wellspring.toml` below the root.
    NestedSettings = "W024",
    /// A secret in plain text.
    PlainSecret = "W030",
    /// A reference where none is resolved.
    MisplacedReference = "W031",
    /// A reference that cannot be read.
    BadReference = "W032",
    /// `metadata.wellspring`.
    ReservedMetadata = "W033",
    /// A value JSON cannot hold.
    NotSendable = "W034",
    /// A key declared twice in one workspace.
    DuplicateKey = "W040",
    /// A name declared twice in one workspace.
    DuplicateName = "W041",
    /// Files that give one workspace different policies.
    PolicyConflict = "W042",
    /// `[moved]` or `[removed]` at odds with the sources.
    Contradiction = "W043",
    /// Not a duration.
    BadDuration = "W050",
    /// Not a cron expression.
    BadCron = "W051",
    /// Not a time zone.
    UnknownZone = "W052",
    /// A schedule that never fires.
    NeverFires = "W053",
    /// A template `wellspring.toml` does not have.
    UnknownTemplate = "W060",
    /// An `unset` that removes nothing.
    UnsetNothing = "W061",
    /// Not a platform's URL.
    BadUrl = "W070",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
