//! `sync`, `test` and `suspend`.

use super::cron::{self, CronProblem};
use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, TableEntry, TomlValue};
use super::fields::{self, unknown_keys};
use super::keys;
use super::sink::DiagnosticSink;
use crate::model::{Missed, Overlap, Schedule, Suspend, SyncSpec, TestSpec, format_duration};
use std::time::Duration;

/// Reads a `sync` table; `None` without a valid `every` or `cron`.
pub(super) fn sync(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<SyncSpec> {
    unknown_keys(table, &keys::SYNC, findings);
    let every = fields::duration(table, "every", findings);
    let cron = cron(table, findings);
    let jitter = jitter(table, every.map(|(every, _)| every), findings);
    let positive = |key: &str, findings: &mut DiagnosticSink<'_, '_>| {
        fields::duration(table, key, findings).map(|(duration, _)| duration)
    };
    let stale_after = stale_after(table, every, findings);
    let timeout = positive("timeout", findings);
    let missed = fields::choice(table, "missed", &[("once", Missed::Once), ("skip", Missed::Skip)], findings);
    let overlap =
        fields::choice(table, "overlap", &[("forbid", Overlap::Forbid), ("queue", Overlap::Queue)], findings);
    let on_connect = fields::boolean(table, "on_connect", findings).unwrap_or(true);
    let on_change = fields::boolean(table, "on_change", findings).unwrap_or(false);
    Some(SyncSpec {
        when: every.map(|(every, _)| Schedule::Every(every)).or(cron)?,
        jitter,
        stale_after,
        missed: missed.unwrap_or_default(),
        timeout,
        on_connect,
        on_change,
        overlap: overlap.unwrap_or_default(),
    })
}

/// Reports a table that sets both `every` and `cron`.
///
/// Across levels, the more specific one replaces the inherited one.
pub(super) fn check_single_schedule(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    if let (Some(every), Some(cron)) = (table.get("every"), table.get("cron")) {
        findings
            .error(Code::Exclusive, cron.key, "`cron` and `every` exclude each other")
            .with_label(every.key, "the other one")
            .help("keep one of them");
    }
}

fn stale_after(
    table: &SpannedTable<'_>,
    every: Option<(Duration, Span)>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Duration> {
    let (stale_after, span) = fields::duration(table, "stale_after", findings)?;
    if let Some((every, period)) = every
        && stale_after < every
    {
        findings
            .warning(Code::StaleEarly, span, "`stale_after` is shorter than the period")
            .label("the data is stale before each sync")
            .with_label(period, "the period")
            .help(format!("write more than {}", format_duration(every)));
    }
    Some(stale_after)
}

/// Reports a time zone without effect, if the source itself sets it.
pub(super) fn report_unused_zone(
    own: &SpannedTable<'_>,
    merged: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    let sync = |table: &SpannedTable<'_>, key: &str| {
        let sync = table.get("sync")?.node.value.as_table()?;
        sync.get(key).map(|entry| entry.key)
    };
    if let Some(zone) = sync(own, "timezone")
        && let Some(every) = sync(merged, "every")
    {
        findings
            .warning(Code::ZoneUnused, zone, "`timezone` has no effect with `every`")
            .with_label(every, "a period is the same in every time zone")
            .help("remove it, or write `cron` to sync at a time of day");
    }
}

fn cron(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<Schedule> {
    let timezone = zone(table, findings);
    let (expression, span) = fields::text(table, "cron", findings)?;
    match findings.limits.cron.of(expression) {
        Ok(()) => {}
        Err(CronProblem::Malformed(why)) => {
            findings.error(Code::BadCron, span, "`cron` is not a cron expression").help(why);
            return None;
        }
        Err(CronProblem::NeverFires) => {
            findings
                .error(Code::NeverFires, span, "this schedule never fires")
                .help("no year has such a day");
            return None;
        }
    }
    if cron::differs_from_crontab(expression) {
        findings
            .warning(Code::OtherDays, span, "crontab would choose other days")
            .label("here a day matches by its day of month or by its day of week")
            .help("list the days if either is meant; write `+` before the day of week if both are");
    }
    Some(Schedule::Cron { expression: expression.to_owned(), timezone: timezone? })
}

/// Returns the time zone, by default `UTC`; `None` if it is invalid.
fn zone(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<String> {
    if !table.contains_key("timezone") {
        return Some("UTC".to_owned());
    }
    let (name, span) = fields::text(table, "timezone", findings)?;
    if let Err(help) = cron::check_zone(name) {
        let help = help.unwrap_or_else(|| "write an IANA name such as `Europe/Rome`, or `UTC`".to_owned());
        findings
            .error(Code::UnknownZone, span, format!("unknown time zone `{}`", display_key(name)))
            .help(help);
        return None;
    }
    Some(name.to_owned())
}

fn jitter(
    table: &SpannedTable<'_>,
    every: Option<Duration>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Duration {
    let Some((jitter, span)) = fields::duration_or_none(table, "jitter", findings) else {
        return Duration::ZERO;
    };
    if let Some(every) = every
        && jitter > every
    {
        findings
            .error(Code::InvalidValue, span, "`jitter` is longer than the period")
            .help(format!("{} is the most here", format_duration(every)));
    }
    jitter
}

pub(super) fn test(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> TestSpec {
    unknown_keys(table, &keys::TEST, findings);
    TestSpec {
        before_connect: fields::boolean(table, "before_connect", findings).unwrap_or(true),
        every: fields::duration(table, "every", findings).map(|(every, _)| every),
    }
}

pub(super) fn suspend(
    table: &SpannedTable<'_>,
    at: &TableEntry<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Suspend> {
    unknown_keys(table, &keys::SUSPEND, findings);
    let until = until(table, findings);
    let reason = reason(table, at.key, "`suspend`", findings)?;
    Some(Suspend { reason, until: until? })
}

/// Reads the required `reason` of the table `owner`.
pub(super) fn reason(
    table: &SpannedTable<'_>,
    at: Span,
    owner: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<String> {
    if !table.contains_key("reason") {
        findings
            .error(Code::Missing, at, format!("{owner} needs a `reason`"))
            .help("give the reason: reason = \"…\"");
        return None;
    }
    let (reason, span) = fields::text(table, "reason", findings)?;
    if reason.trim().is_empty() {
        findings.error(Code::InvalidValue, span, "the `reason` is empty");
        return None;
    }
    Some(reason.to_owned())
}

/// Returns the date, `Some(None)` without one, `None` if it is invalid.
fn until(
    table: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Option<jiff::civil::Date>> {
    let Some(entry) = table.get("until") else { return Some(None) };
    let date = match &entry.node.value {
        TomlValue::Datetime(value) if value.time.is_none() => value.to_string().parse().ok(),
        TomlValue::String(text) => text.parse().ok(),
        _ => None,
    };
    if date.is_none() {
        findings
            .error(Code::InvalidValue, entry.node.span, "`until` is a date")
            .help("write it without quotes or time: until = 2027-01-31");
    }
    date.map(Some)
}
