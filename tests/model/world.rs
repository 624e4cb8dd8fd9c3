//! The model's platform and witness.
//!
//! The witness knows the owner of every row and records breaches.

use crate::chance::Chance;
use crate::wire::Fate;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Upsert,
    Duplicate,
    Conflict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Echo {
    Nothing,
    /// `connection_config`, and no metadata: no stamp shows.
    Unstamped,
    Masked,
    Everything,
    Normalised,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ids {
    None,
    Text,
    Number,
}

/// Behaviour that the API leaves open, chosen once per history.
#[derive(Clone, Debug)]
pub(crate) struct Semantics {
    pub(crate) taken: Taken,
    pub(crate) echo: Echo,
    pub(crate) ids: Ids,
    /// Time until a write appears in lists, in milliseconds.
    ///
    /// Longer than `settle` in some.
    pub(crate) lag: u64,
    /// True if lists lag differently, up to `lag`, as long as faults last.
    pub(crate) uneven: bool,
    /// Time in milliseconds during which the list returns the old values of a source updated in place.
    pub(crate) stale: u64,
    /// True if a request may take effect later than `settle` after the client gave up.
    pub(crate) very_late: bool,
    /// True if the response of connect contains ids.
    pub(crate) answers_ids: bool,
    /// True if a refused batch of connects is carried out up to the refused one.
    pub(crate) partial: bool,
    /// Time for which a name stays reserved after its cleanup, in milliseconds.
    pub(crate) reserved: u64,
    /// True if cleanup refuses a batch with an unknown id.
    pub(crate) strict_cleanup: bool,
    pub(crate) has_test: bool,
}

impl Semantics {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        Self {
            taken: chance.one_of(&[Taken::Upsert, Taken::Duplicate, Taken::Conflict]),
            echo: chance.one_of(&[
                Echo::Nothing,
                Echo::Unstamped,
                Echo::Masked,
                Echo::Everything,
                Echo::Normalised,
            ]),
            ids: chance.one_of(&[Ids::Text, Ids::Text, Ids::Number, Ids::Number, Ids::None]),
            lag: chance.one_of(&[0, 0, 0, 700, 2_500, 2_500, 8_000, 60_000]),
            uneven: chance.percent(50),
            stale: chance.one_of(&[0, 0, 0, 0, 3_000, 30_000]),
            very_late: chance.percent(25),
            answers_ids: chance.percent(60),
            partial: chance.percent(30),
            reserved: chance.one_of(&[0, 0, 0, 60_000]),
            strict_cleanup: chance.percent(40),
            has_test: chance.percent(70),
        }
    }
}

/// A source on the platform.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) config: Value,
    pub(crate) metadata: Value,
    /// Creation time in milliseconds.
    pub(crate) since: u64,
    /// True if the content was changed after our last acknowledged write.
    ///
    /// Others edited it, or a request took effect late.
    pub(crate) disturbed: bool,
    /// True if others edited it before we had listed the result of our write.
    pub(crate) unseen: bool,
}

/// A request as received, with the knowledge at the time it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) endpoint: String,
    pub(crate) body: Value,
    /// Time up to which the list behind the decision was current.
    pub(crate) decided: u64,
    /// State directory that sent it.
    pub(crate) epoch: usize,
    pub(crate) late: bool,
}

pub(crate) type Answer = (u16, Value);

pub(crate) struct World {
    pub(crate) semantics: Semantics,
    pub(crate) chance: Chance,
    /// True while faults happen.
    pub(crate) faulty: bool,
    pub(crate) now: u64,
    pub(crate) rows: Vec<Row>,
    before: Vec<(u64, Vec<Row>)>,
    next: u64,
    /// Time of the last cleanup of a name.
    freed: BTreeMap<String, u64>,
    /// Requests that will take effect later.
    pub(crate) late: Vec<(u64, Arrived)>,
    /// Numbers of our rows: connected with this state, or adopted.
    pub(crate) ours: BTreeSet<u64>,
    pub(crate) epoch: usize,
    /// New numbers of the rows that have one, by the old.
    renumbered: BTreeMap<u64, u64>,
    /// Time up to which the last good list was current.
    ///
    /// `None` if the last one was not good.
    pub(crate) listed: Option<u64>,
    /// True if no removal is permitted in this pass.
    pub(crate) barred: bool,
    /// Names of which only old ids may be cleaned up.
    pub(crate) declared: BTreeSet<String>,
    pub(crate) writes: usize,
    /// Sync requests that count as used, by id and firing.
    spent: BTreeSet<(String, i64)>,
    pub(crate) breaches: Vec<String>,
    /// Number of checks of each invariant, and of those that an exemption excused.
    pub(crate) checks: BTreeMap<&'static str, Checks>,
    /// True if the log is kept, which takes as long as everything else.
    pub(crate) is_logged: bool,
    pub(crate) log: Vec<String>,
    /// True if the next cleanup removes nothing and says so.
    pub(crate) keeps_next: bool,
    /// Fates of the next requests to an endpoint, in order.
    pub(crate) script: Vec<(&'static str, Fate)>,
}

/// Number of checks of one invariant.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Checks {
    pub(crate) all: usize,
    /// Those that would have failed without an exemption.
    pub(crate) excused: usize,
}

