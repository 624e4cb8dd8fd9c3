//! Annotations of tables: `@bind` with the access to a table, and `@model` with its columns.

use serde_json::Value;

use crate::connectors::SourceColumn;

/// Returns the name of a table in programs: letters, digits and underscores.
pub(super) fn predicate(table: &str) -> String {
    let file = table.rsplit('/').find(|part| !part.is_empty()).unwrap_or(table);
    let name = match file.rsplit_once('.') {
        // A file name loses its extension, the name of a table those of database and schema.
        Some((stem, "csv" | "tsv" | "json" | "parquet")) => stem,
        Some((_, last)) if !last.is_empty() => last,
        _ => file,
    };
    let name: String =
        name.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '_' }).collect();
    if name.starts_with(|sign: char| sign.is_ascii_alphabetic()) { name } else { format!("t_{name}") }
}

/// Formats a `@bind` annotation.
///
/// Settings are texts in single quotes, or numbers.
pub(super) fn bind(
    predicate: &str,
    kind: &str,
    settings: &[(&str, Value)],
    container: &str,
    table: &str,
) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}='{}'", text.replace('\\', r"\\").replace('\'', r"\'")),
            value => format!("{name}={value}"),
        })
        .collect();
    let access = format!("{kind} {}", settings.join(", "));
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\\\""));
    let parts = [predicate, access.trim_end(), container, table].map(quoted);
    format!("@bind({}).", parts.join(", "))
}

/// Formats a `@model` annotation.
pub(super) fn model(predicate: &str, columns: &[SourceColumn]) -> String {
    let columns: Vec<_> =
        columns.iter().map(|column| format!("'{}:{}'", column.name, data_type(&column.kind))).collect();
    format!("@model(\"{predicate}\", \"[{}]\").", columns.join(", "))
}

/// Returns the type of a column in programs.
fn data_type(kind: &str) -> &'static str {
    let kind = kind.to_ascii_lowercase();
    let is_one_of = |names: &[&str]| names.iter().any(|name| kind.starts_with(name));
    if is_one_of(&["interval"]) {
        "string"
    } else if is_one_of(&["int", "bigint", "smallint", "tinyint", "mediumint", "serial", "bigserial"]) {
        "int"
    } else if is_one_of(&["double", "float", "real", "numeric", "decimal", "number"]) {
        "double"
    } else if is_one_of(&["bool"]) {
        "boolean"
    } else if is_one_of(&["date", "timestamp"]) {
        "date"
    } else {
        "string"
    }
}

/// Returns true if two `@bind` annotations give access to the same table.
///
/// Spaces and the predicate, which clients replace, are ignored.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    access(one) == access(other)
}

/// Returns an annotation from its second argument on, with single spaces.
fn access(bind: &str) -> Option<String> {
    let (_, access) = bind.split_once(',')?;
    Some(access.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::{bind, is_same, predicate};
    use serde_json::json;

    #[test]
    fn a_bind_has_four_quoted_arguments() {
        let settings = [("host", json!("db")), ("port", json!(5432)), ("password", json!(r#"a'b"c\"#))];
        assert_eq!(
            bind("orders", "postgresql", &settings, "shop", "public.orders"),
            r#"@bind("orders", "postgresql host='db', port=5432, password='a\'b\"c\\'", "shop", "public.orders")."#
        );
        assert_eq!(bind("a", "csv", &[], "disk", "a.csv"), r#"@bind("a", "csv", "disk", "a.csv")."#);
    }

    #[test]
    fn spaces_and_the_predicate_do_not_matter() {
        let bind = r#"@bind("orders", "csv", "disk", "a.csv")."#;
        assert!(is_same(bind, r#"@bind("mine",  "csv", "disk", "a.csv")."#));
        assert!(!is_same(bind, r#"@bind("orders", "csv", "disk", "b.csv")."#));
    }

    #[test]
    fn predicates_are_identifiers() {
        for (table, expected) in [
            ("shop.public.orders", "orders"),
            ("air-routes.csv", "air_routes"),
            ("2024.csv", "t_2024"),
            ("/v1/customers", "customers"),
        ] {
            assert_eq!(predicate(table), expected);
        }
    }
}
