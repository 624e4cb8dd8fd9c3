//! Diagnostics: errors and warnings with their locations.

use crate::model::DesiredSource;
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One error or warning at one location.
///
/// Serialises to `code`, `severity`, `file`, `line`, `column`, `message`, `help`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Kind of diagnostic; stable across releases.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// Path below the project root.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Description; contains no value of a secret.
    pub message: String,
    /// Suggested fix.
    pub help: Option<String>,
    /// Byte range in `file`.
    #[serde(skip)]
    pub span: Range<usize>,
    /// Text shown at the location itself.
    #[serde(skip)]
    pub label: Option<String>,
    /// Related locations, perhaps in other files.
    #[serde(skip)]
    pub labels: Vec<Label>,
    /// Byte ranges of `file` that are never displayed, even by other diagnostics.
    #[serde(skip)]
    pub redacted: Vec<Range<usize>>,
    /// True if the problem concerns the whole project and is reported only once.
    #[serde(skip)]
    pub(super) is_global: bool,
}

impl Diagnostic {
    /// Creates the warning that the suspension of a source has ended.
    ///
    /// `text` is the contents of the file that declares the source.
    #[must_use]
    pub fn suspend_ended(source: &DesiredSource, until: jiff::civil::Date, text: &str) -> Self {
        let line = source.at.line as usize;
        let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let length = text[before..].lines().next().map_or(0, str::len);
        Self {
            code: Code::SuspendEnded,
            severity: Severity::Warning,
            file: Arc::clone(&source.at.file),
            line: source.at.line,
            column: 1,
            message: format!("the suspension of this source ended on {until}"),
            help: Some("remove `suspend`, or write a later date for `until`".to_owned()),
            span: before..before + length,
            label: None,
            labels: Vec::new(),
            redacted: Vec::new(),
            is_global: false,
        }
    }
}

/// A location related to a [`Diagnostic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Path below the project root.
    pub file: Arc<str>,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// Text shown at the location.
    pub text: String,
}

/// The severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file contributes nothing until the error is fixed.
    Error,
    /// The file is used, but something in it is probably unintended.
    Warning,
}

macro_rules! codes {
    ($(#[doc = $title:literal] $name:ident = $code:literal,)*) => {
        /// The kinds of diagnostics; the meaning of a published code does not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the code as shown: `W012`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns a short title.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }.trim().trim_end_matches('.')
            }
        }
    };
}

codes! {
    /// Unreadable file.
    Unreadable = "W001",
    /// Invalid TOML.
    Syntax = "W002",
    /// TOML 1.1 syntax; files are TOML 1.0.
    NewerToml = "W003",
    /// Tables or lists nested too deeply.
    TooDeep = "W004",
    /// More sources or values than fit.
    TooMuch = "W005",
    /// Unknown key.
    UnknownKey = "W010",
    /// Value of the wrong type.
    WrongType = "W011",
    /// Wellspring key inside `connection_config`.
    Misplaced = "W012",
    /// Missing key.
    Missing = "W013",
    /// Invalid value.
    InvalidValue = "W014",
    /// Keys that exclude each other.
    Exclusive = "W015",
    /// Invisible characters in a name.
    Unseen = "W016",
    /// File without `[workspace]`.
    NoWorkspace = "W020",
    /// Unknown workspace alias.
    UnknownAlias = "W021",
    /// Workspace named twice.
    SameWorkspace = "W022",
    /// Environment variable not set.
    UnsetVariable = "W023",
    /// `wellspring.toml` below the project root.
    NestedSettings = "W024",
    /// Pattern in `files` that matches no file (warning).
    UnmatchedPattern = "W025",
    /// Environment variable that the host does not permit.
    RefusedVariable = "W026",
    /// Alias that no file uses (warning).
    UnusedAlias = "W027",
    /// Secret in plain text.
    PlainSecret = "W030",
    /// Secret reference where none is resolved.
    MisplacedReference = "W031",
    /// Invalid secret reference.
    BadReference = "W032",
    /// Reserved key `metadata.wellspring`.
    ReservedMetadata = "W033",
    /// Value that JSON cannot represent.
    NotSendable = "W034",
    /// Source declared twice in one workspace.
    DuplicateKey = "W040",
    /// Source name used twice in one workspace.
    DuplicateName = "W041",
    /// Files that set different policies for one workspace.
    PolicyConflict = "W042",
    /// `[moved]` or `[removed]` that contradicts the sources.
    Contradiction = "W043",
    /// Invalid duration.
    BadDuration = "W050",
    /// Invalid cron expression.
    BadCron = "W051",
    /// Unknown time zone.
    UnknownZone = "W052",
    /// Schedule that never fires.
    NeverFires = "W053",
    /// Days that crontab would choose otherwise (warning).
    OtherDays = "W054",
    /// `timezone` without effect (warning).
    ZoneUnused = "W055",
    /// `stale_after` shorter than the period (warning).
    StaleEarly = "W056",
    /// `suspend` that has ended (warning).
    SuspendEnded = "W057",
    /// Unknown template.
    UnknownTemplate = "W060",
    /// `unset` that removes nothing.
    UnsetNothing = "W061",
    /// Template that no source uses (warning).
    UnusedTemplate = "W062",
    /// Invalid platform URL.
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

/// Formats a key for messages: one line, of bounded length.
pub(super) fn display_key(text: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 80;
    let plain: String = text.chars().flat_map(char::escape_debug).take(MAX_SHOWN_CHARS + 1).collect();
    if plain.chars().count() > MAX_SHOWN_CHARS {
        format!("{}…", plain.chars().take(MAX_SHOWN_CHARS).collect::<String>())
    } else {
        plain
    }
}
