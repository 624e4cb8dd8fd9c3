//! Resolves flags, environment variables and files into settings, once.
//!
//! Precedence: flag, then `WELLSPRING_*`, then the host file, then the repository's
//! `wellspring.toml`. `JARVISPY_URL` applies only if none of them names a URL; `PMTX_TOKEN` is the
//! token if the host file names none.
//!
//! Invariant: the repository cannot loosen a setting of the host file.

mod address;
mod host;
mod token;

pub use address::{DEFAULT_PORT, address};
pub use host::{HostFile, HostVariables, HumanDuration, Mode, NonNegativeDuration};
pub use token::token;

use crate::client::{Backoff, BaseUrl, ClientConfig as RemoteSettings, InvalidBaseUrl, Token};
use crate::config::{Diagnostic, Lookup, SourceFile, render};
use crate::model::{PlatformUrl, SecretRef};
use crate::plan::HostLimits;
use crate::secrets::{Secrets, SharedSecrets};
use crate::tree;
use crate::webhooks::{NotificationEvent, Webhook};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Looks up an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Looks up a variable for `wellspring.toml`, after checking that it is allowed.
pub type Variables = Arc<dyn Fn(&str) -> Lookup + Send + Sync>;

/// Command-line options that affect the settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `[PATH]` or `-C DIR`
    pub dir: Option<PathBuf>,
    pub url: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub config: Option<PathBuf>,
}

/// Settings that do not depend on the content of the tree.
#[derive(Clone)]
pub struct Settings {
    /// Absolute path of the tree, as configured.
    ///
    /// Symlinks in it are resolved again for every read.
    pub root: PathBuf,
    pub state_dir: PathBuf,
    /// Content of the host file, or the defaults.
    pub host: HostFile,
    url: Option<String>,
    environment: Environment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformChoice {
    /// The local platform embedded in this program.
    Local,
    /// A platform reached over HTTP.
    Remote(BaseUrl),
}

impl PlatformChoice {
    /// Origin that receives the token: `https://HOST`, or `local`.
    pub fn origin(&self) -> String {
        match self {
            Self::Local => "local".to_owned(),
            Self::Remote(base_url) => base_url.origin(),
        }
    }
}

impl Settings {
    /// Reads the host file and locates the tree and the state directory.
    ///
    /// Makes no requests and creates no files.
    pub fn resolve(flags: &Flags, environment: Environment) -> Result<Self, SettingsError> {
        let mut host = match &flags.config {
            Some(path) => HostFile::read(path)?,
            None => HostFile::default(),
        };
        if let Some(list) = environment("WELLSPRING_VARIABLES").filter(|list| !list.trim().is_empty()) {
            host.variables = HostVariables::listed(&list).map_err(SettingsError::Variables)?;
        }
        let root = match flags.dir.as_ref().or(host.daemon.dir.as_ref()) {
            Some(dir) => absolute(dir)?,
            None => {
                let here = absolute(Path::new("."))?;
                tree::find_root(&here).ok_or(SettingsError::NoTree(here))?
            }
        };
        if !root.exists() && flags.dir.is_some() {
            return Err(SettingsError::MissingTree(root));
        }
        if root.is_file() {
            return Err(SettingsError::FileForTree { found: tree::find_root(&root), file: root });
        }
        let state_dir = match flags.state_dir.as_ref().or(host.state.dir.as_ref()) {
            Some(dir) => absolute(dir)?,
            None => match environment("STATE_DIRECTORY").filter(|dir| !dir.is_empty()) {
                Some(dir) => absolute(Path::new(&dir))?,
                None => root.join(".wellspring"),
            },
        };
        let url = flags.url.clone().or_else(|| host.platform.url.clone());
        Ok(Self { root, state_dir, host, url, environment })
    }

    /// Checks that the state directory is not a file.
    pub fn check_state_dir(&self) -> Result<(), SettingsError> {
        if self.state_dir.is_file() {
            return Err(SettingsError::FileForState(self.state_dir.clone()));
        }
        Ok(())
    }

