//! The host file (`--config`): it belongs to whoever runs the daemon, and may only tighten what the
//! repository says.

use super::SettingsError;
use crate::model::{Limit, Prune, SecretRef};
use crate::notices::{Event, Shape};
use crate::plan::HostLimits;
use crate::secrets::Allow;
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Longer is a slip, and keeps later arithmetic far from its bounds.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `/etc/wellspring/daemon.toml`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostFile {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[platform]`
    pub platform: HostPlatform,
    /// `[limits]`
    pub limits: Limits,
    /// `[secrets]`
    pub secrets: HostSecrets,
    /// `[state]`
    pub state: HostState,
    /// `[http]`
    pub http: HostHttp,
    /// `[[notify]]`
    pub notify: Vec<HostNotify>,
}

/// `[daemon]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// The tree: a directory, or a symlink that is swapped.
    pub dir: Option<PathBuf>,
    /// `"apply"` or `"dry-run"`
    pub mode: Mode,
    /// Full re-check for drift.
    pub interval: Option<Humane>,
    /// Quiet time before a removal is acted on.
    pub settle: Option<Pause>,
}

/// Does the daemon write?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It does what the files say.
    #[default]
    Apply,
    /// It prints what it would do.
    DryRun,
}

/// `[platform]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostPlatform {
    /// Pins the platform.
    pub url: Option<String>,
    /// `{ secret = "credential:pmtx-token" }`
    pub token: Option<TokenReference>,
    /// For one attempt of a call.
    pub timeout: Option<Humane>,
    /// For a sync call.
    pub sync_timeout: Option<Humane>,
    /// How long a write may take to show.
    pub settle: Option<Pause>,
    /// Calls under way at once.
    pub max_in_flight: Option<usize>,
    /// Calls begun per second.
    pub requests_per_second: Option<u32>,
    /// Permits `http://` to another machine.
    pub allow_plaintext: bool,
}

/// `[limits]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Removals in any hour.
    pub max_cleanup: Option<HostLimit>,
    /// Replacements in one pass.
    pub max_replace: Option<HostLimit>,
    /// `"off"`: nothing is ever removed from here.
    pub prune: Option<HostPrune>,
}

/// `[secrets]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSecrets {
    /// Where `file:` names lie.
    pub dir: Option<PathBuf>,
    /// What may be used where; once one entry stands, nothing else.
    pub allow: Vec<HostAllow>,
}

/// `[[secrets.allow]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAllow {
    /// Which references, as a pattern: `env:ORDERS_*`.
    name: Pattern,
    /// In which workspaces, by alias or id.
    workspaces: Option<Vec<String>>,
    /// Towards which hosts, as patterns in lower case.
    hosts: Option<Vec<Pattern>>,
}

/// `*` stands for anything.
#[derive(Debug, Clone)]
struct Pattern(GlobMatcher);

/// `[state]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostState {
    /// The state directory.
    pub dir: Option<PathBuf>,
}

/// `[http]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostHttp {
    /// Where the status page, metrics and health are served; nowhere when it is not said.
    pub listen: Option<SocketAddr>,
    /// Names under which a browser may ask for them, besides `localhost` and plain addresses.
    pub hosts: Vec<String>,
}

/// `[[notify]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostNotify {
    /// Where the webhook's address is kept: `{ secret = "env:SLACK_WEBHOOK" }`.
    pub url: TokenReference,
    /// `"json"` or `"slack"`
    #[serde(default)]
    pub format: Shape,
    /// Of what it is told; of everything when it is not said.
    pub events: Option<Vec<Event>>,
}

/// A duration such as `"30s"` or `"1h 30m"`: from one second to 366 days, as in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Humane(Duration);

/// The same, but it may be shorter than a second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause(Duration);

/// A number, or a percentage such as `"30%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimit(pub Limit);

/// `"off"` or `"owned"`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostPrune {
    /// Nothing is removed.
    Off,
    /// The repository decides.
    Owned,
}

/// `{ secret = "env:NAME" | "file:NAME" | "credential:NAME" }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenReference {
    #[serde(deserialize_with = "reference")]
    secret: SecretRef,
}

impl HostFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or has an error in it.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Host { path: path.to_owned(), source: Box::new(source) })
    }
}

impl Humane {
    /// The duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Pause {
    /// The duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TokenReference {
    /// Where the token is.
    #[must_use]
    pub fn reference(&self) -> &SecretRef {
        &self.secret
    }
}

impl From<&HostAllow> for Allow {
    fn from(allow: &HostAllow) -> Self {
        Self {
            name: allow.name.0.clone(),
            workspaces: allow.workspaces.clone(),
            hosts: allow.hosts.as_ref().map(|hosts| hosts.iter().map(|host| host.0.clone()).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let glob = Glob::new(&text);
        glob.map(|glob| Self(glob.compile_matcher()))
            .map_err(|error| de::Error::custom(format!("{text:?} is not a pattern: {}", error.kind())))
    }
}

impl From<Limits> for HostLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_cleanup: limits.max_cleanup.map(|limit| limit.0),
            max_replace: limits.max_replace.map(|limit| limit.0),
            prune: limits.prune.map(|prune| match prune {
                HostPrune::Off => Prune::Off,
                HostPrune::Owned => Prune::Owned,
            }),
        }
    }
}

impl FromStr for Humane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Pause(duration) if duration < Duration::from_secs(1) => {
                Err(format!("{text:?}: one second is the shortest"))
            }
            Pause(duration) => Ok(Self(duration)),
        }
    }
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        let read = text.parse().and_then(|span: jiff::Span| span.to_duration(day));
        let span = read.map_err(|_| format!("{text:?} is not a duration such as \"30s\""))?;
        match Duration::try_from(span) {
            Err(_) => Err("a duration cannot be negative".to_owned()),
            Ok(duration) if duration > LONGEST => Err(format!("{text:?}: 366 days are the longest")),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}

impl<'de> Deserialize<'de> for Humane {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HostLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u32),
            Percent(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Count(count) => Ok(Self(Limit::Count(count))),
            Written::Percent(text) => text
                .strip_suffix('%')
                .and_then(|percent| percent.parse::<u8>().ok())
                .filter(|percent| *percent <= 100)
                .map(|percent| Self(Limit::Percent(percent)))
                .ok_or_else(|| de::Error::custom(format!("{text:?} is neither a number nor like \"30%\""))),
        }
    }
}

fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = match text.split_once(':') {
        Some(("env", name)) => Some(SecretRef::Env(name.to_owned())),
        Some(("file", name)) => Some(SecretRef::File(name.to_owned())),
        Some(("credential", name)) => Some(SecretRef::Credential(name.to_owned())),
        _ => None,
    };
    parsed.ok_or_else(|| de::Error::custom("a secret is `env:NAME`, `file:NAME` or `credential:NAME`"))
}
