//! Formats a schedule in the syntax of the files.

use crate::model::{Schedule, SyncSpec};
use std::time::Duration;

/// Formats a schedule, such as `every 6h` or `15 2 * * MON-SAT Europe/Rome`.
///
/// Appends ` jitter 5m` if a jitter is declared. The text comes from the files and is not escaped.
#[must_use]
pub fn describe(spec: &SyncSpec) -> String {
    let mut text = match &spec.when {
        Schedule::Every(period) => format!("every {}", duration(*period)),
        Schedule::Cron { expression, timezone } => {
            let mut words: Vec<&str> = expression.split_whitespace().collect();
            words.push(timezone);
            words.join(" ")
        }
    };
    if !spec.jitter.is_zero() {
        text.push_str(" jitter ");
        text.push_str(&duration(spec.jitter));
    }
    text
}

/// Formats `2d`, `26h`, `1h30m`, `45s`, `1500ms`; days only without a remainder.
fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    if length.subsec_nanos() != 0 {
        return format!("{}ms", length.as_millis());
    }
    if seconds == 0 {
        return "0s".to_owned();
    }
    if seconds.is_multiple_of(86_400) {
        return format!("{}d", seconds / 86_400);
    }
    [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{describe, duration};
    use crate::model::{Missed, Overlap, Schedule, SyncSpec};
    use std::time::Duration;

    #[test]
    fn a_schedule_reads_as_in_the_files() {
        let check = |when: Schedule, jitter: u64, expected: &str| {
            let spec = SyncSpec {
                when,
                jitter: Duration::from_secs(jitter),
                stale_after: None,
                missed: Missed::Once,
                timeout: None,
                on_connect: true,
                on_change: false,
                overlap: Overlap::Forbid,
            };
            assert_eq!(describe(&spec), expected);
        };
        check(Schedule::Every(Duration::from_secs(6 * 3600)), 0, "every 6h");
        check(Schedule::Every(Duration::from_secs(5400)), 300, "every 1h30m jitter 5m");
        let cron = Schedule::Cron { expression: "15 2 *  * MON-SAT".into(), timezone: "Europe/Rome".into() };
        check(cron, 0, "15 2 * * MON-SAT Europe/Rome");
    }

    #[test]
    fn durations_use_few_units() {
        let check = |milliseconds: u64, expected: &str| {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        };
        check(0, "0s");
        check(1_500, "1500ms");
        check(45_000, "45s");
        check(26 * 3_600_000, "26h");
        check(48 * 3_600_000, "2d");
        check(3_661_000, "1h1m1s");
    }
}
