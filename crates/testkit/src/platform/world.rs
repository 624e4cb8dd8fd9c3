//! Contents of the platform, and the effects of the six endpoints.

use super::Recorded;
use super::semantics::{CleanupManner, EchoManner, Fault, Ids, Semantics, SyncManner, Taken, TestManner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A source on the platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the source; its public form depends on [`Ids`].
    pub number: u64,
    pub name: String,
    pub kind: String,
    pub connection_config: Value,
    /// Null if none was sent.
    pub metadata: Value,
    /// Number of syncs.
    pub syncs: usize,
}

pub(super) type Place = (String, String);

#[derive(Default)]
pub(super) struct World {
    pub(super) semantics: Semantics,
    pub(super) token: String,
    pub(super) next: u64,
    pub(super) rows: BTreeMap<Place, Vec<Row>>,
    /// Rows that the next lists of a place still return, and the number of such lists.
    pub(super) stale: HashMap<Place, (Vec<Row>, usize)>,
    /// Number of connects of a name that are still refused.
    pub(super) reserved: HashMap<String, usize>,
    pub(super) calls: Vec<Recorded>,
    pub(super) once: Vec<(Option<String>, String, VecDeque<Fault>)>,
    pub(super) always: HashMap<String, Fault>,
}

/// A status and a body.
pub(super) type Answer = (u16, Value);

fn success(message: &str, data: &Value) -> Answer {
    (200, json!({"status": "success", "message": message, "data": data}))
}

pub(super) fn refusal(status: u16, message: &str) -> Answer {
    let word = if status == 409 { "conflict" } else { "error" };
    (status, json!({"status": word, "message": message, "data": null}))
}

impl World {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn fault(&mut self, workspace: &str, endpoint: &str) -> Option<Fault> {
        for (at, of, faults) in &mut self.once {
            if of == endpoint
                && at.as_deref().is_none_or(|at| at == workspace)
                && let Some(fault) = faults.pop_front()
            {
                return Some(fault);
            }
        }
        self.always.get(endpoint).cloned()
    }

    pub(super) fn act(
        &mut self,
        endpoint: &str,
        place: &Place,
        body: &Value,
        source_id: Option<&str>,
    ) -> Answer {
        match endpoint {
            "list" => self.list(place),
            "connect" => self.changed(place, |world| world.connect(place, body)),
            "cleanup" => self.changed(place, |world| world.cleanup(place, body)),
            "sync" => self.sync(place, body),
            "test-connection" => self.test(body),
            "schema" => self.schema(place, source_id.unwrap_or_default()),
            _ => refusal(404, "no such endpoint"),
        }
    }

    /// Runs a write, and makes the next lists outdated.
    fn changed(&mut self, place: &Place, write: impl FnOnce(&mut Self) -> Answer) -> Answer {
        let before = self.rows.get(place).cloned().unwrap_or_default();
        let answer = write(self);
        if self.semantics.list_lag > 0 {
            self.stale.insert(place.clone(), (before, self.semantics.list_lag));
        }
        answer
    }

    fn list(&mut self, place: &Place) -> Answer {
        let rows = match self.stale.get_mut(place) {
            Some((rows, left)) if *left > 0 => {
                *left -= 1;
                rows.clone()
            }
            _ => self.rows.get(place).cloned().unwrap_or_default(),
        };
        let rows: Vec<Value> = rows.iter().map(|row| self.shown(row)).collect();
        let (status, mut envelope) = success("listed", &json!(rows));
        for (key, value) in &self.semantics.page_fields {
            envelope[key] = value.clone();
        }
        (status, envelope)
    }

    fn id(&self, row: &Row) -> Value {
        match self.semantics.ids {
            Ids::Text => json!(format!("source_{}", row.number)),
            Ids::Number => json!(row.number),
            Ids::None => Value::Null,
        }
    }

    fn shown(&self, row: &Row) -> Value {
        let name = if self.semantics.capitals { row.name.to_uppercase() } else { row.name.clone() };
        let mut shown = json!({"name": name, "type": row.kind});
        if self.semantics.ids != Ids::None {
            shown["id"] = self.id(row);
        }
        let echo = |value: &Value| match self.semantics.echo {
            EchoManner::Masked => masked(value),
            EchoManner::Normalised => normalised(value),
            EchoManner::Everything | EchoManner::Nothing => value.clone(),
        };
        if self.semantics.echo != EchoManner::Nothing {
            shown["connection_config"] = echo(&row.connection_config);
            if !row.metadata.is_null() {
                shown["metadata"] = echo(&row.metadata);
            }
        }
        if self.semantics.echo == EchoManner::Normalised {
            shown["connection_config"]["ssl_mode"] = json!("prefer");
        }
        shown
    }

