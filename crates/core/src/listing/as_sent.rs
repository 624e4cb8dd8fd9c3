//! Rows that show a source byte for byte as it was sent.
//!
//! Invariant: such a row has exactly the values of its text, so every method returns the result of the parsed row. All
//! other rows are parsed.

use super::ListRow;
use crate::model::{ObservedSource, Readback, ResolvedSource, SourceId, SourceName};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Sources that were sent, by name.
pub type SentSources = HashMap<SourceName, Arc<ResolvedSource>>;

impl ListRow<'_, &RawValue> {
    /// Returns the row if it shows a source as it was sent, and every value in it can be read.
    pub(super) fn as_sent(&self, sent: &SentSources) -> Option<ObservedSource> {
        let source = sent.get(&SourceName::parse(&self.name).ok()?)?;
        let (metadata, config) = (self.metadata?, self.connection_config?);
        let is_as_sent = source.marker().is_some()
            && is_json_of(self.kind?, source.kind())
            && is_json_of(metadata, &source.metadata())
            && is_json_of(config, &source.expose_connection_config())
            && !may_hide(metadata)
            && !may_hide(config);
        if !is_as_sent {
            return None;
        }
        let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
        let id = |raw: Option<&RawValue>| SourceId::try_from(value(raw?)?).ok();
        Some(ObservedSource {
            id: id(self.source_id).or_else(|| id(self.id)),
            name: source.name().clone(),
            kind: Some(source.kind().to_owned()),
            echo: Readback::of_sent(source),
        })
    }
}

/// Compares while it serialises, so that no secret is copied.
fn is_json_of(text: &RawValue, value: &(impl Serialize + ?Sized)) -> bool {
    let mut rest = RemainingText(text.get().as_bytes());
    serde_json::to_writer(&mut rest, value).is_ok() && rest.0.is_empty()
}

/// Accepts only the text that it starts with.
struct RemainingText<'a>(&'a [u8]);

