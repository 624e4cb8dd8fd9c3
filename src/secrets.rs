//! References to values: `${NAME}`, `env:`, `file:` and `credential:` are looked up when they are
//! needed, and the values go to the platform and into keyed fingerprints, nowhere else.
//!
//! A value is expanded once: what stands in it is never read as a reference again. No reference
//! can run a command, leave its directory, or name what holds the platform's own token.

mod allow;
mod destinations;
mod files;
mod resolve;

pub use allow::Allow;
pub use resolve::{Held, Kept, Missing, Resolution, Resolver, Unresolved};

use crate::manifest::Lookup;
use crate::model::{Definition, SecretRef, looks_secret};
use globset::GlobMatcher;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The longest value a reference may have, in bytes. Keys and certificates fit; an accidental
/// pointer to some other file does not fill the memory.
pub const LONGEST_VALUE: usize = 64 * 1024;

/// Looks up an environment variable; `None` when it is unset or not UTF-8.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Returns true if a variable's name alone permits it in `wellspring.toml`.
#[must_use]
pub fn is_workspace_variable(name: &str) -> bool {
    name.to_ascii_uppercase().contains("WORKSPACE") && !looks_secret(name)
}

/// Where secrets are found.
#[derive(Clone)]
pub struct Secrets {
    /// `env:NAME` and `${NAME}`.
    pub variables: Variables,
    /// `file:NAME` lies below this directory (the host's `secrets.dir`).
    pub secrets_dir: Option<PathBuf>,
    /// `credential:NAME` lies below this directory (`$CREDENTIALS_DIRECTORY`).
    pub credentials_dir: Option<PathBuf>,
    /// What holds the platform's token or an address of a webhook: files of the tree may not refer to it.
    pub forbidden: BTreeSet<SecretRef>,
    /// What may be used where; everything, where the list is empty.
    pub allow: Vec<Allow>,
    /// The variables that `wellspring.toml` may refer to; see [`Secrets::variable_for_settings`].
    pub for_settings: Option<Vec<GlobMatcher>>,
    /// What was found and is still in use.
    pub held: Held,
}

impl Secrets {
    /// Looks up every reference of `definition`, for a workspace of these names: its alias and its id. For
    /// more than one definition, see [`Resolver`].
    ///
    /// # Errors
    /// [`Unresolved`] names every reference that has no usable value here, and no value.
    pub fn resolve(
        &self,
        definition: &Arc<Definition>,
        workspace: &[&str],
    ) -> Result<Resolution, Unresolved> {
        Resolver::new(Arc::new(self.clone()), workspace).resolve(definition)
    }

    /// The value of one reference, for those who need it alone (the platform's token).
    ///
    /// # Errors
    /// Why there is none, in words that hold no value.
    pub fn value(&self, reference: &SecretRef) -> Result<SecretString, String> {
        self.look_up(reference).map(|value| SecretString::from(value.as_str()))
    }

    /// The value of a variable for `[platform]` and `[workspaces]` of `wellspring.toml`, which are sent, stored
    /// and compared: the host permits it by its list. Without a list, its name has WORKSPACE in it, does not
    /// look like a secret's, and stands in no entry of [`Secrets::allow`].
    #[must_use]
    pub fn variable_for_settings(&self, name: &str) -> Lookup {
        let reference = SecretRef::Env(name.to_owned());
        let permitted = match &self.for_settings {
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

    /// The value of one reference, or why there is none.
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
        } else if value.len() > LONGEST_VALUE {
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

    /// Where the forbidden references lead: another name for the same file is forbidden too.
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
