//! Formats durations in the syntax of the files.

use jiff::fmt::friendly::{Spacing, SpanPrinter};
use std::time::Duration;

/// Formats `2d`, `26h`, `1h30m`, `45s`; days only without a remainder.
#[must_use]
pub fn format_duration(length: Duration) -> String {
    const PRINTER: SpanPrinter = SpanPrinter::new().spacing(Spacing::None);
    const DAY: u64 = 86_400;
    let seconds = length.as_secs();
    if length.subsec_nanos() == 0 && seconds != 0 && seconds.is_multiple_of(DAY) {
        return format!("{}d", seconds / DAY);
    }
    PRINTER.unsigned_duration_to_string(&length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_use_few_units() {
        let check = |milliseconds: u64, expected: &str| {
            assert_eq!(format_duration(Duration::from_millis(milliseconds)), expected);
        };
        check(0, "0s");
        check(1_500, "1s500ms");
        check(45_000, "45s");
        check(26 * 3_600_000, "26h");
        check(48 * 3_600_000, "2d");
        check(3_661_000, "1h1m1s");
    }
}
