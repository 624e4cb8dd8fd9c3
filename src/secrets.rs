//! Resolves references to values: `${NAME}`, `env:`, `file:` and `credential:`.
//!
//! References are resolved on use. Values go to the platform and into keyed fingerprints only. A
//! value is expanded once: references inside a value are not resolved.
//!
//! Invariant: no reference runs a command, leaves its directory, or names the platform's token.

mod allow;
mod destinations;
mod files;
mod resolve;

pub use allow::Allow;
pub use resolve::{MissingSecret, Resolution, ResolvedRefs, Resolver, SharedSecrets, UnresolvedSecrets};

use crate::config::Lookup;
use crate::model::{Definition, SecretRef, looks_secret};
use globset::GlobMatcher;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Maximum length of a referenced value in bytes.
///
/// Keys and certificates fit; an accidental reference to another file does not fill the memory.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Looks up an environment variable; `None` if it is unset or not UTF-8.
pub type AllowedVariables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Returns true if a variable's name alone permits it in `wellspring.toml`.
pub fn is_workspace_variable(name: &str) -> bool {
    name.to_ascii_uppercase().contains("WORKSPACE") && !looks_secret(name)
}

#[derive(Clone)]
pub struct Secrets {
    /// `env:NAME` and `${NAME}`.
    pub variables: AllowedVariables,
    /// Directory of `file:NAME` (`secrets.dir` of the host file).
    pub secrets_dir: Option<PathBuf>,
    /// Directory of `credential:NAME` (`$CREDENTIALS_DIRECTORY`).
    pub credentials_dir: Option<PathBuf>,
    /// References of the platform's token and webhook addresses, forbidden in the tree.
    pub forbidden: BTreeSet<SecretRef>,
    /// Permitted uses; an empty list permits everything.
    pub allow: Vec<Allow>,
    /// Variables allowed in `wellspring.toml`; see [`Secrets::variable_for_settings`].
    pub settings_variables: Option<Vec<GlobMatcher>>,
    /// Resolved values that are still in use.
    pub shared: SharedSecrets,
}

impl Secrets {
    /// Secrets from variables only, without restrictions.
    pub fn of_variables(variables: AllowedVariables) -> Self {
        Self {
            variables,
            secrets_dir: None,
            credentials_dir: None,
            forbidden: BTreeSet::new(),
            allow: Vec::new(),
            settings_variables: None,
            shared: SharedSecrets::default(),
        }
    }

    /// Resolves every reference of `definition`, for a workspace with these names.
    ///
    /// The names are its alias and its id. For more than one definition, see [`Resolver`].
    pub fn resolve(
        &self,
        definition: &Arc<Definition>,
        workspace: &[&str],
    ) -> Result<Resolution, UnresolvedSecrets> {
        Resolver::new(Arc::new(self.clone()), workspace).resolve(definition)
    }

    /// Resolves a single reference, such as that of the platform's token.
    pub fn value(&self, reference: &SecretRef) -> Result<SecretString, String> {
        self.look_up(reference).map(|value| SecretString::from(value.as_str()))
    }

    /// Looks up a variable for `[platform]` and `[workspaces]` of `wellspring.toml`.
    ///
    /// These values are sent, stored and compared, so the host file must permit the variable.
    /// Without a list there, the name must contain WORKSPACE, must not look like that of a secret,
    /// and must not match an entry of [`Secrets::allow`].
    pub fn variable_for_settings(&self, name: &str) -> Lookup {
        let reference = SecretRef::Env(name.to_owned());
        let permitted = match &self.settings_variables {
            Some(patterns) => patterns.iter().any(|pattern| pattern.is_match(name)),
            None => {
                is_workspace_variable(name)
                    && !self.allow.iter().any(|allow| allow.name.is_match(reference.to_string()))
            }
        };
        match permitted && !self.forbidden.contains(&reference) {
            true => (self.variables)(name).into(),
            false => Lookup::Refused,
        }
    }

    /// Resolves one reference, or returns the reason for the failure.
    fn look_up(&self, reference: &SecretRef) -> Result<Zeroizing<String>, String> {
        if self.forbidden.contains(reference) {
            return Err(format!("{reference} is wellspring's own, and no source may be given it"));
        }
        match reference {
            SecretRef::Env(name) => self.variable(name),
            SecretRef::File(name) => self.file(
                reference,
                name,
                self.secrets_dir.as_ref(),
                "no directory of secrets is set (secrets.dir)",
            ),
            SecretRef::Credential(name) => self.file(
                reference,
                name,
                self.credentials_dir.as_ref(),
                "$CREDENTIALS_DIRECTORY is not set here",
            ),
        }
    }

    fn variable(&self, name: &str) -> Result<Zeroizing<String>, String> {
        let value =
            (self.variables)(name).map(Zeroizing::new).ok_or_else(|| format!("{name} is not set here"))?;
        if value.is_empty() {
            Err(format!("{name} is empty"))
        } else if value.len() > MAX_VALUE_BYTES {
            Err(format!("{name} is longer than 64 KiB"))
        } else {
            Ok(value)
        }
    }

    fn file(
        &self,
        reference: &SecretRef,
        name: &str,
        dir: Option<&PathBuf>,
        unset: &str,
    ) -> Result<Zeroizing<String>, String> {
        let dir = dir.ok_or_else(|| format!("{reference}: {unset}"))?;
        let path = files::locate(dir, name).map_err(|why| format!("{reference}: {why}"))?;
        if self.forbidden_files().any(|forbidden| forbidden == path) {
            return Err(format!("{reference} is wellspring's own, and no source may be given it"));
        }
        files::read(&path).map_err(|why| format!("{reference}: {why}"))
    }

    /// Files of the forbidden references; other names of these files are forbidden too.
    fn forbidden_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.forbidden.iter().filter_map(|reference| match reference {
            SecretRef::Env(_) => None,
            SecretRef::File(name) => files::locate(self.secrets_dir.as_ref()?, name).ok(),
            SecretRef::Credential(name) => files::locate(self.credentials_dir.as_ref()?, name).ok(),
        })
    }
}

#[cfg(test)]
mod tests;
