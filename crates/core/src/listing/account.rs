//! Parses the list of an account: one row for each table, without names.
//!
//! A row at the address of a source gets its name, so that everything after sees sources. Every other row gets its
//! address as its name, and nothing else of it is kept: it may show the password of another.

use super::bind;
use super::claims::AccountRow;
use super::{EnvelopeSeed, ListError, MAX_ROWS, MAX_VALUES, RelevantRows, malformed, rows};
use crate::model::{Address, AddressParts, ObservedSource, Readback, SourceId, SourceName, wipe};
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::marker::PhantomData;
use wellspring_sensitive::masked_text;

/// Names of the fields of a row: those that platforms send, then those that they document.
const ID: &[&str] = &["id", "datasource_id"];
const KIND: &[&str] = &["datasource_type", "databaseType"];
const HOST: &[&str] = &["host"];
const PORT: &[&str] = &["port"];
const DATABASE: &[&str] = &["database_name", "databaseName", "database"];
const SCHEMA: &[&str] = &["schema_name", "schema"];
const TABLE: &[&str] = &["table_name", "tables"];
const BIND: &[&str] = &["bind_annotation"];

/// Returns the rows of an account's complete list.
///
/// Without `relevant`, every row keeps its content.
///
/// # Errors
/// When the list may be incomplete, or a row has no type or contradicts itself.
pub fn parse_account(
    body: &[u8],
    relevant: Option<&RelevantRows<'_>>,
) -> Result<Vec<ObservedSource>, ListError> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let envelope = EnvelopeSeed(PhantomData::<&RawValue>).deserialize(&mut parser);
    let envelope =
        envelope.and_then(|envelope| parser.end().map(|()| envelope)).map_err(|error| malformed(&error))?;
    rows(envelope.data.map(|data| read(data.get(), relevant)), &envelope.beside)
}

fn read(data: &str, relevant: Option<&RelevantRows<'_>>) -> Result<Vec<ObservedSource>, ListError> {
    let list = || ListError::Malformed(format!("`data` is not a list of at most {MAX_ROWS} rows"));
    let raw: Vec<&RawValue> = serde_json::from_str(data).map_err(|_| list())?;
    if raw.len() > MAX_ROWS || data.len() > 16 * MAX_VALUES {
        return Err(list());
    }
    raw.into_iter().enumerate().map(|(n, row)| observed(n, row, relevant)).collect()
}

fn observed(
    n: usize,
    raw: &RawValue,
    relevant: Option<&RelevantRows<'_>>,
) -> Result<ObservedSource, ListError> {
    let odd = |what: &str| ListError::Malformed(format!("row {} {what}", n + 1));
    let mut fields =
        serde_json::from_str::<Map<String, Value>>(raw.get()).map_err(|_| odd("is no object"))?;
    let field = |names: &[&str]| text(&fields, names).ok_or_else(|| odd("contradicts itself"));
    let [kind, host, port, database] = [field(KIND)?, field(HOST)?, field(PORT)?, field(DATABASE)?];
    let [schema, table, bind] = [field(SCHEMA)?, field(TABLE)?, field(BIND)?];
    field(ID)?;
    if kind.is_empty() {
        return Err(odd("has no type"));
    }
    let bind = secrecy::zeroize::Zeroizing::new(bind);
    let id = ID.iter().find_map(|name| SourceId::from_json(fields.get(*name)?));
    fields.values_mut().for_each(wipe);
    let address = Address::from(AddressParts {
        kind: &kind,
        host: &host,
        port: &port,
        database: &database,
        schema: &schema,
        table: &table,
    });
    let location = location([&host, &port, &database, &schema, &table]);
    let claimed = relevant.and_then(|relevant| relevant.claims()?.claimed_by(&address));
    let keeps_all = relevant.is_none_or(RelevantRows::keeps_all);
    let settings = if claimed.is_some() || keeps_all { bind::settings(&bind) } else { None };
    let row = AccountRow { kind: kind.to_lowercase(), address, settings, location: &location };
    match claimed {
        Some(claimed) => Ok(claimed.fold(id, row)),
        None => unclaimed(id, row).ok_or_else(|| odd("has no address")),
    }
}

