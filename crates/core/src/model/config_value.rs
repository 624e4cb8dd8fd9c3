//! Values as the files declare them, with references in place of secrets.

use super::SortedMap;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt::{self, Write as _};
use wellspring_sensitive::{exposes_secret_under, looks_secret};

/// A value of `connection_config` in the files.
///
/// Secrets are references, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ConfigValue {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A plain string.
    String(String),
    /// A string that contains `${NAME}`.
    Template(Template),
    /// `{ secret = "env:NAME" }`: the whole value is a secret.
    Secret(SecretRef),
    /// A list.
    Array(Vec<ConfigValue>),
    /// A table.
    Table(SortedMap<ConfigValue>),
}

/// A string with at least one `${NAME}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(pub Vec<Segment>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Segment {
    /// Literal text; `$${` is already unescaped to `${`.
    Literal(String),
    /// `${NAME}`
    Env(String),
}

/// A reference to a secret, resolved when the value is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file below the host's `secrets.dir`.
    File(String),
    /// A file below `$CREDENTIALS_DIRECTORY` (systemd).
    Credential(String),
}

impl fmt::Display for SecretRef {
    /// Formats the reference as in the files, for example `env:NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(name) => write!(f, "file:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => f.write_str(&text.replace("${", "$${"))?,
                Segment::Env(name) => write!(f, "${{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Path of a leaf in a definition: `connection_config.host`, `metadata.tags[0]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldPath(String);

impl FieldPath {
    /// Returns a path of one key.
    #[must_use]
    pub fn root(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// Returns a path of one key, with capacity for the usual length of paths.
    pub fn with_capacity(key: &str) -> Self {
        let mut path = String::with_capacity(128);
        path.push_str(key);
        Self(path)
    }

    /// Returns the path of `key` below this one; a key with dots or brackets is quoted.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.push_key(key);
        path
    }

    /// Returns the path of the `n`th element (from 0) of the list at this path.
    #[must_use]
    pub fn index(&self, n: usize) -> Self {
        let mut path = self.clone();
        path.push_index(n);
        path
    }

    /// Appends `key`, like [`FieldPath::key`]; undone by [`FieldPath::truncate`].
    pub fn push_key(&mut self, key: &str) -> PathLength {
        let length = PathLength(self.0.len());
        self.0.push('.');
        if key.is_empty() || key.bytes().any(|byte| matches!(byte, b'.' | b'[' | b']' | b'"')) {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{key:?}");
        } else {
            self.0.push_str(key);
        }
        length
    }

    /// Appends the `n`th element, like [`FieldPath::index`].
    pub fn push_index(&mut self, n: usize) -> PathLength {
        let length = PathLength(self.0.len());
        let _ = write!(self.0, "[{n}]");
        length
    }

    /// Truncates the path to an earlier length.
    pub fn truncate(&mut self, length: PathLength) {
        self.0.truncate(length.0);
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a key of the path looks like the name of a secret.
    #[must_use]
    pub fn looks_secret(&self) -> bool {
        self.keys().any(looks_secret)
    }

    /// Returns true if `value` is a plain-text secret, by its key or its form.
    #[must_use]
    pub fn exposes_secret(&self, value: &serde_json::Value) -> bool {
        self.keys().any(|key| exposes_secret_under(key, value))
    }

    /// Iterates over the keys below the root, without the indexes of elements.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').skip(1).map(|key| key.split('[').next().unwrap_or(key))
    }
}

/// Length of a path before something was appended.
#[derive(Clone, Copy)]
pub struct PathLength(usize);

impl Borrow<str> for FieldPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A leaf of a declared definition.
#[derive(Debug, Clone, PartialEq)]
pub enum LeafValue {
    /// A value that may be shown.
    Plain(serde_json::Value),
    /// A value that contains a secret, as the reference in the files.
    Secret(String),
}

impl ConfigValue {
    /// Returns true if any part of this value refers to a secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        match self {
            Self::Template(_) | Self::Secret(_) => true,
            Self::Array(items) => items.iter().any(Self::has_secret),
            Self::Table(entries) => entries.values().any(Self::has_secret),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_shown_as_it_was_written() {
        let template = Template(vec![
            Segment::Literal("a${b".into()),
            Segment::Env("NAME".into()),
            Segment::Literal("!".into()),
        ]);
        assert_eq!(template.to_string(), "a$${b${NAME}!");
    }
}