    fn connect(&mut self, place: &Place, body: &Value) -> Answer {
        let Some(sources) = body["sources"].as_array() else {
            return refusal(422, "sources is not a list");
        };
        let name = |source: &Value| source["name"].as_str().unwrap_or_default().to_owned();
        let names: Vec<String> = sources.iter().map(name).collect();
        if let Some(bad) = names.iter().position(|name| self.semantics.refused.contains(name)) {
            if self.semantics.partial_batches {
                sources[..bad].iter().for_each(|source| drop(self.put(place, source)));
            }
            return refusal(400, &format!("{} is not acceptable", names[bad]));
        }
        let reserved = names.iter().find(|name| self.reserved.get(*name).is_some_and(|left| *left > 0));
        if let Some(reserved) = reserved.cloned() {
            *self.reserved.entry(reserved.clone()).or_default() -= 1;
            return refusal(409, &format!("{reserved} is reserved"));
        }
        let rows = self.rows.entry(place.clone()).or_default();
        let taken = names.iter().find(|name| rows.iter().any(|row| row.name == **name));
        if let (Some(taken), Taken::Conflict) = (taken, self.semantics.taken) {
            return refusal(409, &format!("{taken} exists"));
        }
        let (mut connected, mut errors) = (Vec::new(), Vec::new());
        for source in sources {
            let name = name(source);
            if self.semantics.partial_connect.contains(&name) {
                errors.push(json!({"name": name, "message": "cannot be reached"}));
                continue;
            }
            let row = self.put(place, source);
            let name =
                if self.semantics.answers_capitals { row.name.to_uppercase() } else { row.name.clone() };
            let mut shown = json!({"name": name, "type": row.kind});
            if self.semantics.ids != Ids::None && self.semantics.answers_ids {
                shown["id"] = self.id(&row);
            }
            connected.push(shown);
        }
        let (status, mut envelope) = success("connected", &json!({"connected_sources": connected}));
        if !errors.is_empty() {
            envelope["errors"] = json!(errors);
        }
        (status, envelope)
    }

    fn put(&mut self, place: &Place, source: &Value) -> Row {
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        let mut row = Row {
            number: self.number(),
            name: text("name"),
            kind: text("type"),
            connection_config: source["connection_config"].clone(),
            metadata: source["metadata"].clone(),
            syncs: 0,
        };
        let upsert = self.semantics.taken == Taken::Upsert;
        let rows = self.rows.entry(place.clone()).or_default();
        match rows.iter_mut().find(|old| upsert && old.name == row.name) {
            Some(old) => {
                (row.number, row.syncs) = (old.number, old.syncs);
                *old = row.clone();
            }
            None => rows.push(row.clone()),
        }
        row
    }

    /// Selects sources as the API does: missing or empty `source_ids` mean all of them.
    fn chosen(&self, place: &Place, body: &Value) -> Vec<u64> {
        let rows = self.rows.get(place).map_or(&[][..], Vec::as_slice);
        let ids = body["source_ids"].as_array().filter(|ids| !ids.is_empty());
        let is_meant = |row: &&Row| ids.is_none_or(|ids| ids.contains(&self.id(row)));
        rows.iter().filter(is_meant).map(|row| row.number).collect()
    }

    fn cleanup(&mut self, place: &Place, body: &Value) -> Answer {
        let mut chosen = self.chosen(place, body);
        if self.semantics.cleanup == CleanupManner::OnlySome {
            chosen.truncate(1);
        }
        let rows = self.rows.entry(place.clone()).or_default();
        let gone = rows.extract_if(.., |row| chosen.contains(&row.number));
        self.reserved.extend(gone.map(|row| (row.name, self.semantics.reserved)));
        success("cleaned up", &json!({"deleted_count": chosen.len()}))
    }

    fn sync(&mut self, place: &Place, body: &Value) -> Answer {
        let chosen = self.chosen(place, body);
        let mut sources = Vec::new();
        for number in &chosen {
            let rows = self.rows.entry(place.clone()).or_default();
            let name = rows.iter().find(|row| row.number == *number).map(|row| row.name.clone());
            if let Some(name) = name.filter(|name| self.semantics.refused_syncs.contains(name)) {
                return refusal(400, &format!("{name} cannot be synced"));
            }
            if let Some(row) = rows.iter_mut().find(|row| row.number == *number) {
                row.syncs += 1;
                let row = row.clone();
                sources.push(json!({"id": self.id(&row), "name": row.name, "records_processed": 10}));
            }
        }
        let data = json!({"records_processed": 10 * chosen.len(), "sources": sources});
        match self.semantics.sync {
            SyncManner::Counts => success("synced", &data),
            SyncManner::Silent => success("synced", &Value::Null),
            SyncManner::Accepted => (202, Value::Null),
        }
    }

    fn test(&self, body: &Value) -> Answer {
        let config = &body["source_config"]["connection_config"];
        match &self.semantics.test_connection {
            TestManner::Works => success("connection works", &Value::Null),
            TestManner::Missing => refusal(404, "no such endpoint"),
            TestManner::FailsFor(texts) if texts.iter().any(|text| holds(config, text)) => {
                (200, json!({"status": "error", "message": "cannot connect", "data": null}))
            }
            TestManner::FailsFor(_) => success("connection works", &Value::Null),
        }
    }

    fn schema(&self, place: &Place, source_id: &str) -> Answer {
        let is_meant = |row: &&Row| match self.id(row) {
            Value::String(id) => id == source_id,
            id => source_id.parse().is_ok_and(|number: u64| id == number),
        };
        match self.rows.get(place).and_then(|rows| rows.iter().find(is_meant)) {
            Some(row) => {
                let columns = json!([{"name": "id", "type": "integer"}, {"name": "note", "type": "text"}]);
                success("schema", &json!({"tables": [{"name": row.name, "columns": columns}]}))
            }
            None => refusal(404, "no such source"),
        }
    }
}

fn holds(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| holds(item, wanted)),
        Value::Object(entries) => entries.values().any(|value| holds(value, wanted)),
        _ => false,
    }
}

fn masked(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let shown =
                    if wellspring_sensitive::looks_secret(key) { json!("***") } else { masked(value) };
                (key.clone(), shown)
            })
            .collect(),
        other => other.clone(),
    }
}

fn normalised(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), normalised(value))).collect()
        }
        Value::Number(number) => json!(number.to_string()),
        other => other.clone(),
    }
}
