//! What the daemon publishes of itself: one immutable value, shared, replaced as a whole.
//!
//! Of what the files say it holds only what is shown, and beside each source what a pass, a sync or a test
//! has left behind. Rows are derived when somebody asks.

mod shown;

pub use shown::Shown;

use crate::manifest::Diagnostic;
use crate::model::{FoldedUnit, Place, SourceKey, SourceName, Unit};
use crate::state::RunOutcome;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a source is pending right after its file was saved.
const CHANGED: &str = "changed in the files";

/// How everything stands.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What stays the same for the life of the daemon.
    pub about: Arc<About>,
    /// When this was published.
    pub at: Timestamp,
    /// How the files stand.
    pub files: Arc<Files>,
    /// Why nothing can be done on the platform at all, if so.
    pub platform: Option<Trouble>,
    /// Sorted by unit.
    pub workspaces: Vec<Arc<Workspace>>,
    /// The passes of the last day, oldest first; spans without any are left out.
    pub passes: Arc<VecDeque<PassSpan>>,
}

/// How long a span of passes is.
pub(super) const PASS_SPAN: SignedDuration = SignedDuration::from_mins(15);

/// So many spans are kept: a day of them.
pub(super) const PASS_SPANS: usize = 96;

/// The passes that ended within a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSpan {
    /// Counted from the epoch.
    pub number: i64,
    /// Good ones.
    pub good: u32,
    /// The others.
    pub failed: u32,
    /// How long the longest took.
    pub longest: Duration,
}

/// Counts a pass that ended now.
pub fn passed(spans: &mut VecDeque<PassSpan>, took: Duration, good: bool, now: Timestamp) {
    let number = now.as_second() / PASS_SPAN.as_secs();
    if spans.back().is_none_or(|last| last.number != number) {
        // Where the clock went back, what lies ahead of it counts no more.
        spans.retain(|span| span.number < number && span.number > number - PASS_SPANS as i64);
        spans.push_back(PassSpan { number, good: 0, failed: 0, longest: Duration::ZERO });
    }
    if let Some(last) = spans.back_mut() {
        let counted = if good { &mut last.good } else { &mut last.failed };
        *counted = counted.saturating_add(1);
        last.longest = last.longest.max(took);
    }
}

/// Who publishes.
#[derive(Debug, Clone)]
pub struct About {
    /// The tree.
    pub root: PathBuf,
    /// Where the platform is, for people.
    pub platform: String,
    /// Everything is checked for drift this often.
    pub interval: SignedDuration,
    /// It only tells.
    pub dry_run: bool,
    /// When it started.
    pub started: Timestamp,
}

/// How the files stand.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// When they were last read, and this reading counted.
    pub read_at: Option<Timestamp>,
    /// How many there are.
    pub count: usize,
    /// The commit that is checked out.
    pub commit: Option<Arc<str>>,
    /// The errors in them, the first few.
    pub rejected: Vec<Diagnostic>,
    /// How many errors there are.
    pub errors: usize,
    /// Why the directory cannot be read as a whole, if so.
    pub unreadable: Option<String>,
    /// They name another platform than this process speaks to; nothing is done.
    pub elsewhere: bool,
}

/// Something that is wrong, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// A stable word.
    pub kind: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// When it was first seen.
    pub since: Timestamp,
}

/// How one workspace (and scope) stands.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// What the files say of it; folded up, while nobody else has it open.
    pub desired: Arc<FoldedUnit>,
    /// Of each of its sources, sorted by name, what is shown.
    pub declared: Arc<[Shown]>,
    /// The broken file that holds it back at its last good reading.
    pub held_by: Option<Arc<str>>,
    /// When its last pass ended.
    pub passed_at: Option<Timestamp>,
    /// When the platform last answered its list.
    pub answered_at: Option<Timestamp>,
    /// When its last good pass ended.
    pub good_at: Option<Timestamp>,
    /// Why its last pass stopped.
    pub error: Option<Trouble>,
    /// How each source of `declared` stands, in its order.
    pub facts: Vec<Facts>,
    /// What is planned and not done, by action.
    pub to_do: BTreeMap<&'static str, u32>,
    /// What would be done and is not.
    pub withheld: Vec<Withheld>,
    /// Sources on the platform that are neither declared nor ours.
    pub unmanaged: usize,
    /// The first of them.
    pub strangers: Vec<Stranger>,
    /// Drift that was put right, the latest few.
    pub mended: Vec<Mended>,
}

/// What is known of one declared source.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Files and platform compared.
    pub config: Config,
    /// Why it is not in sync.
    pub why: Option<Box<str>>,
    /// It is ours on the platform.
    pub ours: bool,
    /// Its next firing.
    pub next: Option<Timestamp>,
    /// When its last good sync ended.
    pub last_success: Option<Timestamp>,
    /// Its last sync.
    pub last: Option<Box<LastSync>>,
    /// The one before, while a call is under way.
    pub before: Option<Box<LastSync>>,
    /// Its data is older than promised.
    pub stale: bool,
    /// Its last connection test.
    pub test: Option<Box<Test>>,
}

/// CONFIG: what the files say, compared with the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// An action on it failed.
    Failing,
    /// Something would be done to it and is withheld.
    Withheld,
    /// Something is still to be done to it.
    Pending,
    /// `suspend`
    Suspended,
    /// No pass has looked at it yet.
    #[default]
    Unknown,
    /// The platform is as the files say.
    InSync,
}

