//! The steps of a plan, and the reasons for removals.

use super::ActionKind;
use crate::model::{ManagedSource, SourceId, SourceName, SyncSpec};
use std::sync::Arc;

/// The kind of an [`Action`](super::Action).
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Adopt the listed source, so that it is managed from now on; needs no request.
    Adopt {
        /// Index into `desired.sources`.
        index: usize,
        /// The new inventory entry.
        entry: Arc<ManagedSource>,
    },
    /// Connect a source that does not exist.
    Connect {
        /// Index into `desired.sources`.
        index: usize,
    },
    /// Connect a new definition under the name of a managed source.
    Replace {
        /// Index into `desired.sources`.
        index: usize,
        /// Recorded id of the old source.
        old: SourceId,
    },
    /// Clean up a managed source.
    Cleanup {
        /// The recorded id.
        id: SourceId,
        /// The reason for the removal.
        removal: Removal,
    },
    /// Delete the inventory entry; needs no request.
    Forget,
    /// Record a new schedule; needs no request.
    Schedule {
        /// Index into `desired.sources`.
        index: usize,
        /// The previous schedule.
        before: Option<SyncSpec>,
    },
}

/// The reason for a cleanup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// No longer declared.
    ///
    /// Counts against `max_cleanup`.
    Undeclared,
    /// `[removed]`.
    ///
    /// Counts against `max_cleanup`.
    Removed,
    /// `[moved]`: removed once the new name exists.
    ///
    /// Counts against `max_cleanup`.
    Moved(SourceName),
    /// An older row of ours under a name that has a newer one; not counted.
    Superseded,
}

impl Removal {
    /// Returns the stable word for it, in JSON and in plan ids.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Undeclared => "undeclared",
            Self::Removed => "removed",
            Self::Moved(_) => "moved",
            Self::Superseded => "superseded",
        }
    }
}

impl Step {
    /// Returns the kind of the action.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Adopt { .. } => ActionKind::Adopt,
            Self::Connect { .. } => ActionKind::Connect,
            Self::Replace { .. } => ActionKind::Replace,
            Self::Cleanup { .. } => ActionKind::Cleanup,
            Self::Forget => ActionKind::Forget,
            Self::Schedule { .. } => ActionKind::Schedule,
        }
    }

    /// Returns the id on the platform that the action applies to.
    #[must_use]
    pub fn source_id(&self) -> Option<&SourceId> {
        match self {
            Self::Replace { old, .. } => Some(old),
            Self::Cleanup { id, .. } => Some(id),
            Self::Adopt { entry: owned, .. } => owned.id.as_ref(),
            _ => None,
        }
    }

    /// Returns true if the action counts against `max_cleanup`.
    #[must_use]
    pub fn counts_as_removal(&self) -> bool {
        matches!(self, Self::Cleanup { removal, .. } if *removal != Removal::Superseded)
    }

    /// Returns the order of execution: nothing is removed before its replacement.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Adopt { .. } => 0,
            Self::Connect { .. } => 1,
            Self::Replace { .. } => 2,
            Self::Cleanup { .. } => 3,
            Self::Forget => 4,
            Self::Schedule { .. } => 5,
        }
    }
}
