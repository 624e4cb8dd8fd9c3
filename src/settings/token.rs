//! Source of the platform's token, which is read again for every use.

use super::{Settings, SettingsError};
use crate::client::{BaseUrl, Token};
use crate::secrets::Secrets;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// Selects the source of the token.
///
/// The order is: the reference in the host file, then `PMTX_TOKEN`, then, for an interactive
/// command, `~/.prometheux/config.json` if that file is for this platform.
pub fn token(settings: &Settings, platform: &BaseUrl, interactive: bool) -> Result<Token, SettingsError> {
    let environment = Arc::clone(settings.environment());
    if let Some(token) = &settings.host.platform.token {
        let reference = token.reference().clone();
        // This reference is forbidden for the repository, but valid in the host file.
        let secrets = Secrets { forbidden: std::collections::BTreeSet::new(), ..settings.secrets() };
        return Ok(Arc::new(move || secrets.value(&reference)));
    }
    let variable = "PMTX_TOKEN";
    if environment(variable).is_some_and(|token| !token.is_empty()) {
        return Ok(Arc::new(move || {
            environment(variable).map(SecretString::from).ok_or_else(|| format!("{variable} is not set"))
        }));
    }
    if interactive
        && let Some(home) = environment("HOME")
        && let Some(token) = of_platform_tools(Path::new(&home), platform)
    {
        return Ok(Arc::new(move || Ok(token.clone())));
    }
    Err(SettingsError::NoToken)
}

fn of_platform_tools(home: &Path, platform: &BaseUrl) -> Option<SecretString> {
    #[derive(Deserialize)]
    struct TokenFile {
        url: String,
        token: SecretString,
    }
    let text = std::fs::read_to_string(home.join(".prometheux/config.json")).ok()?;
    let config: TokenFile = serde_json::from_str(&text).ok()?;
    // The URL in the file may be that of the platform or of one account on it.
    let url = BaseUrl::parse(&config.url).ok()?;
    let rest = platform.as_str().strip_prefix(url.as_str())?;
    let is_same = rest.is_empty() || rest.starts_with('/');
    let is_set = !secrecy::ExposeSecret::expose_secret(&config.token).is_empty();
    if is_same && is_set { Some(config.token) } else { None }
}
