//! Tests of single outcomes of recovery.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use wellspring::listing;
use wellspring::model::{
    Answered, ConfigValue, Definition, FingerprintKey, Intent, IntentKind, Inventory, LastApplied, SourceId,
    SourceKey, SourceName,
};
use wellspring::plan::recover;

fn source_id(text: &str) -> SourceId {
    SourceId::from_json(&text.into()).unwrap()
}

/// Returns an inventory with one connect of `a`, answered with this id.
fn connected_as(id: &str, key: &FingerprintKey) -> Inventory {
    let host = ("host".to_owned(), ConfigValue::String("h1".into()));
    let definition = Definition {
        kind: "database".to_owned(),
        connection_config: [host].into_iter().collect(),
        metadata: Default::default(),
    };
    let applied = LastApplied {
        definition: Arc::new(definition).into(),
        secrets: BTreeMap::new(),
        echo: Default::default(),
        stamp: None,
        key_id: key.id().to_owned(),
        sync: None,
        sync_since: None,
    };
    let intent = Intent {
        number: 1,
        name: SourceName::parse("a").unwrap(),
        key: SourceKey::parse("a").unwrap(),
        kind: IntentKind::Connect(Arc::new(applied)),
        before: Vec::new(),
        list_lacked_ours: false,
        declared: None,
        recorded_at: Timestamp::UNIX_EPOCH,
        answer: Some(Answered { id: Some(source_id(id)) }),
    };
    Inventory { intents: [(1, intent)].into(), ..Inventory::default() }
}

#[test]
fn an_answered_id_that_different_rows_share_is_not_recorded() {
    let key = FingerprintKey::new([7; 32]);
    let id_after = |list: &str| -> Option<SourceId> {
        let listing = listing::parse(list.as_bytes(), None).unwrap();
        let times = (Timestamp::UNIX_EPOCH, SignedDuration::ZERO);
        let recovered = recover(connected_as("7", &key), &listing, &key, times);
        recovered.inventory.managed.values().next()?.id.clone()
    };
    let row = |name: &str, host: &str| {
        format!(r#"{{"id":"7","name":"{name}","type":"database","connection_config":{{"host":"{host}"}}}}"#)
    };
    let (ours, other) = (row("a", "h1"), row("b", "h9"));
    let list = |rows: &[&str]| format!(r#"{{"status":"success","data":[{}]}}"#, rows.join(","));
    assert_eq!(id_after(&list(&[&ours])), Some(source_id("7")));
    assert_eq!(id_after(&list(&[&ours, &ours])), Some(source_id("7")), "one row listed twice");
    assert_eq!(id_after(&list(&[&ours, &other])), None);
}