fn success(data: &Value) -> Answer {
    (200, json!({"status": "success", "message": "done", "data": data}))
}

pub(crate) fn refusal(status: u16, message: &str) -> Answer {
    let word = if status == 409 { "conflict" } else { "error" };
    (status, json!({"status": word, "message": message, "data": null}))
}

impl World {
    pub(crate) fn new(semantics: Semantics, chance: Chance, is_logged: bool) -> Self {
        Self {
            semantics,
            chance,
            faulty: true,
            now: 0,
            rows: Vec::new(),
            before: vec![(0, Vec::new())],
            next: 0,
            freed: BTreeMap::new(),
            late: Vec::new(),
            ours: BTreeSet::new(),
            renumbered: BTreeMap::new(),
            epoch: 0,
            listed: None,
            barred: false,
            declared: BTreeSet::new(),
            writes: 0,
            spent: BTreeSet::new(),
            breaches: Vec::new(),
            checks: BTreeMap::new(),
            is_logged,
            log: Vec::new(),
            keeps_next: false,
            script: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, text: impl Display) {
        if self.is_logged {
            self.log.push(format!("{:>9} {text}", self.now));
        }
    }

    fn breach(&mut self, text: String) {
        self.note(format_args!("BREACH {text}"));
        self.breaches.push(text);
    }

    /// Counts a check; `excused` is true if only an exemption lets it pass.
    pub(crate) fn checked(&mut self, invariant: &'static str, excused: bool) {
        let checks = self.checks.entry(invariant).or_default();
        checks.all += 1;
        checks.excused += usize::from(excused);
    }

    /// Advances the time to `now`: late requests take effect.
    pub(crate) fn wake(&mut self, now: u64) {
        self.late.sort_by_key(|(at, _)| *at);
        while let Some((at, _)) = self.late.first()
            && *at <= now
        {
            let (at, arrived) = self.late.remove(0);
            self.now = self.now.max(at);
            self.note(format_args!("lands late: {} {}", arrived.endpoint, arrived.body));
            self.act(&arrived);
        }
        self.now = self.now.max(now);
    }

    pub(crate) fn changed(&mut self) {
        self.before.push((self.now, self.rows.clone()));
    }

    /// Adds an unmanaged row.
    pub(crate) fn add(&mut self, name: &str, kind: &str, config: Value, metadata: Value) {
        let row = Row {
            number: self.fresh(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            config,
            metadata,
            since: self.now,
            disturbed: true,
            unseen: false,
        };
        self.note(format_args!("someone adds {row:?}"));
        self.rows.push(row);
        self.changed();
    }

    /// Makes the row with this id ours, even if it is gone, or has another id that an outdated list does not show.
    pub(crate) fn own(&mut self, id: &Value) {
        let mut number = (1..=self.next).find(|number| self.id(*number) == *id);
        while let Some(ours) = number {
            self.ours.insert(ours);
            number = self.renumbered.get(&ours).copied();
        }
    }

    pub(crate) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn id(&self, number: u64) -> Value {
        match self.semantics.ids {
            Ids::Text => json!(format!("source_{number}")),
            Ids::Number => json!(number),
            Ids::None => Value::Null,
        }
    }

    pub(crate) fn act(&mut self, arrived: &Arrived) -> Answer {
        let answer = match arrived.endpoint.as_str() {
            "list" => self.list(),
            "connect" => self.connect(arrived),
            "cleanup" => self.cleanup(arrived),
            "sync" => success(&json!({"records_processed": 1})),
            "test-connection" => self.test(&arrived.body),
            _ => refusal(404, "no such endpoint"),
        };
        self.changed();
        answer
    }

    fn list(&mut self) -> Answer {
        let lag = match self.semantics.lag {
            lag if self.faulty && self.semantics.uneven => self.chance.below(lag as usize + 1) as u64,
            lag => lag,
        };
        let at = self.now.saturating_sub(lag);
        let stale = self.at(self.now.saturating_sub(self.semantics.stale.max(lag)));
        let old = |row: &&Row| stale.iter().find(|old| old.number == row.number).copied();
        let rows: Vec<Value> = self.at(at).iter().map(|row| self.shown(old(row).unwrap_or(row))).collect();
        self.listed = Some(at);
        success(&json!(rows))
    }

    /// What stood there at that time.
    fn at(&self, at: u64) -> Vec<&Row> {
        if at == self.now {
            return self.rows.iter().collect();
        }
        let before = self.before.iter().rev().find(|(when, _)| *when <= at);
        before.into_iter().flat_map(|(_, rows)| rows).collect()
    }

    /// The platform gives every source another id, as after a restore.
    ///
    /// A managed row stays managed if it has our marker; without one, a list cannot distinguish it from an unmanaged row.
    pub(crate) fn renumber(&mut self) {
        self.note("every id changes");
        for at in 0..self.rows.len() {
            let (old, new) = (self.rows[at].number, self.fresh());
            self.renumbered.insert(old, new);
            self.rows[at].number = new;
            // A row that is adopted by its name alone may be anything.
            self.rows[at].disturbed = true;
            if self.ours.contains(&old) && self.rows[at].metadata["wellspring"].is_object() {
                self.ours.insert(new);
            }
        }
        self.changed();
    }

    fn shown(&self, row: &Row) -> Value {
        let mut shown = json!({"name": row.name, "type": row.kind});
        if self.semantics.ids != Ids::None {
            shown["id"] = self.id(row.number);
        }
        let echo = |value: &Value| match self.semantics.echo {
            Echo::Masked => masked(value),
            Echo::Normalised => normalised(value),
            Echo::Everything | Echo::Unstamped | Echo::Nothing => value.clone(),
        };
        if self.semantics.echo != Echo::Nothing {
            shown["connection_config"] = echo(&row.config);
        }
        if !matches!(self.semantics.echo, Echo::Nothing | Echo::Unstamped) {
            shown["metadata"] = echo(&row.metadata);
        }
        if self.semantics.echo == Echo::Normalised {
            shown["connection_config"]["ssl_mode"] = json!("prefer");
        }
        shown
    }

    fn connect(&mut self, arrived: &Arrived) -> Answer {
        let sources = arrived.body["sources"].as_array().cloned().unwrap_or_default();
        let name = |source: &Value| source["name"].as_str().unwrap_or_default().to_owned();
        let is_bad = |source: &Value| source["connection_config"]["host"] == "refused";
        if let Some(bad) = sources.iter().position(is_bad) {
            if self.semantics.partial && self.semantics.taken != Taken::Conflict {
                sources[..bad].iter().for_each(|source| {
                    self.put(source, arrived);
                });
            }
            return refusal(400, &format!("{} is not acceptable", name(&sources[bad])));
        }
        let is_reserved =
            |name: &String| self.freed.get(name).is_some_and(|at| self.now < at + self.semantics.reserved);
        if let Some(reserved) = sources.iter().map(name).find(is_reserved) {
            return refusal(409, &format!("{reserved} is reserved"));
        }
        let taken = sources.iter().map(name).find(|name| self.rows.iter().any(|row| row.name == *name));
        if let (Some(taken), Taken::Conflict) = (taken, self.semantics.taken) {
            return refusal(409, &format!("{taken} exists"));
        }
        let (mut connected, mut errors) = (Vec::new(), Vec::new());
        for source in &sources {
            if self.faulty && self.chance.percent(4) {
                errors.push(json!({"name": name(source), "message": "cannot be reached"}));
                continue;
            }
            let number = self.put(source, arrived);
            let mut shown = json!({"name": name(source)});
            if self.semantics.answers_ids && self.semantics.ids != Ids::None {
                shown["id"] = self.id(number);
            }
            connected.push(shown);
        }
        let (status, mut envelope) = success(&json!({"connected_sources": connected}));
        if !errors.is_empty() {
            envelope["errors"] = json!(errors);
        }
        (status, envelope)
    }

    fn put(&mut self, source: &Value, arrived: &Arrived) -> u64 {
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        let mut row = Row {
            number: 0,
            name: text("name"),
            kind: text("type"),
            config: source["connection_config"].clone(),
            metadata: source["metadata"].clone(),
            since: self.now,
            disturbed: arrived.late,
            unseen: false,
        };
        let upsert = self.semantics.taken == Taken::Upsert;
        let old = self.rows.iter().position(|old| upsert && old.name == row.name);
        let number = match old {
            Some(at) => {
                let old = self.rows[at].clone();
                // Rows created after the list behind the decision could not be known.
                let is_known = !arrived.late && old.since < arrived.decided && arrived.epoch == self.epoch;
                let is_ours = self.ours.contains(&old.number);
                self.checked("I1 connect", !is_ours && !is_known);
                if !is_ours && is_known {
                    self.breach(format!(
                        "I1: connect replaced {} ({}), which is not ours",
                        old.name, old.number
                    ));
                }
                (row.number, row.since) = (old.number, old.since);
                self.rows[at] = row.clone();
                row.number
            }
            None => {
                row.number = self.fresh();
                self.rows.push(row.clone());
                row.number
            }
        };
        if arrived.epoch == self.epoch {
            self.ours.insert(number);
        }
        number
    }

    fn cleanup(&mut self, arrived: &Arrived) -> Answer {
        let ids = arrived.body["source_ids"].as_array().cloned().unwrap_or_default();
        let meant: Vec<Row> =
            self.rows.iter().filter(|row| ids.contains(&self.id(row.number))).cloned().collect();
        if self.semantics.strict_cleanup && meant.len() < ids.len() {
            return refusal(404, "no such source");
        }
        let mut gone = Vec::new();
        if std::mem::take(&mut self.keeps_next) {
            return success(&json!({"deleted_count": 0}));
        }
        for row in meant {
            if self.faulty && self.chance.percent(5) {
                continue;
            }
            let is_known = !arrived.late && arrived.epoch == self.epoch;
            let is_ours = self.ours.contains(&row.number);
            self.checked("I1 cleanup", !is_ours && !is_known);
            if !is_ours && is_known {
                self.breach(format!("I1: cleanup of {} ({}), which is not ours", row.name, row.number));
            }
            gone.push(row.number);
            self.freed.insert(row.name.clone(), self.now);
        }
        self.rows.retain(|row| !gone.contains(&row.number));
        success(&json!({"deleted_count": gone.len()}))
    }

    fn test(&self, body: &Value) -> Answer {
        if !self.semantics.has_test {
            return refusal(404, "no such endpoint");
        }
        match body["source_config"]["connection_config"]["host"] == "unreachable" {
            true => (200, json!({"status": "error", "message": "cannot connect", "data": null})),
            false => success(&Value::Null),
        }
    }

    /// Checks the invariants of every request as it leaves the client.
    pub(crate) fn inspect(&mut self, arrived: &Arrived) {
        let body = &arrived.body;
        if matches!(arrived.endpoint.as_str(), "connect" | "cleanup" | "sync") {
            self.writes += 1;
            if body["scope"] != "user" {
                self.breach(format!("I2: {} without its scope", arrived.endpoint));
            }
        }
        if matches!(arrived.endpoint.as_str(), "cleanup" | "sync") {
            let ids = body["source_ids"].as_array().cloned().unwrap_or_default();
            if ids.is_empty() {
                self.breach(format!("I2: {} of everything", arrived.endpoint));
            }
            let ours: Vec<Value> = self.ours.iter().map(|number| self.id(*number)).collect();
            // Exemption: rows adopted from a list with other ids.
            let stranger = ids.iter().find(|id| !ours.contains(id) && **id != 10_000);
            self.checked("I2", stranger.is_none() && ids.iter().any(|id| !ours.contains(id)));
            if let Some(id) = stranger {
                self.breach(format!("I2: {} of {id}, which is not ours", arrived.endpoint));
            }
            if arrived.endpoint == "cleanup" && self.barred {
                let mut named = self.rows.iter().filter(|row| ids.contains(&self.id(row.number)));
                let undeclared = named.find(|row| !self.declared.contains(&row.name)).cloned();
                if let Some(row) = undeclared {
                    self.breach(format!("I8: cleanup of {} in a pass that may remove nothing", row.name));
                }
            }
        }
        if matches!(arrived.endpoint.as_str(), "connect" | "cleanup") && self.listed.is_none() {
            self.breach(format!("I8: {} after a list that failed", arrived.endpoint));
        }
        if arrived.endpoint == "sync" {
            for key in spent_by(body) {
                if self.spent.contains(&key) {
                    self.breach(format!("I5: {} is synced a second time for one firing", key.0));
                }
            }
        }
    }

    /// Simulates the loss of the state: nothing is ours, and no firing is known.
    pub(crate) fn forget(&mut self) {
        self.ours.clear();
        self.spent.clear();
        self.epoch += 1;
        // A row adopted by its name only may have any content.
        self.rows.iter_mut().for_each(|row| row.disturbed = true);
    }

    /// Records a sync that may have run: its firings are used.
    pub(crate) fn spend(&mut self, arrived: &Arrived) {
        self.spent.extend(spent_by(&arrived.body));
    }
}

fn spent_by(body: &Value) -> Vec<(String, i64)> {
    let firing = body["sync_options"]["firing"].as_i64().unwrap_or_default();
    let ids = body["source_ids"].as_array().cloned().unwrap_or_default();
    ids.iter().map(|id| (id.to_string(), firing)).collect()
}

pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let shown = if wellspring::model::looks_secret(key) { json!("***") } else { masked(value) };
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