impl io::Write for RemainingText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns true if a value may be null or a placeholder, which are unknown even if they were sent.
fn may_hide(text: &RawValue) -> bool {
    /// First byte of `•`.
    const BULLET: u8 = 0xe2;
    let starts_placeholder =
        |pair: &[u8]| matches!(pair, [b'"', b'*' | b'x' | b'X' | b'<' | b'[' | b'(' | BULLET]);
    text.get().contains("null") || text.get().as_bytes().windows(2).any(starts_placeholder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, read};
    use crate::listing::{RelevantRows, parse};
    use crate::model::{
        ConfigValue, Definition, DesiredSource, DesiredWorkspace, FieldPath, FingerprintKey, Inventory,
        LastApplied, OwnershipMarker, ReadbackMap, SecretRef, SortedMap,
    };
    use crate::plan::{compare, record_readback};
    use proptest::prelude::*;
    use secrecy::SecretString;
    use std::collections::BTreeMap;

    /// A source that was sent, with the body of a list that shows it.
    struct Sent {
        desired: Arc<DesiredWorkspace>,
        applied: LastApplied,
        key: FingerprintKey,
        sources: SentSources,
        body: String,
    }

    fn sent(values: Vec<ConfigValue>, secret: &str, metadata: BTreeMap<String, Value>) -> Sent {
        let text = "[workspace]\nid = \"w\"\n[sources.a]\ntype = \"t\"\n[sources.a.connection_config]\nhost = \"h\"\n";
        let file = SourceFile { path: "w.toml".into(), text: Ok(text) };
        let desired = read(&[file], &|_| None).desired.workspaces[0].open();
        let password = ConfigValue::Secret(SecretRef::Env("PASSWORD".into()));
        let fields = values.into_iter().enumerate().map(|(n, value)| (format!("f{n}"), value));
        let definition = Arc::new(Definition {
            kind: "t".into(),
            connection_config: fields.chain([("password".to_owned(), password)]).collect(),
            metadata: metadata.into_iter().collect(),
        });
        let key = FingerprintKey::new([7; 32]);
        let path = FieldPath::root("connection_config").key("password");
        let applied = LastApplied {
            definition: Arc::clone(&definition).into(),
            secrets: BTreeMap::from([(path, key.fingerprint(secret))]),
            echo: ReadbackMap::default(),
            stamp: None,
            key_id: key.id().to_owned(),
            sync: None,
            sync_since: None,
        }
        .with_cached_marker(&key);
        let marker = OwnershipMarker {
            fingerprint: applied.marker_fingerprint(&key),
            owner: None,
            writer: key.id().into(),
        };
        let name = SourceName::parse("a").unwrap();
        let source =
            ResolvedSource::new(name.clone(), definition, vec![Arc::new(SecretString::from(secret))])
                .with_marker(marker);
        let config = serde_json::to_string(&source.expose_connection_config()).unwrap();
        let metadata = serde_json::to_string(&source.metadata()).unwrap();
        let body = format!(
            r#"{{"status":"success","data":[{{"id":7,"name":"a","type":"t","connection_config":{config},"metadata":{metadata}}}]}}"#
        );
        Sent { desired, applied, key, sources: SentSources::from([(name, Arc::new(source))]), body }
    }

    /// Reads a list in both ways.
    fn both(sent: &Sent, body: &[u8]) -> [Result<Vec<ObservedSource>, super::super::ListError>; 2] {
        let inventory = Inventory::default();
        let relevant = || RelevantRows::new(&sent.desired, &inventory, &sent.key);
        [parse(body, Some(&relevant())), parse(body, Some(&relevant().with_sent(&sent.sources)))]
    }

    fn value() -> impl Strategy<Value = ConfigValue> {
        let text = prop_oneof![
            prop::sample::select(vec!["***", "xxx", "x", "•••", "•", "<redacted>", "(masked)", "null", ""]),
            prop::sample::select(vec!["db.example.com", "\u{1}\"\\é", "*/5 * * * *", "xavier"]),
        ];
        let leaf = prop_oneof![
            any::<i64>().prop_map(ConfigValue::Integer),
            prop::num::f64::NORMAL.prop_map(ConfigValue::Float),
            any::<bool>().prop_map(ConfigValue::Bool),
            text.prop_map(|text| ConfigValue::String(text.to_owned())),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let table = |items: Vec<ConfigValue>| -> SortedMap<ConfigValue> {
                items.into_iter().enumerate().map(|(n, item)| (format!("k{n}"), item)).collect()
            };
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(ConfigValue::Array),
                prop::collection::vec(inner, 0..3).prop_map(move |items| ConfigValue::Table(table(items))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_row_as_sent_is_what_the_exhaustive_way_reads(
            values in prop::collection::vec(value(), 0..4),
            secret in prop::sample::select(vec!["hunter2", "***", "xxx", "", "\"\n"]),
            about in prop::sample::select(vec!["orders", "***", "", "[hidden]"]),
            edit in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            rotated in any::<bool>(),
            edited in any::<bool>(),
        ) {
            let metadata = BTreeMap::from([("about".to_owned(), Value::from(about))]);
            let sent = sent(values, secret, metadata);
            let mut body = sent.body.clone().into_bytes();
            if let Some((at, byte)) = edit {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let [exhaustive, short] = both(&sent, &body);
            prop_assert_eq!(&exhaustive, &short);
            let Ok(rows) = exhaustive.and_then(|rows| Ok((rows, short?))) else { return Ok(()) };
            let Some((row, as_sent)) = rows.0.first().zip(rows.1.first()) else { return Ok(()) };
            let recorded = record_readback(sent.applied.clone(), row, &sent.key);
            prop_assert_eq!(&recorded, &record_readback(sent.applied.clone(), as_sent, &sent.key));
            let mut secrets = recorded.secrets.clone();
            if rotated {
                secrets.values_mut().for_each(|print| *print = sent.key.fingerprint("another"));
            }
            let mut definition = Definition::clone(&recorded.definition);
            if edited {
                definition.kind.push('2');
            }
            let source = DesiredSource { definition: Arc::new(definition), ..sent.desired.sources[0].clone() };
            for secrets in [None, Some(&secrets)] {
                let compared = |row| compare(&source, &recorded, secrets, row, &sent.key);
                prop_assert_eq!(compared(row), compared(as_sent));
            }
        }
    }

    #[test]
    fn only_an_unchanged_and_readable_row_is_as_sent() {
        let is_as_sent = |values: Vec<ConfigValue>, secret: &str, edit: [&str; 2]| {
            let sent = sent(values, secret, BTreeMap::new());
            let [_, rows] = both(&sent, sent.body.replacen(edit[0], edit[1], 1).as_bytes());
            rows.unwrap()[0].echo.sent_fingerprint().is_some()
        };
        let same = ["", ""];
        assert!(is_as_sent(vec![ConfigValue::Float(1.0), ConfigValue::Array(vec![])], "hunter2", same));
        assert!(!is_as_sent(vec![ConfigValue::String("***".into())], "hunter2", same));
        assert!(!is_as_sent(vec![], "***", same));
        for edit in [
            ["hunter2", "hunter3"],
            ["\"t\"", "\"u\""],
            ["\"a\"", "\"b\""],
            ["\"password\":", "\"password\": "],
            ["writer", "writes"],
        ] {
            assert!(!is_as_sent(vec![], "hunter2", edit), "{edit:?}");
        }
    }
}
