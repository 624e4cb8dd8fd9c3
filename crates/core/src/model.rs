//! Domain types: declared, observed and managed sources.
//!
//! Invariant: plain values without I/O. The types enforce rules: ids cannot be empty, a list of ids to clean up cannot
//! be empty, and a resolved secret has no `Debug`, `Display` or `Serialize`.

mod address;
mod cached_json;
mod codes;
pub mod compress;
mod compressed_workspace;
mod config_value;
mod confusable;
mod desired;
mod duration;
mod fingerprint;
mod ids;
mod inventory;
mod observed;
mod policy;
mod project;
mod quoting;
mod resolved;
mod same;
mod sorted_map;
mod zip_leaves;

pub use address::{ADDRESS_KEYS, Address, AddressParts, Place};
pub use cached_json::{CachedJson, SortedKeys};
pub use codes::{ActionKind, ActionOutcome, DataFreshness, ErrorKind, RunOutcome, WithheldReason};
pub use compressed_workspace::CompressedWorkspace;
pub use config_value::{ConfigValue, FieldPath, LeafValue, SecretRef, Segment, Template};
pub use confusable::{invalid_name_char, is_invisible_or_bidi};
pub use desired::{
    Definition, DesiredSource, DesiredWorkspace, Missed, Moved, Overlap, Removed, RemovedAction, Schedule,
    SourceLocation, Suspend, SyncSpec, TestSpec,
};
pub use duration::format_duration;
pub use fingerprint::{Fingerprint, FingerprintKey};
pub use ids::{
    Account, InvalidId, NonEmpty, Scope, SourceId, SourceKey, SourceName, WorkspaceId, WorkspaceRef,
};
pub use inventory::{
    Answered, Connection, DeclarationHash, Forgotten, Former, Intent, IntentKind, Inventory, LastApplied,
    ManagedSource, ReadbackMap, ReadbackState, SentConnect,
};
pub use observed::{ObservedSource, Readback, is_hidden, is_masked};
pub use policy::{Adopt, Limit, MetadataPolicy, OnConflict, Policy, Prune};
pub use project::{BrokenFile, Desired, PlatformUrl, UnchangedWorkspace};
pub use quoting::{toml_key, toml_string};
pub use resolved::wipe;
pub use resolved::{ExposedConfig, Metadata, OwnershipMarker, ResolvedSource};
pub use same::{same_in_any_order, same_value, unordered};
pub use sorted_map::SortedMap;
pub use zip_leaves::{DefinitionView, ValueRef, for_each_undeclared, zip_leaves};

pub use wellspring_sensitive::{exposes_secret, find_secrets, is_secret, looks_secret};
