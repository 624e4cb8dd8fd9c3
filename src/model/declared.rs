//! Declared values: what a file says, with references where a secret will stand.

use super::Fields;
use crate::sensitive::{exposes_secret_under, looks_secret};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt::{self, Write as _};

/// A value of `connection_config` as the files declare it. Secrets are references, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Declared {
    /// true or false
    Bool(bool),
    /// a whole number
    Integer(i64),
    /// any other number
    Float(f64),
    /// a plain string
    String(String),
    /// a string with `${NAME}` in it
    Template(Template),
    /// `{ secret = "env:NAME" }`: the whole value is a secret
    Secret(SecretRef),
    /// a list
    Array(Vec<Declared>),
    /// a table
    Table(Fields<Declared>),
}

/// A string with at least one `${NAME}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(pub Vec<Segment>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Segment {
    /// text that stands for itself (`$${` already read as `${`)
    Literal(String),
    /// `${NAME}`
    Env(String),
}

/// Where a secret's value is found when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SecretRef {
    /// an environment variable
    Env(String),
    /// a file below the host's `secrets.dir`
    File(String),
    /// a file below `$CREDENTIALS_DIRECTORY` (systemd)
    Credential(String),
}

impl fmt::Display for SecretRef {
    /// As written in the files: `env:NAME`, `file:NAME`, `credential:NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(name) => write!(f, "file:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl fmt::Display for Template {
    /// As written in the files.
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

/// The place of one leaf within a definition: `connection_config.host`, `metadata.tags[0]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path of one key.
    #[must_use]
    pub fn root(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// The same, with room for what most paths go on to.
    pub(crate) fn on_the_way(key: &str) -> Self {
        let mut path = String::with_capacity(128);
        path.push_str(key);
        Self(path)
    }

    /// The path of `key` below this one. A key with dots or brackets in it is quoted.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.enter(key);
        path
    }

    /// The path of the `n`th element (from 0) of the list here.
    #[must_use]
    pub fn index(&self, n: usize) -> Self {
        let mut path = self.clone();
        path.enter_item(n);
        path
    }

    /// Goes on to `key`, as [`FieldPath::key`] does. The way back is [`FieldPath::leave`].
    pub(crate) fn enter(&mut self, key: &str) -> Length {
        let length = Length(self.0.len());
        self.0.push('.');
        if key.is_empty() || key.bytes().any(|byte| matches!(byte, b'.' | b'[' | b']' | b'"')) {
            // Writing into a text cannot fail.
            let _ = write!(self.0, "{key:?}");
        } else {
            self.0.push_str(key);
        }
        length
    }

    /// Goes on to the `n`th element, as [`FieldPath::index`] does.
    pub(crate) fn enter_item(&mut self, n: usize) -> Length {
        let length = Length(self.0.len());
        let _ = write!(self.0, "[{n}]");
        length
    }

    /// Goes back to where one was before.
    pub(crate) fn leave(&mut self, length: Length) {
        self.0.truncate(length.0);
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does one of the path's keys look as if its value were a secret?
    #[must_use]
    pub fn looks_secret(&self) -> bool {
        self.keys().any(looks_secret)
    }

    /// Returns true if `value` at this place is a secret that is written out, by its key or by its form.
    #[must_use]
    pub fn exposes_secret(&self, value: &serde_json::Value) -> bool {
        self.keys().any(|key| exposes_secret_under(key, value))
    }

    /// The keys below the root, without the numbers of elements.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').skip(1).map(|key| key.split('[').next().unwrap_or(key))
    }
}

/// How long a path was before it went on.
#[derive(Clone, Copy)]
pub(crate) struct Length(usize);

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
pub enum Leaf {
    /// A value that may be shown.
    Plain(serde_json::Value),
    /// A value that holds a secret; the text is how the reference is written in the files.
    Secret(String),
}

impl Declared {
    /// Does a secret stand anywhere in this value?
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
