//! Formats a schedule in the syntax of the files.

use crate::model::{Schedule, SyncSpec, format_duration};

/// Formats a schedule, such as `every 6h` or `15 2 * * MON-SAT Europe/Rome`.
///
/// Appends ` jitter 5m` if a jitter is declared. The text comes from the files and is not escaped.
#[must_use]
pub fn describe(spec: &SyncSpec) -> String {
    let mut text = match &spec.when {
        Schedule::Every(period) => format!("every {}", format_duration(*period)),
        Schedule::Cron { expression, timezone } => {
            let mut words: Vec<&str> = expression.split_whitespace().collect();
            words.push(timezone);
            words.join(" ")
        }
    };
    if !spec.jitter.is_zero() {
        text.push_str(" jitter ");
        text.push_str(&format_duration(spec.jitter));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::describe;
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
}
