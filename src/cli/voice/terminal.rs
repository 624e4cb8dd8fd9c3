//! Reporter for terminals: plans, actions as they finish, next syncs.

use super::{
    ALIKE, News, Outages, Passes, Place, Said, clock_time, is_of_the_platform, outage_of, unreachable,
    worth_telling,
};
use crate::cli::{answer, sync};
use crate::daemon::{After, Voice};
use crate::model::{DesiredUnit, SourceKey, Unit};
use crate::plan::{Action, ActionResult, Outcome, UnitPlan};
use crate::reading::Reading;
use crate::reconcile::{PassId, Task};
use crate::render::{self, Here, Look, escape, words};
use crate::schedule::Timing;
use crate::state::RunOutcome;
use crate::sync::{Call, Synced};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints to stdout; diagnostics go to stderr.
pub(in crate::cli) struct Terminal {
    look: Look,
    said: Said,
    syncs: Said,
    outages: Outages,
    passes: Passes,
    findings: Mutex<String>,
    /// True if the files had errors, or could not be read.
    troubled: AtomicBool,
    next: Mutex<String>,
}

impl Terminal {
    pub(in crate::cli) fn new(look: Look) -> Self {
        Self {
            look,
            said: Said::default(),
            syncs: Said::default(),
            outages: Outages::default(),
            passes: Passes::default(),
            findings: Mutex::default(),
            troubled: AtomicBool::default(),
            next: Mutex::default(),
        }
    }

    fn say(&self, text: &str) {
        answer::write(&format!("{}{text}", self.stamp()));
    }

    /// Returns the time of day, dimmed, for the start of each line.
    fn stamp(&self) -> String {
        let now = Timestamp::now().to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
        if self.look.color { format!("\x1b[2m{now}\x1b[0m ") } else { format!("{now} ") }
    }

    /// Stores `now` in `slot`; returns true if it differs from before.
    fn changed(slot: &Mutex<String>, now: &str) -> bool {
        let Ok(mut before) = slot.lock() else { return true };
        let changed = *before != now;
        now.clone_into(&mut before);
        changed
    }
}

impl Voice for Terminal {
    fn files(&self, reading: &Reading) {
        let findings = reading.explained(self.look.color);
        if Self::changed(&self.findings, &findings) {
            answer::note(&findings);
            if reading.has_errors() {
                self.say("sources declared in these files stay unchanged until the errors are fixed");
            }
            if self.troubled.swap(reading.has_errors(), Ordering::Relaxed) && !reading.has_errors() {
                self.say("all files are valid again");
            }
        }
    }

    fn unreadable(&self, why: &str) {
        if Self::changed(&self.findings, why) {
            self.troubled.store(true, Ordering::Relaxed);
            self.say(&format!("{}; everything stays as it is", escape::terminal_line(why)));
        }
    }

    fn pass_started(&self, _: &Unit, _: &PassId) {}

    fn planned(&self, plan: &UnitPlan, dry_run: bool) {
        let Some(plan) = &worth_telling(plan) else { return };
        let anything = !plan.actions.is_empty();
        let standing = plan.error.is_some() || !plan.withheld.is_empty() || !plan.unmanaged.is_empty();
        let outage = plan.error.as_ref().and_then(|error| error.outage.as_deref());
        let place = self.passes.outages.place(plan.unit(), outage);
        if plan.error.as_ref().is_some_and(is_of_the_platform) || !self.said.is_new_plan(plan) {
            return;
        }
        match place {
            Place::First => {}
            Place::Second => {
                return self.say(&format!("{ALIKE}: {}", escape::terminal_line(outage.unwrap_or_default())));
            }
            Place::Later => return,
        }
        self.passes.spoke(plan.unit());
        if anything || standing {
            let zone = TimeZone::system();
            let here = Here { now: Timestamp::now(), zone: Some(&zone) };
            answer::write(&format!("\n{}", render::unit_text(plan, here, &self.look)));
        } else {
            let count = words::count(plan.unchanged.len(), "source");
            self.say(&format!("{}: {count} in sync", escape::terminal_line(plan.desired.label())));
        }
        if dry_run && anything {
            self.say("nothing was written");
        }
    }

    fn action(&self, plan: &UnitPlan, action: &Action, result: &ActionResult) {
        let failure = match result {
            ActionResult::Failed(why) | ActionResult::Skipped(why) => Some(why.as_str()),
            ActionResult::Done | ActionResult::Open => None,
        };
        let news = self.said.failure(plan.unit(), &action.name, failure);
        if news == News::Old && failure.is_some() {
            return;
        }
        self.say(&format!("{}{}", render::action_line(plan, action, result, &self.look), news.count()));
    }

    fn pass_ended(&self, plan: &UnitPlan, outcome: Option<&Outcome>, after: &After) {
        let label = escape::terminal_line(plan.desired.label());
        if let Some(error) = self.passes.stopped(plan, outcome) {
            self.say(&format!("{label}: {}", escape::terminal_line(&error.message)));
        }
        if let Some(text) = self.passes.ended(plan, outcome, after, Timestamp::now()) {
            self.say(&format!("{label}: {text}"));
        }
    }

    fn unreachable(&self, why: &str, again: Option<Timestamp>) {
        self.say(&unreachable(why, again));
    }

    fn sync_started(&self, _: &Call) {}

    fn synced(&self, unit: Option<&DesiredUnit>, synced: &[Synced]) {
        let Some(unit) = unit else { return };
        let outage = outage_of(synced);
        let place = self.outages.place(&unit.unit, outage.map(|(why, _)| why));
        let about = (unit.unit.clone(), None);
        if self.syncs.is_new(about, outage.as_ref().map(|(why, _)| why as _))
            && let Some((why, sources)) = outage
        {
            let (label, why) = (escape::terminal_line(unit.label()), escape::terminal_line(why));
            let sources = words::count(sources, "source");
            match place {
                Place::First => self.say(&format!("✗ {label}: sync of {sources} failed: {why}")),
                Place::Second => self.say(&format!("✗ syncs of {ALIKE}: {why}")),
                Place::Later => {}
            }
        }
        for synced in synced {
            let failure = synced.message.as_deref().unwrap_or("no reason is known");
            let failed = (synced.outcome != RunOutcome::Done).then_some(failure);
            let news = self.syncs.failure(&unit.unit, &synced.name, failed);
            if failed.is_none() || news != News::Old && synced.outage.is_none() {
                self.say(&format!("{}{}", sync::line(unit, synced), news.count()));
            }
        }
    }

    fn next(&self, upcoming: &[(Timestamp, &Task, &SourceKey, &Timing)], now: Timestamp) {
        let soon: Vec<String> = upcoming
            .iter()
            .map(|(at, task, key, _)| {
                let name = escape::terminal_line(&format!("{}/{key}", task.desired.label()));
                format!("{name} {}", clock_time(*at, now))
            })
            .collect();
        if soon.is_empty() {
            return;
        }
        let text = format!("next syncs: {}", soon.join(", "));
        if Self::changed(&self.next, &text) {
            self.say(&text);
        }
    }

    fn note(&self, text: &str) {
        self.say(&escape::terminal_line(text));
    }

    fn warn(&self, text: &str) {
        self.say(&escape::terminal_line(text));
    }

    fn stopping(&self, busy: bool) {
        if busy {
            self.say("stopping after the calls in progress (Ctrl-C again to exit now)");
        }
    }

    fn stopped(&self) {
        self.say("stopped");
    }
}
