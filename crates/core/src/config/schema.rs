//! JSON Schemas (draft 7) with which editors check and complete the files.
//!
//! Invariant: generated from [`keys`](super::keys); `UPDATE=1 cargo test` writes them and the tables of
//! `docs/files.md`.

/// Schema of workspace files.
pub const WORKSPACE_SCHEMA: &str = include_str!("../../../../schema/workspace.schema.json");

/// Schema of `wellspring.toml`.
pub const SETTINGS_SCHEMA: &str = include_str!("../../../../schema/settings.schema.json");

#[cfg(test)]
mod tests {
    use super::super::keys::{self, Key, KeyTable, Kind};
    use serde_json::{Map, Value, json};
    use std::path::Path;

    /// Keys of several tables, which the schemas define once.
    const SHARED: [&str; 3] = ["sync", "sync_options", "test"];

    const PERCENT: &str = "^[0-9]{1,3}%$";

    /// Compares a file with its generated content, or writes it if `UPDATE` is set.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the test compares files of the repository")]
    fn check(file: &str, generate: impl Fn(&str) -> String) {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(file);
        let current = std::fs::read_to_string(&path).unwrap();
        let generated = generate(&current);
        if std::env::var_os("UPDATE").is_some() {
            assert!(std::env::var_os("CI").is_none(), "UPDATE is not for CI");
            std::fs::write(path, generated).unwrap();
        } else {
            assert!(current == generated, "{file} differs from the table of keys; UPDATE=1 rewrites it");
        }
    }

    #[test]
    fn schemas_match_the_table_of_keys() {
        check("schema/workspace.schema.json", |_| {
            document(&keys::FILE, "A workspace's sources", "A file that declares the sources of workspaces.")
        });
        check("schema/settings.schema.json", |_| {
            document(&keys::SETTINGS, "wellspring.toml", "Settings for every file of a project.")
        });
    }

    #[test]
    fn tables_of_the_documentation_match_the_table_of_keys() {
        let tables = [
            ("settings", &keys::SETTINGS),
            ("policy", &keys::POLICY),
            ("source", &keys::SOURCE),
            ("sync", &keys::SYNC),
            ("host", &keys::HOST),
        ];
        check("docs/files.md", |text| {
            tables.iter().fold(text.to_owned(), |text, (name, table)| with_table(&text, name, table))
        });
    }

    fn document(table: &KeyTable, title: &str, description: &str) -> String {
        let mut document = object(table);
        let duration = json!({
            "description": "A number and a unit, larger units first: 90s, 30m, 2h, 1d, 1h30m.",
            "type": "string",
            "pattern": "^ *([0-9]+w)? *([0-9]+d)? *([0-9]+h)? *([0-9]+m)? *([0-9]+s)? *$",
            "minLength": 2,
        });
        let shared = [keys::SYNC_KEY, keys::SYNC_OPTIONS_KEY, keys::TEST_KEY];
        let mut definitions: Map<String, Value> =
            shared.iter().map(|key| (key.name.to_owned(), definition(key))).collect();
        definitions.insert("duration".to_owned(), duration);
        for (key, value) in [
            ("$schema", json!("http://json-schema.org/draft-07/schema#")),
            ("title", json!(title)),
            ("description", json!(description)),
            ("x-tombi-toml-version", json!("v1.0.0")),
            ("definitions", definitions.into()),
        ] {
            document[key] = value;
        }
        format!("{document:#}\n")
    }

    fn object(table: &KeyTable) -> Value {
        let property = |key: &Key| {
            if SHARED.contains(&key.name) {
                json!({ "$ref": format!("#/definitions/{}", key.name) })
            } else {
                definition(key)
            }
        };
        let properties: Map<String, Value> =
            table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
        let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !table.required.is_empty() {
            object["required"] = json!(table.required);
        }
        if !table.exactly_one.is_empty() {
            object["oneOf"] = table.exactly_one.iter().map(|name| json!({ "required": [name] })).collect();
        }
        object
    }

