//! A compact map with sorted string keys.
//!
//! Every source has two, read far more often than built, so they are boxed slices without spare capacity.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// Fields of a table, sorted by key; keys are unique.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedMap<V>(Box<[(Box<str>, V)]>);

impl<V> SortedMap<V> {
    /// Returns true if there is a field with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.binary_search_by(|(other, _)| (**other).cmp(key)).is_ok()
    }

    /// Iterates over the values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<V> Default for SortedMap<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<V> Deref for SortedMap<V> {
    type Target = [(Box<str>, V)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Among fields with the same key, the last one wins.
impl<K: Into<Box<str>>, V> FromIterator<(K, V)> for SortedMap<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        let mut fields: Vec<(Box<str>, V)> =
            fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if !fields.is_sorted_by(|(one, _), (next, _)| one < next) {
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            fields.dedup_by(|later, kept| {
                let is_same = later.0 == kept.0;
                if is_same {
                    std::mem::swap(later, kept);
                }
                is_same
            });
        }
        Self(fields.into_boxed_slice())
    }
}

impl<K: Into<Box<str>>, V, const N: usize> From<[(K, V); N]> for SortedMap<V> {
    fn from(fields: [(K, V); N]) -> Self {
        fields.into_iter().collect()
    }
}

impl<V> IntoIterator for SortedMap<V> {
    type Item = (Box<str>, V);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a, V> IntoIterator for &'a SortedMap<V> {
    type Item = &'a (Box<str>, V);
    type IntoIter = std::slice::Iter<'a, (Box<str>, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Map<String, Value>> for SortedMap<Value> {
    fn from(map: Map<String, Value>) -> Self {
        map.into_iter().collect()
    }
}

impl From<SortedMap<Value>> for Map<String, Value> {
    fn from(fields: SortedMap<Value>) -> Self {
        fields.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }
}

impl<V: Serialize> Serialize for SortedMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for SortedMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Table<V> {
            type Value = SortedMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SortedMap<V>, A::Error> {
                let mut fields: Vec<(Box<str>, V)> = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Table(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_what_a_map_would_be(fields in proptest::collection::vec(("[ab]{0,2}", 0..9_u8), 0..8)) {
            let map: BTreeMap<String, u8> = fields.iter().cloned().collect();
            let table: SortedMap<u8> = fields.iter().cloned().collect();
            let json = serde_json::to_string(&table).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(&serde_json::from_str::<SortedMap<u8>>(&json).unwrap(), &table);
            let twice = format!("{{{}}}", fields.iter().map(|(key, n)| format!("{key:?}:{n}")).collect::<Vec<_>>().join(","));
            prop_assert_eq!(serde_json::from_str::<SortedMap<u8>>(&twice).unwrap(), table.clone());
            for key in ["", "a", "b", "aa", "ab", "c"] {
                prop_assert_eq!(table.contains_key(key), map.contains_key(key));
            }
        }
    }
}
