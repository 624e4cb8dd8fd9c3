//! Gauges computed from the snapshot for each scrape.

use crate::observe::{ConfigStatus, Facts, Snapshot, SnapshotReceiver, WorkspaceSnapshot};
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use std::fmt::Error;

/// Maximum number of sources with their own series; the others are only counted.
const MAX_SOURCE_SERIES: usize = 10_000;

/// Maximum number of workspaces with their own series; the others are combined.
const MAX_WORKSPACE_SERIES: usize = 1_000;

/// Label for the workspaces without their own series.
const OTHERS: &str = "(others)";

const STATES: [(ConfigStatus, &str); 6] = [
    (ConfigStatus::InSync, "in_sync"),
    (ConfigStatus::Pending, "pending"),
    (ConfigStatus::Failing, "failing"),
    (ConfigStatus::Withheld, "withheld"),
    (ConfigStatus::Suspended, "suspended"),
    (ConfigStatus::Unknown, "unknown"),
];

const ACTIONS: [&str; 6] = ["adopt", "connect", "replace", "cleanup", "forget", "schedule"];

#[derive(Debug)]
pub(super) struct GaugeEncoder(pub(super) SnapshotReceiver);

impl Collector for GaugeEncoder {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let now = std::sync::Arc::clone(&self.0.borrow());
        let mut out = Gauges(&mut encoder);
        daemon(&now, &mut out)?;
        workspaces(&now, &mut out)?;
        sources(&now, &mut out)
    }
}

struct Gauges<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Gauges<'_, '_> {
    fn begin<'c>(&'c mut self, name: &'c str, help: &str) -> Result<MetricEncoder<'c>, Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)
    }

    fn one(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.begin(name, help)?.encode_gauge(&value)
    }
}

fn put(
    into: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: &impl EncodeGaugeValue,
) -> Result<(), Error> {
    into.encode_family(labels)?.encode_gauge(value)
}

fn daemon(now: &Snapshot, out: &mut Gauges<'_, '_>) -> Result<(), Error> {
    let mut build = out.begin("build_info", "Which version runs")?;
    put(&mut build, &[("version", env!("CARGO_PKG_VERSION"))], &1_i64)?;
    out.one("start_time_seconds", "When the daemon started", seconds(now.about.started))?;
    out.one("interval_seconds", "How often everything is checked", now.about.interval.as_secs_f64())?;
    let help = "Whether every file was accepted when they were last read";
    out.one("config_last_reload_successful", help, flag(now.files.are_accepted()))?;
    out.one("config_errors", "Errors in the files", count(now.files.errors))?;
    out.one(
        "platform_up",
        "Whether the platform answers and accepts the token",
        flag(now.platform.is_none()),
    )?;
    let oldest = now.workspaces.iter().map(|workspace| workspace.last_good_at.map_or(0.0, seconds));
    let oldest =
        oldest.fold(None, |oldest: Option<f64>, at| Some(oldest.map_or(at, |oldest| oldest.min(at))));
    let help =
        "When every workspace had had a good pass: the oldest of their last ones, 0 while one had none";
    out.one("last_good_pass_timestamp_seconds", help, oldest.unwrap_or(0.0))?;
    let answered = now.workspaces.iter().filter_map(|workspace| workspace.last_listed_at).max();
    let help =
        "When the platform last answered the list of any workspace, 0 before; now where none is declared";
    let answered = if now.workspaces.is_empty() { Some(now.at) } else { answered };
    out.one("last_answer_timestamp_seconds", help, answered.map_or(0.0, seconds))?;
    let mut changes = out.begin("plan_changes", "Changes that are planned and not done, by action")?;
    for action in ACTIONS {
        let many = now.workspaces.iter().filter_map(|workspace| workspace.pending.get(action)).sum::<u32>();
        put(&mut changes, &[("action", action)], &i64::from(many))?;
    }
    let mut withheld = out.begin("plan_withheld", "Changes that are withheld, by action")?;
    for action in &ACTIONS[..4] {
        let all = now.workspaces.iter().flat_map(|workspace| &workspace.withheld);
        let many = all.filter(|withheld| withheld.action == *action).count();
        put(&mut withheld, &[("action", *action)], &count(many))?;
    }
    Ok(())
}

fn workspaces(now: &Snapshot, out: &mut Gauges<'_, '_>) -> Result<(), Error> {
    let (own, others) = now.workspaces.split_at(now.workspaces.len().min(MAX_WORKSPACE_SERIES));
    let mut failing = out.begin("workspace_failing", "Whether the last pass over the workspace stopped")?;
    for workspace in own {
        put(&mut failing, &named(workspace), &flag(workspace.error.is_some()))?;
    }
    let mut sources = out.begin("sources", "Declared sources, by how files and platform compare")?;
    for workspace in own {
        let [workspace_label, scope] = named(workspace);
        for (state, word) in STATES {
            let many = workspace.facts.iter().filter(|facts| facts.config == state).count();
            put(&mut sources, &[workspace_label, scope, ("state", word)], &count(many))?;
        }
    }
    if !others.is_empty() {
        for (state, word) in STATES {
            let facts = others.iter().flat_map(|workspace| &workspace.facts);
            let many = facts.filter(|facts| facts.config == state).count();
            put(&mut sources, &[("workspace", OTHERS), ("scope", ""), ("state", word)], &count(many))?;
        }
    }
    Ok(())
}

