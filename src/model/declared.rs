//! Declared values: what a file says, with references where a secret will stand.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

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
    Table(BTreeMap<String, Declared>),
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

    /// The path of `key` below this one. A key with dots or brackets in it is quoted.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        if key.is_empty() || key.contains(['.', '[', ']', '"']) {
            Self(format!("{}.{key:?}", self.0))
        } else {
            Self(format!("{}.{key}", self.0))
        }
    }

    /// The path of the `n`th element (from 0) of the list here.
    #[must_use]
    pub fn index(&self, n: usize) -> Self {
        Self(format!("{}[{n}]", self.0))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does one of the path's keys look as if its value were a secret?
    #[must_use]
    pub fn looks_secret(&self) -> bool {
        self.0.split('.').skip(1).any(looks_secret)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Does a key by its name hold a secret? A literal under such a key is an error in the files, and
/// such a value is never shown.
#[must_use]
pub fn looks_secret(key: &str) -> bool {
    const NAMES: [&str; 13] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
        "credential",
        "credentials",
        "authorization",
        "pwd",
    ];
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    NAMES.iter().any(|name| plain.ends_with(name))
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

    /// The leaves below `path`, in order. An empty table or list is a leaf of its own, so that
    /// declaring `{}` differs from declaring nothing.
    pub fn leaves(&self, path: &FieldPath, out: &mut BTreeMap<FieldPath, Leaf>) {
        match self {
            Self::Table(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    value.leaves(&path.key(key), out);
                }
            }
            Self::Array(items) if !items.is_empty() => {
                for (n, value) in items.iter().enumerate() {
                    value.leaves(&path.index(n), out);
                }
            }
            Self::Template(template) => {
                out.insert(path.clone(), Leaf::Secret(template.to_string()));
            }
            Self::Secret(reference) => {
                out.insert(path.clone(), Leaf::Secret(reference.to_string()));
            }
            Self::Bool(value) => plain(path, (*value).into(), out),
            Self::Integer(value) => plain(path, (*value).into(), out),
            Self::Float(value) => plain(path, (*value).into(), out),
            Self::String(value) => plain(path, value.as_str().into(), out),
            Self::Array(_) => plain(path, serde_json::json!([]), out),
            Self::Table(_) => plain(path, serde_json::json!({}), out),
        }
    }
}

fn plain(path: &FieldPath, value: serde_json::Value, out: &mut BTreeMap<FieldPath, Leaf>) {
    out.insert(path.clone(), Leaf::Plain(value));
}

/// The leaves of a JSON value below `path`, by the same rule as [`Declared::leaves`].
pub fn flatten_json<'a>(
    path: &FieldPath,
    value: &'a serde_json::Value,
    out: &mut BTreeMap<FieldPath, &'a serde_json::Value>,
) {
    match value {
        serde_json::Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                flatten_json(&path.key(key), value, out);
            }
        }
        serde_json::Value::Array(items) if !items.is_empty() => {
            for (n, value) in items.iter().enumerate() {
                flatten_json(&path.index(n), value, out);
            }
        }
        leaf => {
            out.insert(path.clone(), leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_hold_secrets_are_recognised_in_every_spelling() {
        for key in
            ["password", "db_password", "API-Key", "apiKey", "access_key", "client_secret", "auth_token"]
        {
            assert!(looks_secret(key), "{key}");
        }
        for key in ["host", "username", "key_column", "token_url", "password_file_format", "port"] {
            assert!(!looks_secret(key), "{key}");
        }
    }

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
