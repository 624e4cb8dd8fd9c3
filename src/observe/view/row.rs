//! One source as the pages show it: CONFIG, CONN and DATA.

use super::{PageContext, sources};
use crate::model::{SourceLocation, SourceName, WorkspaceRef};
use crate::observe::level::Level;
use crate::observe::{ConfigStatus, Facts, ShownSources, WorkspaceSnapshot};
use crate::report::{UNIDENTIFIED, humanize};
use crate::schedule::describe;
use crate::store::RunOutcome;
use jiff::Timestamp;
use serde::Serialize;

/// One source, with the independent statuses CONFIG, CONN and DATA.
#[derive(Debug, Serialize)]
pub(in crate::observe) struct SourceRow {
    pub(in crate::observe) workspace: String,
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub(in crate::observe) workspace_ref: WorkspaceRef,
    pub(in crate::observe) source: String,
    pub(in crate::observe) name: String,
    #[serde(rename = "type")]
    pub(in crate::observe) kind: String,
    pub(in crate::observe) at: SourceLocation,
    pub(in crate::observe) config: StatusCell,
    pub(in crate::observe) conn: StatusCell,
    pub(in crate::observe) data: StatusCell,
    pub(in crate::observe) schedule: Option<String>,
    pub(in crate::observe) next: Option<Timestamp>,
    pub(in crate::observe) last_success: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(in crate::observe) struct StatusCell {
    pub(in crate::observe) level: Level,
    pub(in crate::observe) text: String,
    pub(in crate::observe) why: Option<String>,
}

impl SourceRow {
    pub(in crate::observe) fn of(
        workspace: &WorkspaceSnapshot,
        source: &ShownSources,
        facts: &Facts,
        here: &PageContext,
    ) -> Self {
        Self {
            workspace: workspace.desired.label().to_owned(),
            workspace_ref: workspace.workspace_ref().clone(),
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

    pub(in crate::observe) fn named(
        workspace: &WorkspaceSnapshot,
        name: &SourceName,
        here: &PageContext,
    ) -> Option<Self> {
        let (_, source, facts) = sources(workspace).find(|(_, source, _)| source.name == *name)?;
        Some(Self::of(workspace, source, facts, here))
    }

    /// Returns each reason of a failed status once, with the statuses that it is the reason of.
    pub(in crate::observe) fn failures(&self) -> Vec<(Vec<&'static str>, &str)> {
        let parts = [("CONFIG", &self.config), ("CONN", &self.conn), ("DATA", &self.data)];
        let mut failures: Vec<(Vec<&'static str>, &str)> = Vec::new();
        for (which, part) in parts.into_iter().filter(|(_, part)| part.level == Level::Bad) {
            let why = part.why.as_deref().unwrap_or(&part.text);
            match failures.iter_mut().find(|(_, known)| *known == why) {
                Some((statuses, _)) => statuses.push(which),
                None => failures.push((vec![which], why)),
            }
        }
        failures
    }
}

impl StatusCell {
    fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), why: None }
    }

    fn with_reason(self, why: Option<impl Into<String>>) -> Self {
        Self { why: why.map(Into::into), ..self }
    }
}

fn config(source: &ShownSources, facts: &Facts, here: &PageContext) -> StatusCell {
    if let Some(suspend) = &source.suspend {
        let until = suspend.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let today = here.now.to_zoned_datetime(here.zone.clone()).date();
        if suspend.until.is_some_and(|until| until < today) {
            let why =
                format!("that date has passed: remove `suspend`, or set a later one; {}", suspend.reason);
            return StatusCell::new(Level::Warn, format!("suspended{until}")).with_reason(Some(why));
        }
        return StatusCell::new(Level::Off, format!("suspended{until}"))
            .with_reason(Some(suspend.reason.clone()));
    }
    let level = match facts.config {
        ConfigStatus::Failing => Level::Bad,
        ConfigStatus::Withheld => Level::Warn,
        ConfigStatus::Pending => Level::Busy,
        ConfigStatus::Suspended => Level::Off,
        ConfigStatus::Unknown => Level::None,
        ConfigStatus::InSync => Level::Good,
    };
    let unseen = (facts.config == ConfigStatus::Unknown).then_some("not checked yet");
    StatusCell::new(level, facts.config.label()).with_reason(facts.why.as_deref().or(unseen))
}

fn conn(facts: &Facts, here: &PageContext) -> StatusCell {
    let Some(test) = &facts.test else { return StatusCell::new(Level::None, "not tested") };
    let level = if test.up { Level::Good } else { Level::Bad };
    let text = if test.up {
        format!("up, {}", humanize::ago(test.at, here.now))
    } else {
        format!("down since {}", humanize::moment(test.since, &here.zone, here.now))
    };
    StatusCell::new(level, text)
        .with_reason(Some(test.message.as_str()).filter(|message| !message.is_empty()))
}

fn data(source: &ShownSources, facts: &Facts, here: &PageContext) -> StatusCell {
    let age = facts.last_success.map(|at| humanize::ago(at, here.now));
    if facts.unidentified && source.sync.is_some() && !facts.stale {
        return StatusCell::new(Level::None, "unknown").with_reason(Some(UNIDENTIFIED));
    }
    match &facts.last {
        Some(last) if last.outcome == RunOutcome::Running => {
            return StatusCell::new(Level::Busy, "syncing now");
        }
        Some(last) if last.has_failed() => {
            let text = match &age {
                Some(age) => format!("sync {}; last success {age}", last.outcome.as_str()),
                None => format!("sync {}; no success yet", last.outcome.as_str()),
            };
            return StatusCell::new(Level::Bad, text).with_reason(last.message.as_deref());
        }
        _ => {}
    }
    if facts.stale {
        let text = age.map_or_else(|| "stale; never synced".to_owned(), |age| format!("stale; {age}"));
        return StatusCell::new(Level::Warn, text);
    }
    match age {
        Some(age) => StatusCell::new(Level::Good, age),
        // Syncs before this start are known after the first pass.
        None if source.sync.is_some() && facts.config == ConfigStatus::Unknown && facts.why.is_none() => {
            StatusCell::new(Level::None, "unknown")
        }
        None if source.sync.is_some() => StatusCell::new(Level::None, "never synced"),
        None => StatusCell::new(Level::None, "no schedule"),
    }
}