    /// Returns the platform, given the URL declared in the tree.
    pub fn platform(&self, declared: Option<&PlatformUrl>) -> Result<PlatformChoice, SettingsError> {
        let parse = |url: &str| {
            if url == "local" {
                return Ok(PlatformChoice::Local);
            }
            BaseUrl::parse(url).map(PlatformChoice::Remote).map_err(SettingsError::Url)
        };
        if let Some(url) = &self.url {
            return parse(url);
        }
        let inherited = (self.environment)("JARVISPY_URL").filter(|url| !url.is_empty());
        match (declared, inherited) {
            (Some(PlatformUrl::Local), _) => Ok(PlatformChoice::Local),
            (Some(PlatformUrl::Remote(url)), None) => parse(url),
            (Some(PlatformUrl::Remote(url)), Some(inherited)) => {
                let (declared, inherited) = (parse(url)?, parse(&inherited)?);
                if declared == inherited { Ok(declared) } else { Err(SettingsError::ConflictingUrls) }
            }
            (None, Some(inherited)) => parse(&inherited),
            (None, None) => Err(SettingsError::NoUrl),
        }
    }

    /// Returns true if the tree cannot change the platform's URL.
    ///
    /// `--url`, the environment or the host file then names the platform.
    pub fn has_pinned_platform(&self) -> bool {
        self.url.is_some() || (self.environment)("JARVISPY_URL").is_some_and(|url| !url.is_empty())
    }

    /// Checks a platform that only `wellspring.toml` names against known origins.
    pub fn check_known_origin(
        &self,
        at: &PlatformChoice,
        used: &BTreeSet<String>,
    ) -> Result<(), SettingsError> {
        let origin = at.origin();
        match self.has_pinned_platform() || used.is_empty() || used.contains(&origin) {
            true => Ok(()),
            false => Err(SettingsError::UnknownOrigin { origin, used: used.clone() }),
        }
    }

    pub fn remote(&self, base_url: BaseUrl, token: Token) -> RemoteSettings {
        let platform = &self.host.platform;
        let defaults = RemoteSettings::new(base_url, token);
        RemoteSettings {
            timeout: platform.timeout.map_or(defaults.timeout, HumanDuration::get),
            sync_timeout: platform.sync_timeout.map_or(defaults.sync_timeout, HumanDuration::get),
            max_in_flight: platform.max_in_flight.unwrap_or(defaults.max_in_flight),
            requests_per_second: platform.requests_per_second,
            allow_plaintext: platform.allow_plaintext,
            backoff: Backoff::default(),
            ..defaults
        }
    }

    /// Returns the time after which a write must be visible on the platform.
    pub fn settle(&self, platform: &PlatformChoice) -> Duration {
        match (self.host.platform.settle, platform) {
            (Some(settle), _) => settle.get(),
            (None, PlatformChoice::Local) => Duration::ZERO,
            (None, PlatformChoice::Remote(_)) => Duration::from_secs(5),
        }
    }

    /// Returns the resolver of secrets for the files.
    ///
    /// The references of the token and of webhooks are forbidden there.
    pub fn secrets(&self) -> Secrets {
        let mut forbidden = BTreeSet::from([SecretRef::Env("PMTX_TOKEN".to_owned())]);
        forbidden.extend(self.host.platform.token.as_ref().map(|token| token.reference().clone()));
        forbidden.extend(self.host.notify.iter().map(|notify| notify.url.reference().clone()));
        Secrets {
            variables: Arc::clone(&self.environment),
            secrets_dir: self.host.secrets.dir.clone(),
            credentials_dir: (self.environment)("CREDENTIALS_DIRECTORY")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
            forbidden,
            allow: self.host.secrets.allow.iter().map(Into::into).collect(),
            settings_variables: self.host.variables.allow.clone(),
            shared: SharedSecrets::default(),
        }
    }

