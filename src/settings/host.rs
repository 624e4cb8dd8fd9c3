//! The host file (`--config`), owned by the operator of the daemon.
//!
//! Its settings may only restrict those of the repository.

mod read;

use super::SettingsError;
use crate::config::Diagnostic;
use crate::model::{Limit, Prune, SecretRef};
use crate::plan::HostLimits;
use crate::secrets::Allow;
use crate::webhooks::{NotificationEvent, PayloadFormat};
use globset::{Glob, GlobMatcher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Maximum duration: longer values are typing errors.
///
/// The bound also keeps later arithmetic from overflowing.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// Content of the host file, such as `/etc/wellspring/daemon.toml`.
#[derive(Debug, Clone, Default)]
pub struct HostFile {
    pub daemon: DaemonSettings,
    pub platform: HostPlatform,
    pub limits: HostLimitSettings,
    pub secrets: HostSecrets,
    pub variables: HostVariables,
    pub state: HostState,
    pub http: HostHttp,
    pub notify: Vec<HostNotify>,
}

#[derive(Debug, Clone, Default)]
pub struct DaemonSettings {
    /// Directory of the tree, or a symlink to it that may be replaced.
    pub dir: Option<PathBuf>,
    /// `"apply"` or `"dry-run"`
    pub mode: Mode,
    /// Interval of the full check for drift.
    pub interval: Option<HumanDuration>,
    /// Quiet time of the files before a removal.
    pub settle: Option<NonNegativeDuration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Apply,
    /// Only logs planned changes.
    DryRun,
}

#[derive(Debug, Clone, Default)]
pub struct HostPlatform {
    /// URL of the platform; overrides the repository.
    pub url: Option<String>,
    /// `{ secret = "credential:pmtx-token" }`
    pub token: Option<TokenReference>,
    /// Timeout of one attempt of a request.
    pub timeout: Option<HumanDuration>,
    pub sync_timeout: Option<HumanDuration>,
    /// Time after which a write must be visible on the platform.
    pub settle: Option<NonNegativeDuration>,
    /// Maximum number of concurrent requests.
    pub max_in_flight: Option<usize>,
    /// Maximum number of requests per second.
    pub requests_per_second: Option<u32>,
    /// Permits plain `http://` to another machine.
    pub allow_plaintext: bool,
}

#[derive(Debug, Clone, Default)]
pub struct HostLimitSettings {
    /// Maximum number of removals in any hour.
    pub max_cleanup: Option<HostLimit>,
    /// Maximum number of replacements in one pass.
    pub max_replace: Option<HostLimit>,
    /// With `"off"`, this host never removes anything.
    pub prune: Option<HostPrune>,
}

#[derive(Debug, Clone, Default)]
pub struct HostSecrets {
    /// Directory of `file:` secrets.
    pub dir: Option<PathBuf>,
    /// Permitted uses of secrets; once one entry exists, all others are denied.
    pub allow: Vec<HostAllow>,
}

#[derive(Debug, Clone, Default)]
pub struct HostVariables {
    /// Patterns of the variables allowed in `[platform]` and `[workspaces]`.
    pub allow: Option<Vec<GlobMatcher>>,
}

impl HostVariables {
    /// Parses patterns separated by commas.
    pub fn listed(text: &str) -> Result<Self, String> {
        let patterns = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let pattern = |name: &str| match Glob::new(name) {
            Ok(glob) => Ok(glob.compile_matcher()),
            Err(error) => Err(format!("{name:?} is not a pattern: {}", error.kind())),
        };
        Ok(Self { allow: Some(patterns.map(pattern).collect::<Result<_, _>>()?) })
    }
}

#[derive(Debug, Clone)]
pub struct HostAllow {
    /// Pattern of references, such as `env:ORDERS_*`.
    name: GlobMatcher,
    /// Workspaces in which they may be used, by alias or id.
    workspaces: Option<Vec<String>>,
    /// Patterns of hosts that may receive them, in lower case.
    hosts: Option<Vec<GlobMatcher>>,
}

#[derive(Debug, Clone, Default)]
pub struct HostState {
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default)]
pub struct HostHttp {
    /// Address of the status page, metrics and health; `None` disables them.
    pub listen: Option<SocketAddr>,
    /// Accepted `Host` names, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
}

/// `[[notify]]`
#[derive(Debug, Clone)]
pub struct HostNotify {
    /// Reference to the webhook's address: `{ secret = "env:SLACK_WEBHOOK" }`.
    pub url: TokenReference,
    /// `"json"` or `"slack"`
    pub format: PayloadFormat,
    /// Events to report; `None` for all.
    pub events: Option<Vec<NotificationEvent>>,
}

/// A duration such as `"30s"` or `"1h 30m"`, from one second to 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(Duration);

/// Like [`HumanDuration`], but may be shorter than a second or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonNegativeDuration(Duration);

/// A number, or a percentage such as `"30%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimit(pub Limit);

/// `"off"` or `"owned"`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPrune {
    Off,
    Owned,
}

/// `{ secret = "env:NAME" | "file:NAME" | "credential:NAME" }`
#[derive(Debug, Clone)]
pub struct TokenReference {
    secret: SecretRef,
}

impl HostFile {
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

    /// Parses the content of a host file called `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        read::host_file(name, text)
    }
}

impl HumanDuration {
    pub fn get(self) -> Duration {
        self.0
    }
}

impl NonNegativeDuration {
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TokenReference {
    pub fn reference(&self) -> &SecretRef {
        &self.secret
    }
}

impl From<&HostAllow> for Allow {
    fn from(allow: &HostAllow) -> Self {
        Self { name: allow.name.clone(), workspaces: allow.workspaces.clone(), hosts: allow.hosts.clone() }
    }
}

impl From<HostLimitSettings> for HostLimits {
    fn from(limits: HostLimitSettings) -> Self {
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

impl FromStr for HumanDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            NonNegativeDuration(duration) if duration < Duration::from_secs(1) => {
                Err("one second is the shortest")
            }
            NonNegativeDuration(duration) => Ok(Self(duration)),
        }
    }
}

impl FromStr for NonNegativeDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        let read = text.parse().and_then(|span: jiff::Span| span.to_duration(day));
        match Duration::try_from(
            read.map_err(|_| "write a number and a unit, such as \"30s\" or \"1h 30m\"")?,
        ) {
            Err(_) => Err("a duration cannot be negative"),
            Ok(duration) if duration > MAX_DURATION => Err("366 days are the longest"),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}
