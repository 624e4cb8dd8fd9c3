//! Warnings for aliases and templates that no file uses.

use super::diagnostic::{Code, Diagnostic, display_key};
use super::document::{Document, Span, SpannedTable, TomlValue, small};
use super::repo_settings::FILE_NAME;
use super::sink::DiagnosticSink;
use super::{SourceFile, parse};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Warns about aliases and templates of `wellspring.toml` that no file uses.
///
/// If any file cannot be read, nothing is reported, because it may use them.
#[must_use]
pub fn unused(files: &[SourceFile<'_>]) -> Vec<Diagnostic> {
    let document =
        |file: &SourceFile<'_>| Some((Arc::clone(&file.path), file.text.as_deref().ok()?.to_owned()));
    let Some(texts) = files.iter().map(document).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let documents: Vec<_> = texts.iter().map(|(path, text)| Document::new(Arc::clone(path), text)).collect();
    let mut findings = DiagnosticSink::new(&documents);
    let mut used = UsedNames::default();
    let mut settings = None;
    for (at, (path, _)) in texts.iter().enumerate() {
        let Some(root) = parse::parse(small(at), &mut findings) else { return Vec::new() };
        if &**path == FILE_NAME {
            settings = Some(root);
        } else {
            used.note(&root);
        }
    }
    let Some(settings) = settings else { return Vec::new() };
    for (name, entry) in tables(&settings, "workspaces").filter(|(name, _)| !used.aliases.contains(*name)) {
        findings
            .warning(Code::UnusedAlias, entry, format!("no file uses the workspace `{}`", display_key(name)))
            .help(format!("write `use = \"{}\"` in the file that is meant, or remove it", display_key(name)));
    }
    for (name, entry) in tables(&settings, "templates").filter(|(name, _)| !used.templates.contains(*name)) {
        findings
            .warning(
                Code::UnusedTemplate,
                entry,
                format!("no source extends the template `{}`", display_key(name)),
            )
            .help(format!(
                "write `extends = \"{}\"` in the sources that are meant, or remove it",
                display_key(name)
            ));
    }
    findings.into_sorted()
}

#[derive(Default)]
struct UsedNames {
    aliases: BTreeSet<String>,
    templates: BTreeSet<String>,
}

impl UsedNames {
    fn note(&mut self, root: &SpannedTable<'_>) {
        let mut add = |value: &TomlValue<'_>| match value {
            TomlValue::String(name) => {
                self.aliases.insert(name.clone().into_owned());
            }
            TomlValue::Array(names) => {
                for name in names {
                    if let TomlValue::String(name) = &name.value {
                        self.aliases.insert(name.clone().into_owned());
                    }
                }
            }
            _ => {}
        };
        if let Some(alias) = table(root, "workspace").and_then(|workspace| workspace.get("use")) {
            add(&alias.node.value);
        }
        for (_, source) in table(root, "sources").into_iter().flat_map(SpannedTable::iter) {
            let extended = source.node.value.as_table().and_then(|source| source.get("extends"));
            if let Some(TomlValue::String(name)) = extended.map(|entry| &entry.node.value) {
                self.templates.insert(name.clone().into_owned());
            }
        }
    }
}

fn table<'t, 'a>(root: &'t SpannedTable<'a>, key: &str) -> Option<&'t SpannedTable<'a>> {
    root.get(key)?.node.value.as_table()
}

/// Iterates over the names in a table of the settings, with their locations.
fn tables<'t>(root: &'t SpannedTable<'_>, key: &str) -> impl Iterator<Item = (&'t str, Span)> {
    table(root, key).into_iter().flat_map(|table| table.iter().map(|(name, entry)| (&**name, entry.key)))
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, unused};
    use std::sync::Arc;

    fn of(files: &[(&str, &'static str)]) -> Vec<String> {
        let file =
            |(path, text): &(&str, &'static str)| SourceFile { path: Arc::from(*path), text: Ok(*text) };
        let files: Vec<_> = files.iter().map(file).collect();
        unused(&files).into_iter().map(|found| format!("{}: {}", found.code, found.message)).collect()
    }

    const SETTINGS: &str = "[workspaces]\ncrm = \"a\"\nrisk = \"b\"\n[templates.dwh]\ntype = \"x\"\n[templates.api]\ntype = \"y\"\n";

    #[test]
    fn what_no_file_uses_is_named_unless_a_file_cannot_be_read() {
        let file = "[workspace]\nuse = [\"crm\"]\n[sources.a]\nextends = \"dwh\"\n";
        let found = of(&[("wellspring.toml", SETTINGS), ("a.toml", file)]);
        assert_eq!(
            found,
            ["W027: no file uses the workspace `risk`", "W062: no source extends the template `api`"]
        );
        assert!(of(&[("wellspring.toml", SETTINGS), ("a.toml", file), ("b.toml", "not TOML")]).is_empty());
        let other = "[workspace]\nuse = \"risk\"\n[sources.b]\nextends = \"api\"\n";
        assert!(of(&[("wellspring.toml", SETTINGS), ("a.toml", file), ("b.toml", other)]).is_empty());
    }
}
