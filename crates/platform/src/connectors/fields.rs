//! Typed access to a `connection_config`, with errors for invalid fields.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ConfigError;
use crate::definition::whole;

/// Fields of a configuration. Messages contain names but no values.
#[derive(Clone, Copy)]
pub(super) struct ConfigFields<'a> {
    fields: &'a Map<String, Value>,
    known: &'a KnownField,
}

/// Names that a connector has read.
#[derive(Debug, Default)]
pub(super) struct KnownField(RefCell<BTreeSet<String>>);

impl KnownField {
    /// Returns the fields that were not read, sorted.
    pub(super) fn unknown_fields(&self, fields: &Map<String, Value>) -> Vec<String> {
        let known = self.0.borrow();
        fields.keys().filter(|name| !known.contains(*name)).cloned().collect()
    }
}

impl<'a> ConfigFields<'a> {
    pub(super) fn new(fields: &'a Map<String, Value>, known: &'a KnownField) -> Self {
        Self { fields, known }
    }

    /// Marks names as known without reading them.
    pub(super) fn mark_known(self, names: &[&str]) {
        self.known.0.borrow_mut().extend(names.iter().map(|name| (*name).to_owned()));
    }

    fn get(self, name: &str) -> Option<&'a Value> {
        self.known.0.borrow_mut().insert(name.to_owned());
        self.fields.get(name)
    }

    /// Returns a non-empty text, if the field exists.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => {
                Err(ConfigError::new(format!("\"{name}\" must not be empty")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ConfigError::new(format!("\"{name}\" must be a text"))),
        }
    }

    /// Returns the first field that exists among several names.
    pub(super) fn first_text(self, names: &[&str]) -> Result<Option<&'a str>, ConfigError> {
        let mut first = None;
        for name in names {
            let text = if first.is_none() { self.text(name)? } else { self.get(name).and(None) };
            first = first.or(text);
        }
        Ok(first)
    }

    /// Returns a non-negative integer.
    ///
    /// A text of digits is accepted too, since variables expand to text.
    pub(super) fn unsigned(self, name: &str) -> Result<Option<u64>, ConfigError> {
        let number = match self.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.starts_with('+') => None,
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => whole(value),
        };
        number.map(Some).ok_or_else(|| ConfigError::new(format!("\"{name}\" must be a whole number")))
    }

    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(ConfigError::new(format!("\"{name}\" must be true or false"))),
        }
    }

    /// Returns a list of texts, if the field exists.
    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let wrong = || ConfigError::new(format!("\"{name}\" must be an array of texts"));
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// Returns an object with plain values (text, number, boolean) as texts.
    pub(super) fn pairs(self, name: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let wrong = || ConfigError::new(format!("\"{name}\" must be an object of texts"));
        match self.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(fields)) => fields
                .iter()
                .map(|(key, value)| match value {
                    Value::String(text) => Ok((key.clone(), text.clone())),
                    Value::Number(_) | Value::Bool(_) => Ok((key.clone(), value.to_string())),
                    _ => Err(wrong()),
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// Returns a JSON pointer to records; empty or `/` means the whole document.
    pub(super) fn record_pointer(self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        match self.get(name) {
            Some(Value::String(text)) if matches!(text.as_str(), "" | "/") => Ok(Some(Vec::new())),
            _ => self.pointer(name),
        }
    }

    /// Returns the parts of a JSON pointer; the leading `/` is optional.
    pub(super) fn pointer(self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parts = text.strip_prefix('/').unwrap_or(text).split('/');
        let parts: Vec<_> = parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        if parts.len() > 32 {
            return Err(ConfigError::new(format!("\"{name}\" is too deep")));
        }
        Ok(Some(parts))
    }
}
