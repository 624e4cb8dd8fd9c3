//! Bar charts as SVG, without scripts.

use super::level::Level;
use super::snapshot::{PASS_SPAN, PASS_SPANS, PassSpan};
use crate::report::humanize;
use crate::store::{RunOutcome, RunRecord};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of syncs in a chart.
pub(super) const MAX_PLOTTED_SYNCS: usize = 30;

/// Height of a chart in SVG units; the width depends on the number of bars.
const HEIGHT: u32 = 56;

/// Distance between bars in SVG units.
const STEP: u32 = 10;

/// Minimum height of a bar, so that it is visible.
const MIN_BAR_HEIGHT: u32 = 3;

#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Caption, such as the value of the highest bar.
    pub(super) note: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bars: Vec<Bar>,
    /// Labels of the left and the right end.
    pub(super) axis: [String; 2],
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) level: Level,
    pub(super) title: String,
}

/// Charts of the records and durations of the last syncs; `runs` is newest first.
pub(super) fn syncs(runs: &[RunRecord], now: Timestamp, zone: &TimeZone) -> Vec<Plot> {
    let sent = runs.iter().filter(|run| !matches!(run.outcome, RunOutcome::Skipped | RunOutcome::Rewound));
    let mut sent: Vec<&RunRecord> =
        sent.filter(|run| run.finished_at.is_some()).take(MAX_PLOTTED_SYNCS).collect();
    sent.reverse();
    if sent.is_empty() {
        return Vec::new();
    }
    let took = |run: &RunRecord| run.finished_at.map(|end| end.duration_since(run.started_at).unsigned_abs());
    let millis = |run: &RunRecord| took(run).map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let title = |run: &RunRecord| {
        let records = run.records.map(|records| format!(", {}", count(records, "record")));
        let took = took(run).map(|took| format!(", {}", humanize::duration(took)));
        let when = humanize::moment(run.started_at, zone, now);
        format!("{when}: {}{}{}", run.outcome.as_str(), records.unwrap_or_default(), took.unwrap_or_default())
    };
    let plot =
        |name: &'static str, value: &dyn Fn(&RunRecord) -> Option<u64>, shown: &dyn Fn(u64) -> String| {
            let most = sent.iter().filter_map(|run| value(run)).max()?;
            let first = MAX_PLOTTED_SYNCS - sent.len();
            let bars = sent.iter().enumerate().map(|(n, run)| {
                let height = scaled(value(run).unwrap_or(0), most).max(MIN_BAR_HEIGHT);
                bar(first + n, HEIGHT - height, height, Level::of(run.outcome), title(run))
            });
            let bars: Vec<Bar> = bars.collect();
            let note = format!("highest {}, of the last {}", shown(most), count(bars.len() as u64, "sync"));
            let axis = [format!("{MAX_PLOTTED_SYNCS} syncs ago"), "latest".to_owned()];
            Some(Plot { title: name, note, width: step(MAX_PLOTTED_SYNCS), height: HEIGHT, bars, axis })
        };
    let records = plot("Records", &|run| run.records, &|most| {
        humanize::number(usize::try_from(most).unwrap_or(usize::MAX))
    });
    let durations = plot("Duration", &millis, &|most| humanize::duration(Duration::from_millis(most)));
    records.into_iter().chain(durations).collect()
}

/// Chart of the passes of the last day, by quarter of an hour.
pub(super) fn passes(spans: &VecDeque<PassSpan>, now: Timestamp, zone: &TimeZone) -> Option<Plot> {
    let last = now.as_second() / PASS_SPAN.as_secs();
    let first = last - (PASS_SPANS as i64 - 1);
    let shown = || spans.iter().filter(|span| (first..=last).contains(&span.number));
    let most = shown().map(|span| u64::from(span.good) + u64::from(span.failed)).max()?;
    let mut bars = Vec::new();
    for span in shown() {
        let place = usize::try_from(span.number - first).unwrap_or(0);
        let from = Timestamp::from_second(span.number * PASS_SPAN.as_secs()).unwrap_or(now);
        let title = format!(
            "{}: {} good, {} failed, the longest took {}",
            humanize::moment(from, zone, now),
            humanize::number(span.good as usize),
            humanize::number(span.failed as usize),
            humanize::duration(span.longest)
        );
        let least = |many: u32, height: u32| if many > 0 { height.max(MIN_BAR_HEIGHT) } else { 0 };
        let failed = least(span.failed, scaled(u64::from(span.failed), most)).min(HEIGHT);
        let good = least(span.good, scaled(u64::from(span.good), most)).min(HEIGHT - failed);
        if good > 0 {
            bars.push(bar(place, HEIGHT - failed - good, good, Level::Good, title.clone()));
        }
        if failed > 0 {
            bars.push(bar(place, HEIGHT - failed, failed, Level::Bad, title));
        }
    }
    let sum = |of: fn(&PassSpan) -> u32| shown().map(|span| u64::from(of(span))).sum::<u64>();
    let (good, failed) = (sum(|span| span.good), sum(|span| span.failed));
    let longest = shown().map(|span| span.longest).max().unwrap_or_default();
    let note = format!(
        "{} passes in 24 h, {failed} failed, the longest took {}",
        humanize::number(usize::try_from(good + failed).unwrap_or(usize::MAX)),
        humanize::duration(longest)
    );
    let axis = ["24 h ago".to_owned(), "now".to_owned()];
    Some(Plot { title: "Passes", note, width: step(PASS_SPANS), height: HEIGHT, bars, axis })
}

