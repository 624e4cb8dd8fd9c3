//! The host file (`--config`): it belongs to whoever runs the daemon, and may only tighten what the
//! repository says.

mod read;

use super::SettingsError;
use crate::manifest::Diagnostic;
use crate::model::{Limit, Prune, SecretRef};
use crate::notices::{Event, Shape};
use crate::plan::HostLimits;
use crate::secrets::Allow;
use globset::{Glob, GlobMatcher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Longer is a slip, and keeps later arithmetic far from its bounds.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `/etc/wellspring/daemon.toml`
#[derive(Debug, Clone, Default)]
pub struct HostFile {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[platform]`
    pub platform: HostPlatform,
    /// `[limits]`
    pub limits: Limits,
    /// `[secrets]`
    pub secrets: HostSecrets,
    /// `[variables]`
    pub variables: HostVariables,
    /// `[state]`
    pub state: HostState,
    /// `[http]`
    pub http: HostHttp,
    /// `[[notify]]`
    pub notify: Vec<HostNotify>,
}

/// `[daemon]`
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does what the files say.
    #[default]
    Apply,
    /// It prints what it would do.
    DryRun,
}

/// `[platform]`
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Removals in any hour.
    pub max_cleanup: Option<HostLimit>,
    /// Replacements in one pass.
    pub max_replace: Option<HostLimit>,
    /// `"off"`: nothing is ever removed from here.
    pub prune: Option<HostPrune>,
}

/// `[secrets]`
#[derive(Debug, Clone, Default)]
pub struct HostSecrets {
    /// Where `file:` names lie.
    pub dir: Option<PathBuf>,
    /// What may be used where; once one entry stands, nothing else.
    pub allow: Vec<HostAllow>,
}

/// `[variables]`
#[derive(Debug, Clone, Default)]
pub struct HostVariables {
    /// Which variables `wellspring.toml` may refer to in `[platform]` and `[workspaces]`, as patterns.
    pub allow: Option<Vec<GlobMatcher>>,
}

impl HostVariables {
    /// Of patterns separated by commas.
    ///
    /// # Errors
    /// Which of them is no pattern.
    pub fn listed(text: &str) -> Result<Self, String> {
        let patterns = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let pattern = |name: &str| match Glob::new(name) {
            Ok(glob) => Ok(glob.compile_matcher()),
            Err(error) => Err(format!("{name:?} is not a pattern: {}", error.kind())),
        };
        Ok(Self { allow: Some(patterns.map(pattern).collect::<Result<_, _>>()?) })
    }
}

/// `[[secrets.allow]]`
#[derive(Debug, Clone)]
pub struct HostAllow {
    /// Which references, as a pattern: `env:ORDERS_*`.
    name: GlobMatcher,
    /// In which workspaces, by alias or id.
    workspaces: Option<Vec<String>>,
    /// Towards which hosts, as patterns in lower case.
    hosts: Option<Vec<GlobMatcher>>,
}

/// `[state]`
#[derive(Debug, Clone, Default)]
pub struct HostState {
    /// The state directory.
    pub dir: Option<PathBuf>,
}

/// `[http]`
#[derive(Debug, Clone, Default)]
pub struct HostHttp {
    /// Where the status page, metrics and health are served; nowhere when it is not said.
    pub listen: Option<SocketAddr>,
    /// Names under which a browser may ask for them, besides `localhost` and plain addresses.
    pub hosts: Vec<String>,
}

/// `[[notify]]`
#[derive(Debug, Clone)]
pub struct HostNotify {
    /// Where the webhook's address is kept: `{ secret = "env:SLACK_WEBHOOK" }`.
    pub url: TokenReference,
    /// `"json"` or `"slack"`
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPrune {
    /// Nothing is removed.
    Off,
    /// The repository decides.
    Owned,
}

/// `{ secret = "env:NAME" | "file:NAME" | "credential:NAME" }`
#[derive(Debug, Clone)]
pub struct TokenReference {
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
        let name = path.to_string_lossy();
        Self::parse(&name, &text).map_err(|diagnostics| SettingsError::Host {
            path: path.to_owned(),
            text,
            diagnostics,
        })
    }

    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// Everything that is wrong with it. No message holds a value that may be a secret.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        read::host_file(name, text)
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
        Self { name: allow.name.clone(), workspaces: allow.workspaces.clone(), hosts: allow.hosts.clone() }
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
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            Pause(duration) if duration < Duration::from_secs(1) => Err("one second is the shortest"),
            Pause(duration) => Ok(Self(duration)),
        }
    }
}

impl FromStr for Pause {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        let read = text.parse().and_then(|span: jiff::Span| span.to_duration(day));
        match Duration::try_from(
            read.map_err(|_| "write a number and a unit, such as \"30s\" or \"1h 30m\"")?,
        ) {
            Err(_) => Err("a duration cannot be negative"),
            Ok(duration) if duration > LONGEST => Err("366 days are the longest"),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}