    fn definition(key: &Key) -> Value {
        let mut schema = of_kind(&key.kind);
        if key.name == "metadata" && matches!(key.kind, Kind::Open(_)) {
            schema["not"] = json!({ "required": ["wellspring"] });
        }
        schema["description"] = json!(sentence(key.doc));
        let default = key.default.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
        if let Some(default) = default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            schema["default"] = default;
        }
        schema
    }

    fn of_kind(kind: &Kind) -> Value {
        let duration = json!({ "$ref": "#/definitions/duration" });
        match kind {
            Kind::Text(_) => json!({ "type": "string", "minLength": 1 }),
            Kind::Texts(_) => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::TextOrTexts => json!({ "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ] }),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Number => json!({ "type": "integer", "minimum": 1 }),
            Kind::Duration => json!({ "allOf": [duration] }),
            Kind::DurationOrZero => json!({ "anyOf": [{ "const": "0s" }, duration] }),
            Kind::Share => json!({ "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": PERCENT },
            ] }),
            Kind::Choice(words) => json!({ "type": "string", "enum": words }),
            Kind::Date => json!({ "type": "string", "format": "date" }),
            Kind::Table(table) | Kind::Section(table) => object(table),
            Kind::Open(table) => {
                let mut open = object(table);
                open["additionalProperties"] = json!(true);
                open
            }
            Kind::Each(_, kind) => json!({ "type": "object", "additionalProperties": of_kind(kind) }),
            Kind::TextOrTable(table) => {
                json!({ "anyOf": [{ "type": "string", "minLength": 1 }, object(table)] })
            }
            Kind::Sections(_) | Kind::Secret | Kind::Other(_) => panic!("the host file has no schema"),
        }
    }

    /// Returns Markdown as a sentence of plain text.
    fn sentence(markdown: &str) -> String {
        let mut plain = markdown.replace('`', "");
        while let Some((before, (link, after))) =
            plain.split_once("](").and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
            && let Some((before, text)) = before.rsplit_once('[')
        {
            let _ = link;
            plain = format!("{before}{text}{after}");
        }
        plain[..1].make_ascii_uppercase();
        plain + "."
    }

    /// Replaces the table below `<!-- keys: NAME -->`.
    #[track_caller]
    fn with_table(text: &str, name: &str, table: &KeyTable) -> String {
        let mark = format!("<!-- keys: {name} -->\n\n");
        let (before, after) = text.split_once(&mark).unwrap_or_else(|| panic!("no {mark}"));
        let end = after.find("\n\n").map_or(after.len(), |end| end + 1);
        let mut lines = vec!["| key | type | default | meaning |".to_owned(), "|---|---|---|---|".to_owned()];
        rows(table, "", &mut lines);
        format!("{before}{mark}{}\n{}", lines.join("\n"), &after[end..])
    }

    fn rows(table: &KeyTable, prefix: &str, lines: &mut Vec<String>) {
        for key in table.keys {
            let name = match key.kind {
                Kind::Section(inner) | Kind::Sections(inner) => {
                    rows(inner, &format!("{prefix}{}.", key.name), lines);
                    continue;
                }
                Kind::Each(placeholder, _) => format!("{}.{placeholder}", key.name),
                _ => key.name.to_owned(),
            };
            let cells =
                [format!("`{prefix}{name}`"), kind(&key.kind), key.default.to_owned(), key.doc.to_owned()];
            lines.push(format!("| {} |", cells.join(" | ")).replace("|  |", "| |"));
        }
    }

    fn kind(kind: &Kind) -> String {
        let kind = match kind {
            Kind::Text(of) | Kind::Other(of) => of,
            Kind::Texts(of) => return format!("list of {of}"),
            Kind::TextOrTexts => "string, or list of strings",
            Kind::Boolean => "boolean",
            Kind::Number => "number",
            Kind::Duration => "duration",
            Kind::DurationOrZero => "duration or `\"0s\"`",
            Kind::Share => "a number from 1, or a percentage",
            Kind::Choice(words) => {
                return words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
            }
            Kind::Date => "date",
            Kind::Table(_) | Kind::Open(_) | Kind::Section(_) | Kind::Sections(_) => "table",
            Kind::Each(_, kind) => return self::kind(kind),
            Kind::TextOrTable(table) => {
                return format!("string, or `{{ {} }}`", table.names().collect::<Vec<_>>().join(", "));
            }
            Kind::Secret => "`{ secret = … }`",
        };
        kind.to_owned()
    }
}