/// DATA: a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSync {
    /// When it ended, or began if it still runs.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: RunOutcome,
    /// What the platform or the failure said, when that is known.
    pub message: Option<Box<str>>,
    /// How long it took, once it has ended.
    pub took: Option<Duration>,
    /// How many records it read, where the platform says.
    pub records: Option<u64>,
}

/// A source on the platform that is neither declared nor ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stranger {
    /// Its name.
    pub name: SourceName,
    /// Its type, when shown.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// CONN: a connection test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Test {
    /// When it ended.
    pub at: Timestamp,
    /// The platform could connect.
    pub up: bool,
    /// What the platform said.
    pub message: String,
    /// Since when the answer is the same.
    pub since: Timestamp,
}

/// Something that would be done and is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The source's key.
    pub source: SourceKey,
    /// Its name on the platform.
    pub name: SourceName,
    /// `cleanup`, `replace`, `adopt` or `connect`
    pub action: &'static str,
    /// A stable word.
    pub code: &'static str,
    /// Why.
    pub reason: String,
    /// Where the files say so.
    pub at: Option<Place>,
    /// What to write or type to allow it.
    pub allow: Option<String>,
}

/// Drift that was put right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// The source's key.
    pub source: SourceKey,
    /// Its name on the platform.
    pub name: SourceName,
    /// What was done.
    pub action: &'static str,
    /// What had been found.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Trouble {
    /// Returns true if it is that of the platform as a whole, which is shown once.
    #[must_use]
    pub fn is_of_the_platform(&self) -> bool {
        matches!(self.kind, "unreachable" | "auth" | "token")
    }
}

impl Snapshot {
    /// The workspace of this unit.
    #[must_use]
    pub fn workspace(&self, unit: &Unit) -> Option<&Workspace> {
        let at = self.workspaces.binary_search_by(|workspace| workspace.unit().cmp(unit)).ok()?;
        self.workspaces.get(at).map(AsRef::as_ref)
    }

    /// The unit of this scope whose workspace's id is displayed like this.
    #[must_use]
    pub fn unit_shown_as(&self, id: &str, scope: &str) -> Option<&Unit> {
        let mut units = self.workspaces.iter().map(|workspace| workspace.unit());
        units.find(|unit| unit.workspace.shown() == id && unit.scope.as_str() == scope)
    }
}

impl Facts {
    /// Does something of it fail: an action, its last sync, its connection?
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.config == Config::Failing
            || self.last.as_deref().is_some_and(LastSync::is_bad)
            || self.test.as_ref().is_some_and(|test| !test.up)
    }
}

impl Config {
    /// As it is shown.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Withheld => "withheld",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Unknown => "not looked at yet",
            Self::InSync => "in sync",
        }
    }
}

impl Workspace {
    /// One of which nothing is known but what the files say.
    #[must_use]
    pub fn new(desired: Arc<FoldedUnit>) -> Self {
        let declared = Shown::all(&desired.open());
        Self {
            facts: vec![Facts::default(); declared.len()],
            declared,
            desired,
            held_by: None,
            passed_at: None,
            answered_at: None,
            good_at: None,
            error: None,
            to_do: BTreeMap::new(),
            withheld: Vec::new(),
            unmanaged: 0,
            strangers: Vec::new(),
            mended: Vec::new(),
        }
    }

    /// The workspace and scope.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.desired.unit
    }

    /// The files say this of it now; what is known of each name stays.
    pub fn declare(&mut self, desired: Arc<FoldedUnit>) {
        if Arc::ptr_eq(&self.desired, &desired) {
            return;
        }
        let (was, now) = (self.desired.open(), desired.open());
        let mut facts = Vec::with_capacity(now.sources.len());
        for source in &now.sources {
            let before = was.source(&source.name).map(|before| before.definition == source.definition);
            let known = self.facts_of(&source.name).map(std::mem::take).unwrap_or_default();
            facts.push(match before {
                Some(false) => Facts { config: Config::Pending, why: Some(CHANGED.into()), ..known },
                _ => known,
            });
        }
        self.facts = facts;
        self.declared = Shown::all(&now);
        self.desired = desired;
    }

    /// What the files say of the source of this name.
    #[must_use]
    pub fn source(&self, name: &SourceName) -> Option<&Shown> {
        self.declared.get(self.place(name)?)
    }

    /// What is known of the source of this name.
    pub fn facts_of(&mut self, name: &SourceName) -> Option<&mut Facts> {
        let at = self.place(name)?;
        self.facts.get_mut(at)
    }

    fn place(&self, name: &SourceName) -> Option<usize> {
        self.declared.binary_search_by(|source| source.name.cmp(name)).ok()
    }
}

impl Files {
    /// Was every file accepted when they were last read?
    #[must_use]
    pub fn are_accepted(&self) -> bool {
        self.read_at.is_some() && self.errors == 0 && self.unreadable.is_none() && !self.elsewhere
    }
}

impl LastSync {
    /// Has it ended?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome != RunOutcome::Running
    }

    /// Did it not do what it was to do?
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.outcome, RunOutcome::Failed | RunOutcome::Unknown)
    }
}
