//! Addresses that the sources of an account claim.

use crate::model::{
    ADDRESS_KEYS, Address, ConfigValue, Definition, DesiredWorkspace, FieldPath, Fingerprint, FingerprintKey,
    IntentKind, Inventory, LastApplied, LeafValue, ObservedSource, Place, Readback, SourceId, SourceName,
    is_hidden,
};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A row as the platform lists it.
pub(super) struct AccountRow<'a> {
    pub(super) kind: String,
    pub(super) address: Address,
    /// Settings of the annotation; `None` if it is unreadable.
    pub(super) settings: Option<Map<String, Value>>,
    /// The parts of the address, as a part of `connection_config`.
    pub(super) location: &'a Map<String, Value>,
}

/// Addresses by their place, those of declared sources first.
pub(super) struct Claims<'a> {
    key: &'a FingerprintKey,
    by_place: HashMap<Place, Vec<Claim<'a>>>,
}

struct Claim<'a> {
    address: Address,
    name: &'a SourceName,
    definition: &'a Definition,
    /// Set if it was sent.
    applied: Option<&'a LastApplied>,
}

/// The claims of one source on one row.
pub(super) struct Claimed<'c> {
    key: &'c FingerprintKey,
    name: &'c SourceName,
    claims: Vec<&'c Claim<'c>>,
}

impl<'a> Claims<'a> {
    /// Collects the addresses of declared, managed, forgotten and open sources.
    pub(super) fn new(
        desired: &'a DesiredWorkspace,
        inventory: &'a Inventory,
        key: &'a FingerprintKey,
    ) -> Self {
        let mut claims = Self { key, by_place: HashMap::new() };
        for source in &desired.sources {
            claims.add(&source.name, &source.definition, None);
        }
        for intent in inventory.intents.values().rev() {
            if let IntentKind::Connect(applied) = &intent.kind {
                claims.add(&intent.name, &applied.definition, Some(applied));
            }
        }
        let forgotten = inventory.forgotten.iter().map(|(name, kept)| (name, &kept.managed));
        for (name, owned) in inventory.managed.iter().chain(forgotten) {
            claims.add(name, &owned.applied.definition, Some(&owned.applied));
            for applied in owned.sent.iter().rev().filter_map(|sent| sent.applied.as_deref()) {
                claims.add(name, &applied.definition, Some(applied));
            }
        }
        claims
    }

    fn add(&mut self, name: &'a SourceName, definition: &'a Definition, applied: Option<&'a LastApplied>) {
        if let Some(address) = Address::of(definition) {
            let place = address.place().clone();
            let claim = Claim { address, name, definition, applied };
            self.by_place.entry(place).or_default().push(claim);
        }
    }

    /// Returns the source at this address, with everything that it had there.
    pub(super) fn claimed_by(&self, address: &Address) -> Option<Claimed<'_>> {
        let here = self.by_place.get(address.place())?;
        let name = here.iter().find(|claim| claim.address.is_same(address))?.name;
        let claims = here.iter().filter(|claim| claim.name == name && claim.address.is_same(address));
        Some(Claimed { key: self.key, name, claims: claims.collect() })
    }
}

impl Claimed<'_> {
    /// Returns the row as that of the source.
    ///
    /// A row that shows a definition which was sent, secrets included, gets its fingerprint: an account keeps no
    /// marker, and its values are the evidence instead.
    pub(super) fn fold(self, id: Option<SourceId>, row: AccountRow<'_>) -> ObservedSource {
        let mut shown: Option<(usize, Fingerprint, &Claim<'_>)> = None;
        let mut is_clear = true;
        for claim in &self.claims {
            let Some((applied, settings)) = claim.applied.zip(row.settings.as_ref()) else { continue };
            let Some(leaves) = shown_leaves(applied, settings, self.key) else { continue };
            let marker = applied.marker_fingerprint(self.key);
            match shown {
                Some((most, _, _)) if leaves < most => {}
                Some((most, other, _)) if leaves == most => is_clear &= marker == other,
                _ => {
                    shown = Some((leaves, marker, claim));
                    is_clear = true;
                }
            }
        }
        // A row that shows two definitions, because they differ in what no row shows, is evidence of neither.
        let shown = shown.filter(|_| is_clear);
        let last = || self.claims.iter().find(|claim| claim.applied.is_some()).copied();
        let chosen = shown.map(|(_, _, claim)| claim).or_else(last).or_else(|| self.claims.first().copied());
        let fingerprint = shown.map(|(_, marker, _)| marker);
        let config = row.settings.map(|mut settings| {
            // The address is equal, so it is shown as declared.
            let definition = chosen.map(|claim| claim.definition);
            settings.extend(definition.map(written_address).unwrap_or_else(|| row.location.clone()));
            settings.into()
        });
        let mut echo = Readback::of_values(config, None);
        echo.fingerprint = fingerprint.map(|fingerprint| fingerprint.to_string());
        ObservedSource {
            id,
            name: self.name.clone(),
            kind: Some(chosen.map_or(row.kind, |claim| claim.definition.kind.clone())),
            echo,
        }
    }
}

/// Returns the address as a definition writes it.
fn written_address(definition: &Definition) -> Map<String, Value> {
    let parts = definition.connection_config.iter().filter(|(key, _)| ADDRESS_KEYS.contains(&&**key));
    parts.filter_map(|(key, value)| Some((key.to_string(), literal(value)?))).collect()
}

fn literal(value: &ConfigValue) -> Option<Value> {
    match value {
        ConfigValue::String(text) => Some(text.as_str().into()),
        ConfigValue::Integer(number) => Some((*number).into()),
        ConfigValue::Array(items) => items.iter().map(literal).collect::<Option<Vec<_>>>().map(Value::from),
        _ => None,
    }
}

/// Counts the sent values that a row shows; returns `None` if the row shows a different value.
///
/// Login, options and every secret must be shown.
fn shown_leaves(applied: &LastApplied, settings: &Map<String, Value>, key: &FingerprintKey) -> Option<usize> {
    if applied.key_id != key.id() {
        return None;
    }
    let echo = Readback::of_values(Some(settings.clone().into()), None);
    let shown = echo.leaves();
    let is_annotated = |path: &FieldPath| {
        let key = path.as_str().strip_prefix("connection_config.").and_then(|rest| rest.split('.').next());
        key.is_some_and(|key| ["username", "password", "url", "options"].contains(&key))
    };
    let mut count = 0;
    for (path, leaf) in &applied.definition.leaves() {
        let is_shown = match (leaf, shown.get(path)) {
            (LeafValue::Secret(_), Some(shown)) => applied.secrets.get(path) == Some(&key.fingerprint(shown)),
            (LeafValue::Secret(_), None) => false,
            (LeafValue::Plain(value), Some(shown)) => is_hidden(shown) || same_text(value, shown),
            (LeafValue::Plain(_), None) => !is_annotated(path),
        };
        if !is_shown {
            return None;
        }
        count += usize::from(shown.contains_key(path));
    }
    Some(count)
}

/// Returns true if both are the same text; an annotation may write a number or a boolean as text.
fn same_text(one: &Value, other: &Value) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text(one) == text(other)
}