/// Returns a row that belongs to no source, under its address.
fn unclaimed(id: Option<SourceId>, row: AccountRow<'_>) -> Option<ObservedSource> {
    let name = SourceName::parse(&masked_text(&row.address.to_string())).ok()?;
    let config = row.settings.map(|settings| {
        let mut config = row.location.clone();
        config.extend(settings);
        config.into()
    });
    let echo = Readback::of_values(config, None);
    Some(ObservedSource { id, name, kind: Some(row.kind), echo })
}

/// Returns the text of a field; empty if absent, `None` if its names have different values.
fn text(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let mut found = String::new();
    for value in names.iter().filter_map(|name| fields.get(*name)) {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            // The documented form of the table.
            Value::Array(items) => match items.as_slice() {
                [Value::String(only)] => only.clone(),
                _ => return None,
            },
            _ => return None,
        };
        if !found.is_empty() && !text.is_empty() && found != text {
            return None;
        }
        if found.is_empty() {
            found = text;
        }
    }
    Some(found)
}

fn location([host, port, database, schema, table]: [&str; 5]) -> Map<String, Value> {
    let mut location = Map::new();
    for (key, text) in [("host", host), ("database", database), ("schema", schema)] {
        if !text.is_empty() {
            location.insert(key.to_owned(), text.into());
        }
    }
    if let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0) {
        location.insert("port".to_owned(), port.into());
    }
    location.insert("tables".to_owned(), vec![table].into());
    location
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(rows: &Value) -> Result<Vec<ObservedSource>, ListError> {
        let body = json!({ "status": "success", "message": "", "data": rows }).to_string();
        parse_account(body.as_bytes(), None)
    }

    #[test]
    fn rows_are_read_from_either_set_of_field_names() {
        let sent = json!([{
            "id": 7, "datasource_type": "Postgresql", "host": "h", "port": "5432", "database_name": "shop",
            "schema_name": "public", "table_name": "orders", "bind_annotation": "***",
        }]);
        let documented = json!([{
            "id": 7, "databaseType": "postgresql", "host": "h", "port": 5432, "database": "shop",
            "schema": "public", "tables": ["orders"], "rowCount": 3,
        }]);
        for rows in [parse(&sent).unwrap(), parse(&documented).unwrap()] {
            assert_eq!(rows[0].name.as_str(), "postgresql://h:5432/shop/public/orders");
            assert_eq!(rows[0].id, SourceId::from_json(&json!(7)));
            assert!(rows[0].echo.connection_config().is_none(), "an unreadable annotation shows nothing");
        }
    }

    #[test]
    fn a_row_that_is_not_understood_makes_the_list_malformed() {
        for row in [
            json!(1),
            json!({}),
            json!({ "host": "h" }),
            json!({ "datasource_type": "a", "databaseType": "b" }),
            json!({ "datasource_type": "a", "id": 1, "datasource_id": 2 }),
            json!({ "datasource_type": "a", "table_name": "x", "tables": ["y"] }),
            json!({ "datasource_type": "a", "host": { "canary": 1 } }),
        ] {
            let error = format!("{:?}", parse(&json!([row])).unwrap_err());
            assert!(error.contains("Malformed") && !error.contains("canary"), "{error}");
        }
        assert!(parse(&Value::Null).is_err(), "null stands for no list");
        assert!(parse_account(br#"{"status":"success"}"#, None).is_err());
        assert_eq!(parse_account(br#"{"status":"error","data":[]}"#, None), Err(ListError::Error));
        assert_eq!(parse(&json!([])).unwrap(), []);
    }
}
