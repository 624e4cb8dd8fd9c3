//! Failures of the platform as a whole that several sources have in common.

use crate::report::{escape, humanize};
use std::collections::BTreeMap;

/// Maximum number of sources named.
const MAX_NAMED: usize = 10;

/// Sources by the outage that they have in common.
pub(super) struct Outages(BTreeMap<String, Vec<String>>);

impl Outages {
    /// Groups sources, each given with its outage; omits an outage of one source alone.
    pub(super) fn of(sources: impl Iterator<Item = (String, String)>) -> Self {
        let mut outages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (source, outage) in sources {
            outages.entry(outage).or_default().push(source);
        }
        outages.retain(|_, sources| sources.len() > 1);
        Self(outages)
    }

    pub(super) fn contain(&self, outage: Option<&str>) -> bool {
        outage.is_some_and(|outage| self.0.contains_key(outage))
    }

    /// Formats each outage, such as `✗ 3 sources not tested: REASON (a/x, b/x, c/x)`.
    pub(super) fn lines(&self, what: &str) -> Vec<String> {
        let line = |(outage, sources): (&String, &Vec<String>)| {
            let named = humanize::first_of(sources.iter().map(|name| escape::terminal_line(name)), MAX_NAMED);
            let (count, outage) = (humanize::count(sources.len(), "source"), escape::terminal_line(outage));
            format!("✗ {count} {what}: {outage} ({named})")
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Outages;

    #[test]
    fn an_outage_of_many_sources_is_one_line_and_that_of_one_is_none() {
        let down = |n: usize| (format!("w/s{n:02}"), "down".to_owned());
        let outages = Outages::of((0..12).map(down).chain([("w/x".to_owned(), "slow".to_owned())]));
        let named = "w/s00, w/s01, w/s02, w/s03, w/s04, w/s05, w/s06, w/s07, w/s08, w/s09 and 2 more";
        assert_eq!(outages.lines("not tested"), [format!("✗ 12 sources not tested: down ({named})")]);
        assert!(outages.contain(Some("down")) && !outages.contain(Some("slow")) && !outages.contain(None));
    }
}
