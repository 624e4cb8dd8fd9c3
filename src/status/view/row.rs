//! One source as the pages show it: CONFIG, CONN and DATA.

use super::{Here, sources};
use crate::model::{Place, SourceName, Unit};
use crate::render::words;
use crate::schedule::describe;
use crate::state::RunOutcome;
use crate::status::{Config, Facts, Shown, Workspace};
use jiff::Timestamp;
use serde::Serialize;

/// One source, with the independent statuses CONFIG, CONN and DATA.
#[derive(Debug, Serialize)]
pub(in crate::status) struct Row {
    pub(in crate::status) workspace: String,
    #[serde(flatten, serialize_with = "Unit::beside_its_name")]
    pub(in crate::status) unit: Unit,
    pub(in crate::status) source: String,
    pub(in crate::status) name: String,
    #[serde(rename = "type")]
    pub(in crate::status) kind: String,
    pub(in crate::status) at: Place,
    pub(in crate::status) config: Part,
    pub(in crate::status) conn: Part,
    pub(in crate::status) data: Part,
    pub(in crate::status) schedule: Option<String>,
    pub(in crate::status) next: Option<Timestamp>,
    pub(in crate::status) last_success: Option<Timestamp>,
}

/// One of these statuses.
#[derive(Debug, Serialize)]
pub(in crate::status) struct Part {
    /// `good`, `busy`, `bad`, `warn`, `off` or `none`
    pub(in crate::status) level: &'static str,
    pub(in crate::status) text: String,
    pub(in crate::status) why: Option<String>,
}

impl Row {
    pub(in crate::status) fn of(workspace: &Workspace, source: &Shown, facts: &Facts, here: &Here) -> Self {
        Self {
            workspace: workspace.desired.label().to_owned(),
            unit: workspace.unit().clone(),
            source: source.key.to_string(),
            name: source.name.to_string(),
            kind: source.kind.to_string(),
            at: source.at.clone(),
            config: config(source, facts, here),
            conn: conn(facts, here),
            data: data(source, facts, here),
            schedule: source.sync.as_deref().map(describe),
            next: facts.next,
            last_success: facts.last_success,
        }
    }

    /// Returns the source with this name.
    pub(in crate::status) fn named(workspace: &Workspace, name: &SourceName, here: &Here) -> Option<Self> {
        let (_, source, facts) = sources(workspace).find(|(_, source, _)| source.name == *name)?;
        Some(Self::of(workspace, source, facts, here))
    }

    /// Returns each reason of a failed status once, with the statuses that it is the reason of.
    pub(in crate::status) fn failures(&self) -> Vec<(Vec<&'static str>, &str)> {
        let parts = [("CONFIG", &self.config), ("CONN", &self.conn), ("DATA", &self.data)];
        let mut failures: Vec<(Vec<&'static str>, &str)> = Vec::new();
        for (which, part) in parts.into_iter().filter(|(_, part)| part.level == "bad") {
            let why = part.why.as_deref().unwrap_or(&part.text);
            match failures.iter_mut().find(|(_, known)| *known == why) {
                Some((statuses, _)) => statuses.push(which),
                None => failures.push((vec![which], why)),
            }
        }
        failures
    }
}

impl Part {
    fn new(level: &'static str, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), why: None }
    }

    fn because(self, why: Option<impl Into<String>>) -> Self {
        Self { why: why.map(Into::into), ..self }
    }
}

fn config(source: &Shown, facts: &Facts, here: &Here) -> Part {
    if let Some(suspend) = &source.suspend {
        let until = suspend.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let today = here.now.to_zoned_datetime(here.zone.clone()).date();
        if suspend.until.is_some_and(|until| until < today) {
            let why =
                format!("that date has passed: take `suspend` out, or set a later one; {}", suspend.reason);
            return Part::new("warn", format!("suspended{until}")).because(Some(why));
        }
        return Part::new("off", format!("suspended{until}")).because(Some(suspend.reason.clone()));
    }
    let level = match facts.config {
        Config::Failing => "bad",
        Config::Withheld => "warn",
        Config::Pending => "busy",
        Config::Suspended => "off",
        Config::Unknown => "none",
        Config::InSync => "good",
    };
    let unseen = (facts.config == Config::Unknown).then_some("no pass has looked at it yet");
    Part::new(level, facts.config.words()).because(facts.why.as_deref().or(unseen))
}

fn conn(facts: &Facts, here: &Here) -> Part {
    let Some(test) = &facts.test else { return Part::new("none", "not tested") };
    let (level, word) = if test.up { ("good", "up") } else { ("bad", "down") };
    let text = match test.up {
        true => format!("{word}, {}", words::ago(test.at, here.now)),
        false => format!("{word} since {}", words::moment(test.since, &here.zone, here.now)),
    };
    Part::new(level, text).because(Some(test.message.as_str()).filter(|message| !message.is_empty()))
}

fn data(source: &Shown, facts: &Facts, here: &Here) -> Part {
    let age = facts.last_success.map(|at| words::ago(at, here.now));
    match &facts.last {
        Some(last) if last.outcome == RunOutcome::Running => return Part::new("busy", "syncing now"),
        Some(last) if last.is_bad() => {
            let text = match &age {
                Some(age) => format!("sync {}; last good {age}", last.outcome.as_str()),
                None => format!("sync {}; never good", last.outcome.as_str()),
            };
            return Part::new("bad", text).because(last.message.as_deref());
        }
        _ => {}
    }
    if facts.stale {
        let text = age.map_or_else(|| "stale; never synced".to_owned(), |age| format!("stale; {age}"));
        return Part::new("warn", text);
    }
    match age {
        Some(age) => Part::new("good", age),
        // Syncs before this start are known after the first pass.
        None if source.sync.is_some() && facts.config == Config::Unknown => Part::new("none", "unknown"),
        None if source.sync.is_some() => Part::new("none", "never synced"),
        None => Part::new("none", "no schedule"),
    }
}
