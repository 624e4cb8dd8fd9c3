//! Resolves the secrets of the declared sources.
//!
//! Invariant: values leave this module as fingerprints, or in sources that are ready to be sent.

use crate::model::{
    ConfigValue, DesiredSource, DesiredWorkspace, FingerprintKey, ResolvedSource, SourceName,
};
use crate::plan::SecretState;
use crate::secrets::{Resolver, Secrets};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns the sources of a workspace whose secrets resolve, as they would be sent.
pub fn resolved(desired: &DesiredWorkspace, secrets: &Arc<Secrets>) -> Vec<ResolvedSource> {
    resolved_by(&mut Resolver::new(Arc::clone(secrets), &desired.names()), desired)
}

pub(super) fn resolved_by(resolver: &mut Resolver, desired: &DesiredWorkspace) -> Vec<ResolvedSource> {
    let mut resolved = |source: &DesiredSource| {
        Some(resolver.resolve(&source.definition).ok()?.into_source(source.name.clone()))
    };
    with_secrets(desired).filter_map(&mut resolved).collect()
}

fn with_secrets(desired: &DesiredWorkspace) -> impl Iterator<Item = &DesiredSource> {
    let refers =
        |source: &&DesiredSource| source.definition.connection_config.values().any(ConfigValue::has_secret);
    desired.sources.iter().filter(refers)
}

/// Returns the state of each source's secrets.
pub(super) fn secrets_of(
    desired: &DesiredWorkspace,
    resolver: &mut Resolver,
    key: &FingerprintKey,
) -> BTreeMap<SourceName, SecretState> {
    let mut state = |source: &DesiredSource| match resolver.resolve(&source.definition) {
        Ok(resolution) => SecretState::Resolved(resolution.fingerprints(key)),
        Err(missing) => SecretState::Missing(missing.to_string()),
    };
    with_secrets(desired).map(|source| (source.name.clone(), state(source))).collect()
}
