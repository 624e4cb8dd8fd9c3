//! Stable codes of plans, as JSON reports, logs and metrics contain them.

use serde::{Serialize, Serializer};
use std::fmt;

/// Declares an enum whose variants each have one stable word.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the stable word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

codes! {
    /// The kind of an action. The order is that of the words: withheld actions are sorted by it.
    ActionKind {
        /// Manage a source that exists; sends nothing.
        Adopt = "adopt",
        /// Remove a managed source.
        Cleanup = "cleanup",
        /// Connect a source that does not exist.
        Connect = "connect",
        /// Delete the inventory entry; sends nothing.
        Forget = "forget",
        /// Connect a new definition of a managed source.
        Replace = "replace",
        /// Record a new schedule; sends nothing.
        Schedule = "schedule",
    }
}

codes! {
    /// The kind of failure that stopped a pass.
    ErrorKind {
        /// The platform does not accept the token.
        Auth = "auth",
        /// The platform speaks another form of the API.
        Dialect = "dialect",
        /// Internal error of this program.
        Fault = "fault",
        /// The files of the workspace have errors.
        Files = "files",
        /// The list is damaged, incomplete or implausible.
        List = "list",
        /// Another process works on the workspace.
        Locked = "locked",
        /// The platform refused or failed.
        Platform = "platform",
        /// The state failed.
        State = "state",
        /// The token cannot be read.
        Token = "token",
        /// The platform does not respond.
        Unreachable = "unreachable",
    }
}

codes! {
    /// The result of an action that was carried out.
    ActionOutcome {
        /// The action had its effect.
        Done = "done",
        /// The action had no effect, or not the intended one.
        Failed = "failed",
    }
}

codes! {
    /// The outcome of a sync.
    RunOutcome {
        /// The process still waits for the response.
        Running = "running",
        /// The platform reported success.
        Done = "done",
        /// The platform rejected it, or it was never sent.
        Failed = "failed",
        /// No response arrived; the firing counts as used.
        Unknown = "unknown",
        /// Deliberately not sent; the firing counts as used and the message has the reason.
        Skipped = "skipped",
        /// The clock was set back; earlier-recorded firings no longer delay the schedule.
        Rewound = "rewound",
    }
}

impl RunOutcome {
    /// Returns true if the sync failed or its result is unknown.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unknown)
    }
}

codes! {
    /// The freshness of a source's data.
    DataFreshness {
        /// Not older than `stale_after`.
        Fresh = "fresh",
        /// Older than `stale_after`.
        Stale = "stale",
        /// The platform may list another source under the name.
        Unknown = "unknown",
    }
}

codes! {
    /// The reason why an action is withheld.
    WithheldReason {
        /// `adopt` of the source does not permit to take over what exists.
        Adopt = "adopt",
        /// Another row has the same name.
        Ambiguous = "ambiguous",
        /// Git is writing the files.
        GitLock = "git-lock",
        /// More removals than `max_cleanup` permits.
        MaxCleanup = "max-cleanup",
        /// More replacements than `max_replace` permits.
        MaxReplace = "max-replace",
        /// Only metadata differs, and `metadata = "withhold"`.
        Metadata = "metadata",
        /// The source may have moved to another workspace, where it is not connected yet.
        Moving = "moving",
        /// The platform shows no id.
        NoId = "no-id",
        /// The target of `[moved]` is not connected yet.
        NotMovedYet = "not-moved-yet",
        /// The platform answered a connect and does not list the row yet.
        NotListed = "not-listed",
        /// The platform answered a connect and still lists the definition before.
        NotUpdated = "not-updated",
        /// `metadata.wellspring` names another owner.
        OtherOwner = "other-owner",
        /// The source was declared in another directory.
        OtherRoot = "other-root",
        /// Another state manages the source.
        OtherWriter = "other-writer",
        /// `protect = true`.
        Protected = "protected",
        /// `prune = "off"`.
        PruneOff = "prune-off",
        /// The write was undone or failed repeatedly.
        Quarantined = "quarantined",
        /// A declared source looks like the removed one under a new name.
        Rename = "rename",
        /// The response to the last write was lost.
        Settling = "settling",
        /// The row counts as ours by its name alone, and only since a moment ago.
        Unproven = "unproven",
        /// A file cannot be read or has errors.
        Unreadable = "unreadable",
        /// The files changed within the quiet time.
        Unsettled = "unsettled",
    }
}