fn bar(n: usize, y: u32, height: u32, level: Level, title: String) -> Bar {
    Bar { x: step(n), y, width: STEP - 2, height, level, title }
}

fn step(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(0).saturating_mul(STEP)
}

fn scaled(value: u64, most: u64) -> u32 {
    let height = u128::from(value) * u128::from(HEIGHT) / u128::from(most.max(1));
    u32::try_from(height).unwrap_or(HEIGHT)
}

fn count(n: u64, noun: &str) -> String {
    humanize::count(usize::try_from(n).unwrap_or(usize::MAX), noun)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, SourceName, WorkspaceId, WorkspaceRef};
    use crate::store::Trigger;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn run(start: i64, took: i64, records: Option<u64>, outcome: RunOutcome) -> RunRecord {
        RunRecord {
            run: start,
            workspace: WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() },
            name: SourceName::parse("s").unwrap(),
            trigger: Trigger::Schedule,
            firing: at(start),
            started_at: at(start),
            finished_at: Some(at(start + took)),
            records,
            outcome,
            message: None,
        }
    }

    #[test]
    fn the_last_syncs_are_bars_from_left_to_right_and_what_failed_is_seen() {
        let mut runs: Vec<RunRecord> =
            (0..40).map(|n| run(1000 - n, 2, Some(100), RunOutcome::Done)).collect();
        runs[0] = run(1000, 4, None, RunOutcome::Failed);
        runs[1].outcome = RunOutcome::Skipped;
        let plots = syncs(&runs, at(2000), &TimeZone::UTC);
        let [records, durations] = plots.as_slice() else { panic!("{plots:?}") };
        assert_eq!((records.bars.len(), durations.bars.len()), (MAX_PLOTTED_SYNCS, MAX_PLOTTED_SYNCS));
        let last = records.bars.last().unwrap();
        assert_eq!((last.level, last.height, last.y + last.height), (Level::Bad, MIN_BAR_HEIGHT, HEIGHT));
        assert_eq!(records.bars[0].height, HEIGHT);
        assert_eq!(durations.bars.last().unwrap().height, HEIGHT, "the longest");
        assert_eq!(durations.bars[0].height, HEIGHT / 2);
        assert!(syncs(&[], at(2000), &TimeZone::UTC).is_empty());
        let few = syncs(&runs[..3], at(2000), &TimeZone::UTC);
        let places = |plot: &Plot| plot.bars.iter().map(|bar| bar.x / STEP).collect::<Vec<_>>();
        assert_eq!(places(&few[1]), [28, 29], "the latest is always at the right end");
    }

    #[test]
    fn the_passes_of_the_last_day_are_stacked_and_older_ones_left_out() {
        let span = |number, good, failed| PassSpan { number, good, failed, longest: Duration::from_secs(1) };
        let now = at(100 * PASS_SPAN.as_secs());
        let mut spans = VecDeque::from([span(4, 9, 9), span(5, 1, 0), span(100, 3, 1)]);
        let plot = passes(&spans, now, &TimeZone::UTC).unwrap();
        let shown: Vec<_> = plot.bars.iter().map(|bar| (bar.x / STEP, bar.level, bar.height)).collect();
        assert_eq!(shown, [(0, Level::Good, 14), (95, Level::Good, 42), (95, Level::Bad, 14)]);
        assert!(plot.note.starts_with("5 passes in 24 h, 1 failed"), "{}", plot.note);
        spans.truncate(1);
        assert!(passes(&spans, now, &TimeZone::UTC).is_none());
    }
}
