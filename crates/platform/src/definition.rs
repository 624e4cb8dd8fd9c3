//! Validated input of requests: workspaces, scopes, definitions and ids.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Maximum length of an id or name in characters.
pub(super) const MAX_NAME_LEN: usize = 255;

/// Maximum `batch_size` in rows.
const MAX_BATCH_ROWS: usize = 100_000;

/// A workspace and scope, in which names are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkspaceKey {
    pub(super) workspace: String,
    pub(super) scope: String,
}

/// A syntactically valid source; its server may be unreachable.
pub(super) struct SourceSpec {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) connection_config: Value,
    pub(super) metadata: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyncOptions {
    /// Read new records only.
    pub(super) incremental: bool,
    /// Number of rows written together, 1 to 100,000.
    pub(super) batch_size: usize,
    /// Field that indicates new records.
    pub(super) cursor: Option<String>,
    /// Names the unknown options.
    pub(super) warning: Option<String>,
}

/// Supported options.
const OPTIONS: [&str; 3] = ["incremental", "batch_size", "cursor"];

/// Parses the scope of a request; `user` by default.
pub(super) fn scope(value: Option<&Value>) -> Result<String, String> {
    match value {
        None | Some(Value::Null) => Ok("user".into()),
        Some(Value::String(text)) => parse_name("scope", text),
        Some(_) => Err("\"scope\" must be a text".into()),
    }
}

/// Validates an id or name: not blank, not too long, no control characters.
pub(super) fn parse_name(what: &str, text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err(format!("\"{what}\" must not be empty"))
    } else if text.chars().count() > MAX_NAME_LEN {
        Err(format!("\"{what}\" is longer than {MAX_NAME_LEN} characters"))
    } else if text.chars().any(char::is_control) {
        Err(format!("\"{what}\" holds control characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// Parses the ids in a request.
///
/// `None` means all sources; in the contract, the ids are then missing or empty.
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
    /// Parses `sync_options`; applies defaults and ignores unknown options.
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
                Some(size) if size > 0 => usize::try_from(size).unwrap_or(MAX_BATCH_ROWS).min(MAX_BATCH_ROWS),
                _ => return Err("\"sync_options.batch_size\" must be a whole number above 0".into()),
            },
        };
        let cursor = match fields.get("cursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(parse_name("sync_options.cursor", name)?),
            Some(_) => return Err("\"sync_options.cursor\" must be the name of a field".into()),
        };
        let others = fields.keys().filter(|name| !OPTIONS.contains(&name.as_str()));
        let others: Vec<_> = others.map(|name| format!("\"{name}\"")).collect();
        let warning = if others.is_empty() {
            None
        } else {
            Some(format!("{} in sync_options is not known here and has no effect", others.join(", ")))
        };
        Ok(Self { incremental, batch_size, cursor, warning })
    }
}

/// Returns an id as text; some clients send numbers.
pub(super) fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns a non-negative integer.
///
/// JSON has one number type, so `1000.0` is accepted; larger numbers become the maximum.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let rounded = || value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    value.as_u64().or_else(|| rounded().map(|number| number as u64))
}

impl SourceSpec {
    /// Parses an element of `sources`; an error includes the name, if there is one.
    pub(super) fn read(value: &Value) -> Result<Self, (Option<String>, String)> {
        let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
        Self::parse(value).map_err(|message| (name, message))
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let (kind, connection_config) = kind_and_config(value)?;
        let name = match value.get("name") {
            Some(Value::String(name)) => parse_name("name", name)?,
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

/// Returns the two fields of every definition, with or without a name.
pub(super) fn kind_and_config(value: &Value) -> Result<(String, Value), String> {
    let Value::Object(fields) = value else { return Err("a source must be an object".into()) };
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => parse_name("type", kind)?,
        Some(_) => return Err("\"type\" must be a text".into()),
        None => return Err("\"type\" is missing".into()),
    };
    match fields.get("connection_config") {
        Some(config @ Value::Object(_)) => Ok((kind, config.clone())),
        Some(_) => Err("\"connection_config\" must be an object".into()),
        None => Err("\"connection_config\" is missing".into()),
    }
}
