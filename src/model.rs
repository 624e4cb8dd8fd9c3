//! Domain types: declared, observed and managed sources.
//!
//! Invariant: plain values without I/O. The types enforce rules: ids cannot be empty, a list of ids to clean up cannot
//! be empty, and a resolved secret has no `Debug`, `Display` or `Serialize`.

mod deceptive;
mod declared;
pub(crate) mod deflate;
mod desired;
mod fields;
mod fingerprint;
mod folded;
mod ids;
mod inventory;
mod observed;
mod policy;
mod quoting;
mod resolved;
mod same;
mod walk;
mod worded;

pub use deceptive::{is_deceptive, unfit_for_a_name};
pub use declared::{Declared, FieldPath, Leaf, SecretRef, Segment, Template};
pub use desired::{
    BrokenFile, Definition, Desired, DesiredSource, DesiredUnit, Missed, Moved, Overlap, Place, PlatformUrl,
    Removed, RemovedAction, SettledUnit, Suspend, SyncSpec, TestSpec, When,
};
pub use fields::Fields;
pub use fingerprint::{Fingerprint, FingerprintKey};
pub use folded::FoldedUnit;
pub use ids::{InvalidId, NonEmpty, Scope, SourceId, SourceKey, SourceName, Unit, WorkspaceId};
pub use inventory::{
    Answered, Applied, Declaration, Echoed, Echoes, Forgotten, Former, Intent, IntentKind, Inventory, Owned,
    Sent,
};
pub use observed::{Echo, ObservedSource, is_hidden, is_masked};
pub use policy::{Adopt, Limit, MetadataPolicy, OnConflict, Policy, Prune};
pub use quoting::{toml_key, toml_string};
pub(crate) use resolved::wipe;
pub use resolved::{ExposedConfig, Metadata, ResolvedSource, Stamp};
pub use same::{same_in_any_order, same_value, unordered};
pub use walk::{Halves, Part, beside, side_by_side};
pub use worded::{Sorted, Worded};

pub use crate::sensitive::{exposed, exposes_secret, is_secret, looks_secret};
