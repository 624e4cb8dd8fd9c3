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

pub use deceptive::{is_invisible_or_bidi, invalid_name_char};
pub use declared::{ConfigValue, FieldPath, LeafValue, SecretRef, Segment, Template};
pub use desired::{
    BrokenFile, Definition, Desired, DesiredSource, DesiredWorkspace, Missed, Moved, Overlap, SourceLocation, PlatformUrl,
    Removed, RemovedAction, UnchangedWorkspace, Suspend, SyncSpec, TestSpec, Schedule,
};
pub use fields::SortedMap;
pub use fingerprint::{Fingerprint, FingerprintKey};
pub use folded::CompressedWorkspace;
pub use ids::{InvalidId, NonEmpty, Scope, SourceId, SourceKey, SourceName, WorkspaceRef, WorkspaceId};
pub use inventory::{
    Answered, LastApplied, DeclarationHash, ReadbackState, ReadbackMap, Forgotten, Former, Intent, IntentKind, Inventory, ManagedSource,
    SentConnect,
};
pub use observed::{Readback, ObservedSource, is_hidden, is_masked};
pub use policy::{Adopt, Limit, MetadataPolicy, OnConflict, Policy, Prune};
pub use quoting::{toml_key, toml_string};
pub(crate) use resolved::wipe;
pub use resolved::{ExposedConfig, Metadata, ResolvedSource, OwnershipMarker};
pub use same::{same_in_any_order, same_value, unordered};
pub use walk::{DefinitionView, ValueRef, for_each_undeclared, zip_leaves};
pub use worded::{SortedKeys, CachedJson};

pub use crate::sensitive::{find_secrets, exposes_secret, is_secret, looks_secret};
