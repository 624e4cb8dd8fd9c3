//! Validates cron expressions and time zones.

use super::diagnostic::display_key;
use super::suggest::did_you_mean;
use crate::zones;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDateTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The reason why an expression is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CronProblem {
    /// Not five cron fields; the text explains how to fix it.
    Malformed(String),
    /// Names no existing date.
    NeverFires,
}

/// Cache of checked expressions, shared between threads.
///
/// Many sources share a few expressions, and a check has to search for a date.
#[derive(Clone, Default)]
pub(super) struct CronCache(Arc<Mutex<HashMap<String, Result<(), CronProblem>>>>);

impl CronCache {
    /// Like [`check`], but checks each expression only once.
    pub(super) fn of(&self, expression: &str) -> Result<(), CronProblem> {
        let known = |verdicts: &HashMap<_, _>| verdicts.get(expression).cloned();
        if let Some(known) = self.0.lock().ok().as_deref().and_then(known) {
            return known;
        }
        let verdict = check(expression);
        if let Ok(mut verdicts) = self.0.lock() {
            verdicts.insert(expression.to_owned(), verdict.clone());
        }
        verdict
    }
}

/// Checks an expression of five fields.
///
/// # Errors
/// If it is malformed, or does not fire within any eight years.
fn check(expression: &str) -> Result<(), CronProblem> {
    let malformed = |why: String| Err(CronProblem::Malformed(why));
    const MAX_LENGTH: usize = 200;
    if expression.len() > MAX_LENGTH {
        return malformed("an expression this long is no schedule".to_owned());
    }
    if expression.trim_start().starts_with('@') {
        return malformed("write the five fields: daily at midnight is `0 0 * * *`".to_owned());
    }
    match expression.split_whitespace().count() {
        5 => {}
        6 => return malformed("a seconds field is not used here: drop the first field".to_owned()),
        count => {
            return malformed(format!(
                "five fields are needed (minute, hour, day of month, month, day of week), not {count}"
            ));
        }
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    // The parser accepts a gap in a list, so each field is checked first.
    let cron = match (wrong_field(&parser, expression), parser.parse(expression)) {
        (None, Ok(cron)) => cron,
        (Some(why), _) => return malformed(why),
        (None, Err(error)) => return malformed(reason(&error)),
    };
    // From a fixed day, so that the result depends on the text only. Any eight years contain a 29 February.
    let from = ZoneTime(DateTime::constant(2096, 3, 1, 0, 0, 0, 0));
    match cron.find_next_occurrence(&from, true) {
        Ok(next) if next.0.year() <= 2096 + 8 => Ok(()),
        _ => Err(CronProblem::NeverFires),
    }
}

/// Returns true if crontab would select other days.
///
/// If either day field begins with `*`, crontab requires both to match; here either is enough.
pub(super) fn differs_from_crontab(expression: &str) -> bool {
    let mut fields = expression.split_whitespace().skip(2).step_by(2);
    let (Some(of_month), Some(of_week)) = (fields.next(), fields.next()) else { return false };
    let is_restricted = |field: &str| !matches!(field, "*" | "?");
    let begins_with_star = of_month.starts_with('*') || of_week.starts_with('*');
    is_restricted(of_month) && is_restricted(of_week) && begins_with_star && !of_week.starts_with('+')
}

/// Returns an error message for the first invalid field, with its range.
fn wrong_field(parser: &CronParser, expression: &str) -> Option<String> {
    const FIELDS: [(&str, &str); 5] = [
        ("minute", "0 to 59"),
        ("hour", "0 to 23"),
        ("day of month", "1 to 31, or L for the last"),
        ("month", "1 to 12, or JAN to DEC"),
        ("day of week", "0 to 7, where 0 and 7 are Sunday, or MON to SUN"),
    ];
    let wrong = expression.split_whitespace().zip(FIELDS).enumerate().find(|(at, (field, _))| {
        let mut alone = ["*"; 5];
        alone[*at] = field;
        field.split(',').any(str::is_empty) || parser.parse(&alone.join(" ")).is_err()
    });
    let (at, (field, (name, range))) = wrong?;
    let nth = ["first", "second", "third", "fourth", "fifth"][at];
    Some(format!(
        "the {nth} field is the {name}: it takes {range}, and `*`, not `{}`; with lists `1,2`, ranges `1-5` and \
         steps `*/5`",
        display_key(field)
    ))
}

fn reason(error: &CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    display_key(text.trim_end_matches('.'))
}

/// Checks the name of an IANA time zone.
///
/// # Errors
/// With a suggestion if a similar name exists.
pub(super) fn check_zone(name: &str) -> Result<(), Option<String>> {
    if zones::get(name).is_some() {
        return Ok(());
    }
    let names = zones::names();
    Err(did_you_mean(name, names.iter().map(String::as_str)))
}

/// Date and time without a zone, enough to determine whether a date exists.
#[derive(Clone)]
struct ZoneTime(DateTime);

impl CronDateTime for ZoneTime {
    fn to_civil(&self) -> CivilDateTime {
        let Self(at) = self;
        CivilDateTime::from_ymd_hms_opt(
            i32::from(at.year()),
            at.month().unsigned_abs().into(),
            at.day().unsigned_abs().into(),
            at.hour().unsigned_abs().into(),
            at.minute().unsigned_abs().into(),
            at.second().unsigned_abs().into(),
        )
        .expect("a calendar's date is a date")
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.0.weekday().to_sunday_zero_offset().unsigned_abs().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let (date, time) = (civil.date(), civil.time());
        let small = |number: u32| i8::try_from(number).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(date.year()).map_err(|_| CronError::InvalidDate)?;
        DateTime::new(
            year,
            small(date.month())?,
            small(date.day())?,
            small(time.hour())?,
            small(time.minute())?,
            small(time.second())?,
            0,
        )
        .map(|at| Resolution::Single(Self(at)))
        .map_err(|_| CronError::InvalidDate)
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(jiff::SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_that_fire_are_accepted() {
        for text in
            ["15 2 * * MON-SAT", "*/5 * * * *", "0 0 29 2 *", "0 0 31 12 *", "0 9 L * *", "0 9 * * 1#1"]
        {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn dates_that_never_come_are_found() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(check(text), Err(CronProblem::NeverFires), "{text}");
        }
    }

    #[test]
    fn what_is_no_cron_is_refused_with_a_reason() {
        for text in ["", "* * * *", "0 15 2 * * MON", "@daily", "60 * * * *", "a b c d e", "* * * * * * *"] {
            assert!(matches!(check(text), Err(CronProblem::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn the_field_that_is_wrong_is_named_with_its_range() {
        for (text, named) in [
            ("60 * * * *", "minute: it takes 0 to 59"),
            ("0 24 * * *", "hour: it takes 0 to 23"),
            ("0 0 32 * *", "day of month: it takes 1 to 31"),
            ("0 0 * 13 *", "month: it takes 1 to 12"),
            ("0 0 * * FUN", "day of week: it takes 0 to 7"),
        ] {
            let Err(CronProblem::Malformed(why)) = check(text) else { panic!("{text}") };
            assert!(why.contains(named), "{text}: {why}");
        }
    }

    #[test]
    fn days_that_crontab_chooses_otherwise_are_noticed() {
        for (text, differs) in [
            ("0 0 */2 * MON", true),
            ("0 0 1 * */2", true),
            ("0 0 */2 * */2", true),
            ("0 0 */2 * +MON", false),
            ("0 0 */2 * *", false),
            ("0 0 1,15 * MON", false),
            ("0 0 * * MON", false),
            ("*/5 */2 * * *", false),
        ] {
            assert_eq!(differs_from_crontab(text), differs, "{text}");
        }
    }

    #[test]
    fn a_zone_is_known_or_something_like_it_is_proposed() {
        assert_eq!(check_zone("Europe/Rome"), Ok(()));
        assert_eq!(check_zone("UTC"), Ok(()));
        assert_eq!(check_zone("Europe/Roma"), Err(Some("did you mean `Europe/Rome`?".to_owned())));
        for name in ["", "localtime", "posixrules"] {
            assert_eq!(check_zone(name), Err(None), "{name}");
        }
    }
}
