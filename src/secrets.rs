//! References to values: `${NAME}`, `env:`, `file:` and `credential:` are looked up when they are
//! needed, and the values go to the platform and into keyed fingerprints, nowhere else.
//!
//! A value is expanded once: what stands in it is never read as a reference again. No reference
//! can run a command, leave its directory, or name what holds the platform's own token.

mod allow;
mod files;

pub use allow::Allow;

use crate::model::{
    Declared, Definition, FieldPath, Fingerprint, FingerprintKey, Part, ResolvedSource, SecretRef, Segment,
    SourceName, Template, side_by_side, wipe,
};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The longest value a reference may have, in bytes. Keys and certificates fit; an accidental
/// pointer to some other file does not fill the memory.
pub const LONGEST_VALUE: usize = 64 * 1024;

/// Looks up an environment variable; `None` when it is unset or not UTF-8.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

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
}

impl Secrets {
    /// Looks up every reference of `definition`, for a workspace of these names: its alias and its id.
    ///
    /// # Errors
    /// [`Unresolved`] names every reference that has no usable value here, and no value.
    pub fn resolve(&self, definition: &Definition, workspace: &[&str]) -> Result<Resolution, Unresolved> {
        let mut pass = Pass {
            secrets: self,
            definition,
            workspace,
            secret_leaves: Vec::new(),
            values: Vec::new(),
            missing: Vec::new(),
        };
        let mut path = FieldPath::root("connection_config");
        let config = pass.table(&mut path, &definition.connection_config);
        let resolution =
            Resolution { config: Config(config), secret_leaves: pass.secret_leaves, values: pass.values };
        if pass.missing.is_empty() { Ok(resolution) } else { Err(Unresolved { missing: pass.missing }) }
    }

    /// The value of one reference, for those who need it alone (the platform's token).
    ///
    /// # Errors
    /// Why there is none, in words that hold no value.
    pub fn value(&self, reference: &SecretRef) -> Result<SecretString, String> {
        self.look_up(reference).map(|value| SecretString::from(value.as_str()))
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

/// One walk through a definition.
struct Pass<'a> {
    secrets: &'a Secrets,
    definition: &'a Definition,
    workspace: &'a [&'a str],
    secret_leaves: Vec<FieldPath>,
    values: Vec<SecretString>,
    missing: Vec<Missing>,
}

impl Pass<'_> {
    fn value(&mut self, path: &mut FieldPath, declared: &Declared) -> Value {
        match declared {
            Declared::Bool(value) => (*value).into(),
            Declared::Integer(value) => (*value).into(),
            Declared::Float(value) => (*value).into(),
            Declared::String(value) => value.as_str().into(),
            Declared::Template(template) => self.template(path, template),
            Declared::Secret(reference) => {
                self.secret_leaves.push(path.clone());
                self.reference(path, reference, || reference.to_string())
                    .map_or(Value::Null, |mut value| std::mem::take(&mut *value).into())
            }
            Declared::Array(items) => {
                let items = items.iter().enumerate().map(|(n, item)| {
                    let length = path.enter_item(n);
                    let value = self.value(path, item);
                    path.leave(length);
                    value
                });
                items.collect()
            }
            Declared::Table(entries) => Value::Object(self.table(path, entries)),
        }
    }

    fn table(&mut self, path: &mut FieldPath, entries: &BTreeMap<String, Declared>) -> Map<String, Value> {
        let entries = entries.iter().map(|(key, declared)| {
            let length = path.enter(key);
            let value = self.value(path, declared);
            path.leave(length);
            (key.clone(), value)
        });
        entries.collect()
    }

    fn template(&mut self, path: &FieldPath, template: &Template) -> Value {
        self.secret_leaves.push(path.clone());
        let mut pieces = Vec::with_capacity(template.0.len());
        for segment in &template.0 {
            match segment {
                Segment::Literal(text) => pieces.push(Zeroizing::new(text.clone())),
                Segment::Env(name) => {
                    let reference = SecretRef::Env(name.clone());
                    pieces.extend(self.reference(path, &reference, || format!("${{{name}}}")));
                }
            }
        }
        // Sized beforehand: a text that grows leaves copies of itself behind in memory.
        let mut text = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| text.push_str(piece));
        text.into()
    }

    fn reference(
        &mut self,
        path: &FieldPath,
        reference: &SecretRef,
        written: impl FnOnce() -> String,
    ) -> Option<Zeroizing<String>> {
        let secrets = self.secrets;
        match allow::check(&secrets.allow, reference, self.workspace, self.definition)
            .and_then(|()| secrets.look_up(reference))
        {
            Ok(value) => {
                self.values.push(SecretString::from(value.as_str()));
                Some(value)
            }
            Err(why) => {
                self.missing.push(Missing { path: path.clone(), reference: written(), why });
                None
            }
        }
    }
}

/// References without a usable value. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// At least one, in the order of the definition.
    pub missing: Vec<Missing>,
}

/// One reference without a usable value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The leaf it stands in.
    pub path: FieldPath,
    /// As written in the files: `${NAME}`, `env:NAME`, `file:NAME`, `credential:NAME`.
    pub reference: String,
    /// A sentence for people: `DB_PASSWORD is not set here`.
    pub why: String,
}

impl fmt::Display for Unresolved {
    /// Every reason once: `DB_PASSWORD is not set here; API_KEY is empty`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = BTreeSet::new();
        for missing in &self.missing {
            if said.insert(&missing.why) {
                let separator = if said.len() > 1 { "; " } else { "" };
                write!(f, "{separator}{}", missing.why)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unresolved {}

/// A definition's `connection_config` with every secret in place. Wiped from memory when dropped;
/// it has no `Debug`, `Display` or `Serialize`.
pub struct Resolution {
    config: Config,
    secret_leaves: Vec<FieldPath>,
    /// What each reference resolved to.
    values: Vec<SecretString>,
}

struct Config(Map<String, Value>);

impl Drop for Config {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

impl Resolution {
    /// A fingerprint of the value at every leaf that holds a secret.
    #[must_use]
    pub fn fingerprints(&self, key: &FingerprintKey) -> BTreeMap<FieldPath, Fingerprint> {
        let mut prints = BTreeMap::new();
        // They were met in the same order.
        let mut secret_leaves = self.secret_leaves.iter().peekable();
        side_by_side([(&self.config.0).into()], |path, [leaf]| {
            if let Some(Part::Json(value)) = leaf
                && secret_leaves.next_if_eq(&path).is_some()
            {
                prints.insert(path.clone(), key.of(value));
            }
        });
        prints
    }

    /// The source as it is sent. `metadata` carries our stamp where one is sent.
    #[must_use]
    pub fn into_source(
        mut self,
        name: SourceName,
        kind: String,
        metadata: Map<String, Value>,
    ) -> ResolvedSource {
        let config = Value::Object(std::mem::take(&mut self.config.0));
        ResolvedSource::new(name, kind, config, metadata).with_secrets(self.values)
    }
}

#[cfg(test)]
mod tests;