    /// Looks up the variables of `[platform]` and `[workspaces]` in `wellspring.toml`.
    pub fn variables(&self) -> Variables {
        let secrets = self.secrets();
        Arc::new(move |name| secrets.variable_for_settings(name))
    }

    /// Returns the webhooks that receive notices.
    pub fn webhooks(&self) -> Vec<Webhook> {
        // These references are forbidden for the repository, but valid in the host file.
        let secrets = Arc::new(Secrets { forbidden: BTreeSet::new(), ..self.secrets() });
        let all = self.host.notify.iter().map(|notify| {
            let (secrets, reference) = (Arc::clone(&secrets), notify.url.reference().clone());
            Webhook {
                address: Arc::new(move || secrets.value(&reference)),
                format: notify.format,
                events: notify.events.clone().unwrap_or_else(|| NotificationEvent::ALL.to_vec()),
            }
        });
        all.collect()
    }

    pub fn limits(&self) -> HostLimits {
        self.host.limits.clone().into()
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SettingsError> {
    let absolute =
        std::path::absolute(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    // Normalise `dir/.` and `dir/` to `dir`, because the state records the root as text.
    Ok(absolute.components().collect())
}

/// Reason why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error(
        "no wellspring.toml in {0} or a parent directory; run `wellspring init` to create a project, or name one with -C DIR"
    )]
    NoTree(PathBuf),
    #[error("{0} does not exist; name a directory with a wellspring.toml, or for `apply` a saved plan")]
    MissingTree(PathBuf),
    #[error(
        "{file} is a file; name the project directory{}",
        which_directory(.found.as_deref())
    )]
    FileForTree {
        file: PathBuf,
        /// The closest parent directory that contains `wellspring.toml`, if any.
        found: Option<PathBuf>,
    },
    #[error("the state directory {0} is a file; choose a directory with --state-dir")]
    FileForState(PathBuf),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "cannot use the host file {path}: {}; nothing was contacted",
        count_errors(.diagnostics)
    )]
    Host { path: PathBuf, text: String, diagnostics: Vec<Diagnostic> },
    #[error("cannot use WELLSPRING_VARIABLES: {0}; write names, with `*` for any text, separated by commas")]
    Variables(String),
    #[error(
        "no platform URL; set `url` under [platform] in wellspring.toml (\"local\" is the local platform), or set \
         WELLSPRING_URL"
    )]
    NoUrl,
    #[error("{0}")]
    Url(InvalidBaseUrl),
    /// `JARVISPY_URL` and the files name different platforms.
    #[error(
        "JARVISPY_URL and wellspring.toml name different platforms; unset the variable, or choose one with --url"
    )]
    ConflictingUrls,
    /// `wellspring.toml` names a platform at an origin that was not used before.
    #[error(
        "wellspring.toml names another platform, {origin}; the token and the secrets went to {} before, and nothing was \
         sent. To permit it, run once with --url, or write `url` under [platform] in the host file",
        joined(.used)
    )]
    UnknownOrigin { origin: String, used: BTreeSet<String> },
    #[error("no token for the platform; set PMTX_TOKEN, or set `token` under [platform] in the host file")]
    NoToken,
}

impl SettingsError {
    /// Formats the errors of the host file with their source lines.
    pub fn render_diagnostics(&self, color: bool) -> Option<String> {
        let Self::Host { path, text, diagnostics } = self else { return None };
        let path = Arc::from(&*path.to_string_lossy());
        Some(render(diagnostics, &[SourceFile { path, text: Ok(text) }], color))
    }
}

fn which_directory(root: Option<&Path>) -> String {
    root.map_or(", which has a wellspring.toml".to_owned(), |root| format!(": {}", root.display()))
}

fn count_errors(diagnostics: &[Diagnostic]) -> String {
    if diagnostics.len() == 1 { "1 error".to_owned() } else { format!("{} errors", diagnostics.len()) }
}

fn joined(origins: &BTreeSet<String>) -> String {
    origins.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
