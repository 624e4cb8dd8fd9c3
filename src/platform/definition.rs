//! What a caller may say: workspaces, scopes, definitions of sources, ids. Read once, then trusted.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Long enough for any id or name people use; short enough to be shown.
pub(super) const LONGEST: usize = 255;

/// Rows that are written together, at most.
const MOST_ROWS: usize = 100_000;

/// One workspace and scope, the space in which a name is unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) workspace: String,
    pub(super) scope: String,
}

/// A source as it is to be connected. Its shape is right; whether it can be reached is another matter.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) connection_config: Value,
    pub(super) metadata: Value,
}

/// Options of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyncOptions {
    /// Take only what is new.
    pub(super) incremental: bool,
    /// Rows that are written together, 1 to 100,000.
    pub(super) batch_size: usize,
    /// The field that tells what is new.
    pub(super) cursor: Option<String>,
    /// Names the options that are not known.
    pub(super) warning: Option<String>,
}

/// The options there are.
const OPTIONS: [&str; 3] = ["incremental", "batch_size", "cursor"];

/// The scope of a call; `user` when none is given.
pub(super) fn scope(value: Option<&Value>) -> Result<String, String> {
    match value {
        None | Some(Value::Null) => Ok("user".into()),
        Some(Value::String(text)) => word("scope", text),
        Some(_) => Err("\"scope\" must be a text".into()),
    }
}

/// An id or a name: some text, not too long, without control characters.
pub(super) fn word(what: &str, text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err(format!("\"{what}\" must not be empty"))
    } else if text.chars().count() > LONGEST {
        Err(format!("\"{what}\" is longer than {LONGEST} characters"))
    } else if text.chars().any(char::is_control) {
        Err(format!("\"{what}\" holds control characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// The ids a call names: `None` for all, which the contract says by leaving them out or empty.
pub(super) fn source_ids(value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let items = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) if items.is_empty() => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(_) => return Err("\"source_ids\" must be an array of ids".into()),
    };
    let mut ids = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for item in items {
        let Value::String(id) = item else { return Err("\"source_ids\" must hold texts only".into()) };
        if seen.insert(id) {
            ids.push(id.clone());
        }
    }
    Ok(Some(ids))
}

impl SyncOptions {
    /// Reads `sync_options`; what is left out has its default, and unknown options have no
    /// effect.
    pub(super) fn read(value: Option<&Value>) -> Result<Self, String> {
        let empty = Map::new();
        let fields = match value {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err("\"sync_options\" must be an object".into()),
        };
        let incremental = match fields.get("incremental") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(wish)) => *wish,
            Some(_) => return Err("\"sync_options.incremental\" must be true or false".into()),
        };
        let batch_size = match fields.get("batch_size") {
            None | Some(Value::Null) => 1000,
            Some(size) => match whole(size) {
                Some(size) if size > 0 => usize::try_from(size).unwrap_or(MOST_ROWS).min(MOST_ROWS),
                _ => return Err("\"sync_options.batch_size\" must be a whole number above 0".into()),
            },
        };
        let cursor = match fields.get("cursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(word("sync_options.cursor", name)?),
            Some(_) => return Err("\"sync_options.cursor\" must be the name of a field".into()),
        };
        let others = fields.keys().filter(|name| !OPTIONS.contains(&name.as_str()));
        let others: Vec<_> = others.map(|name| format!("\"{name}\"")).collect();
        let warning = (!others.is_empty())
            .then(|| format!("{} in sync_options is not known here and has no effect", others.join(", ")));
        Ok(Self { incremental, batch_size, cursor, warning })
    }
}

/// The whole number, 0 or more, that this is. JSON has one kind of number, so `1000.0` is one; what
/// is too large is the largest there is.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let rounded = || value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    value.as_u64().or_else(|| rounded().map(|number| number as u64))
}

impl Definition {
    /// Reads an element of `sources`. On an error, the name comes along when there is one.
    pub(super) fn read(value: &Value) -> Result<Self, (Option<String>, String)> {
        let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
        Self::parse(value).map_err(|message| (name, message))
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let (kind, connection_config) = kind_and_config(value)?;
        let name = match value.get("name") {
            Some(Value::String(name)) => word("name", name)?,
            Some(_) => return Err("\"name\" must be a text".into()),
            None => return Err("\"name\" is missing".into()),
        };
        let metadata = match value.get("metadata") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(Value::Object(fields)) => Value::Object(fields.clone()),
            Some(_) => return Err("\"metadata\" must be an object".into()),
        };
        Ok(Self { name, kind, connection_config, metadata })
    }
}

/// The two fields every definition has, with or without a name.
pub(super) fn kind_and_config(value: &Value) -> Result<(String, Value), String> {
    let Value::Object(fields) = value else { return Err("a source must be an object".into()) };
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => word("type", kind)?,
        Some(_) => return Err("\"type\" must be a text".into()),
        None => return Err("\"type\" is missing".into()),
    };
    match fields.get("connection_config") {
        Some(config @ Value::Object(_)) => Ok((kind, config.clone())),
        Some(_) => Err("\"connection_config\" must be an object".into()),
        None => Err("\"connection_config\" is missing".into()),
    }
}