fn named(workspace: &WorkspaceSnapshot) -> [(&'static str, &str); 2] {
    [("workspace", workspace.desired.label()), ("scope", workspace.workspace_ref().scope.as_str())]
}

/// Writes a gauge for each source that has a value.
fn sources(now: &Snapshot, out: &mut Gauges<'_, '_>) -> Result<(), Error> {
    let each = |name: &str,
                help: &str,
                out: &mut Gauges<'_, '_>,
                value: &dyn Fn(&WorkspaceSnapshot, usize) -> Option<f64>| {
        let mut gauge = out.begin(name, help)?;
        let all = now
            .workspaces
            .iter()
            .flat_map(|workspace| (0..workspace.facts.len()).map(move |index| (workspace, index)));
        for (workspace, index) in all.take(MAX_SOURCE_SERIES) {
            let Some(value) = value(workspace, index) else { continue };
            let [workspace_label, scope] = named(workspace);
            let source = ("source", workspace.declared[index].key.as_str());
            put(&mut gauge, &[workspace_label, scope, source], &value)?;
        }
        Ok::<(), Error>(())
    };
    let of = |facts: fn(&Facts) -> Option<f64>| {
        move |workspace: &WorkspaceSnapshot, index: usize| facts(&workspace.facts[index])
    };
    each(
        "source_connection_up",
        "Whether the last connection test passed",
        out,
        &of(|facts| facts.test.as_ref().map(|test| flag(test.up))),
    )?;
    let help = "When the last good sync ended";
    each(
        "source_last_sync_success_timestamp_seconds",
        help,
        out,
        &of(|facts| facts.last_success.map(seconds)),
    )?;
    let help = "Whether the last sync that ended was a good one";
    each(
        "source_last_sync_successful",
        help,
        out,
        &of(|facts| facts.last.as_ref().filter(|last| last.is_over()).map(|last| flag(!last.has_failed()))),
    )?;
    let over = |facts: &Facts| facts.last.clone().filter(|last| last.is_over());
    let help = "How long the last sync that ended took";
    each("source_last_sync_duration_seconds", help, out, &|workspace, index| {
        Some(over(&workspace.facts[index])?.took?.as_secs_f64())
    })?;
    let help = "Records read by the last sync that ended, if the platform reports them";
    each("source_last_sync_records", help, out, &|workspace, index| {
        over(&workspace.facts[index])?.records.map(exact)
    })?;
    outcomes(now, out)?;
    let promised = |workspace: &WorkspaceSnapshot, index: usize| {
        let source = &workspace.declared[index];
        if source.suspend.is_some() { None } else { source.sync.as_ref()?.stale_after }
    };
    each("source_stale_after_seconds", "How old the data may become", out, &|workspace, index| {
        promised(workspace, index).map(|length| length.as_secs_f64())
    })?;
    each("source_stale", "Whether the data is older than that", out, &|workspace, index| {
        promised(workspace, index).map(|_| flag(workspace.facts[index].stale))
    })?;
    let all: usize = now.workspaces.iter().map(|workspace| workspace.facts.len()).sum();
    let help = "Sources beyond the most that have series of their own";
    out.one("sources_without_series", help, count(all.saturating_sub(MAX_SOURCE_SERIES)))
}

/// Writes the outcome of each source's last finished sync, as a label.
fn outcomes(now: &Snapshot, out: &mut Gauges<'_, '_>) -> Result<(), Error> {
    let mut gauge =
        out.begin("source_last_sync_outcome", "The outcome of the last sync that ended, always 1")?;
    let sources = now.workspaces.iter().flat_map(|workspace| {
        let named = workspace.declared.iter().zip(&workspace.facts);
        named.map(move |(source, facts)| (workspace, source, facts))
    });
    for (workspace, source, facts) in sources.take(MAX_SOURCE_SERIES) {
        let Some(last) = facts.last.as_ref().filter(|last| last.is_over()) else { continue };
        let [label, scope] = named(workspace);
        let labels = [label, scope, ("source", source.key.as_str()), ("outcome", last.outcome.as_str())];
        put(&mut gauge, &labels, &1_i64)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; exact up to 2^53")]
fn exact(many: u64) -> f64 {
    many as f64
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; exact up to 2^53")]
fn count(many: usize) -> f64 {
    many as f64
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
