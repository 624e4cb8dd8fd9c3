//! Finds the host's time zones.
//!
//! Invariant: reads only directories of the system, or the one that `TZDIR` names.

use crate::zones::HostZones;
use jiff::tz::TimeZoneDatabase;
use std::path::{Path, PathBuf};

/// Directories of the system's time zones.
const DIRECTORIES: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];

/// Returns the host's time zones, if the host has any.
pub fn find() -> Option<HostZones> {
    let named = std::env::var_os("TZDIR").map(PathBuf::from).into_iter();
    let directory = named.chain(DIRECTORIES.map(PathBuf::from)).find(|path| path.is_dir())?;
    Some(in_directory(directory))
}

fn in_directory(directory: PathBuf) -> HostZones {
    let version = version(&directory);
    HostZones { version, open: Box::new(move || TimeZoneDatabase::from_dir(directory).ok()) }
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
    if known { Some(version.to_owned()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::Zones;
    use jiff::tz::TimeZone;

    /// The TZif file of UTC, version 1 only: a header, and one type named UTC.
    const UTC: &[u8] = b"TZif\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0UTC\0";

    /// Creates a host directory in which the zone of this name is always UTC.
    fn host(version: Option<&str>, zone: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let utc = UTC;
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
            let zones = Zones::new(Some(in_directory(directory.path().to_owned())));
            assert_eq!(zones.origin().is_host(), of_host, "{version:?}");
            assert_eq!(
                offset(&zones.get("Japan").unwrap()),
                if of_host { 0 } else { 9 * 3600 },
                "{version:?}"
            );
            // Names missing on the host come from the copy.
            assert_eq!(offset(&zones.get("Asia/Kolkata").unwrap()), 19_800);
        }
        assert!(Zones::new(None).get("Europe/Rome").is_some());
    }

    #[test]
    fn a_name_that_differs_by_host_is_none() {
        let directory = host(Some("2999a"), "New");
        let zones = Zones::new(Some(in_directory(directory.path().to_owned())));
        assert!(zones.get("New").is_some(), "a newer host may have a zone besides");
        for name in
            ["localtime", "LocalTime", "posixrules", "posix/Japan", "right/Japan", "", "Etc/Unknown", "../x"]
        {
            assert!(zones.get(name).is_none(), "{name}");
        }
    }
}
