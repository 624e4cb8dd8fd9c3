//! Writes sources of the platform as a file, with references in place of secrets.
//!
//! A `# TODO` marks values that the platform does not return or a file cannot contain. Names and values come
//! from the platform and are not trusted: they are quoted, none becomes a reference, and a source that would
//! not be read back as intended is omitted with a note.

mod values;

use super::{SourceFile, format, read};
use crate::model::{ObservedSource, Scope, SourceName, WorkspaceRef, toml_key, toml_string};
use std::collections::BTreeSet;
use std::sync::Arc;
use values::TodoNotes;

/// A file to be written.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Contents, which parse without errors.
    pub text: String,
    /// Names of the sources in the file.
    pub sources: Vec<SourceName>,
    /// Values that could not be read, as `SOURCE: PATH`, or not be written.
    pub unreadable: Vec<String>,
    /// Variables that the references name.
    pub variables: BTreeSet<String>,
}

/// The workspace as named in the file.
#[derive(Debug, Clone)]
pub struct PulledWorkspace<'a> {
    /// The workspace and scope.
    pub workspace: &'a WorkspaceRef,
    /// Alias and its scope, if `wellspring.toml` has one.
    pub alias: Option<(&'a str, &'a Scope)>,
}

/// Writes a file that declares these rows.
///
/// `taken` are keys that other files use in this workspace.
#[must_use]
pub fn generate(
    workspace: &PulledWorkspace<'_>,
    rows: &[&ObservedSource],
    taken: &BTreeSet<String>,
) -> Pulled {
    let mut out = Pulled {
        text: String::new(),
        sources: Vec::new(),
        unreadable: Vec::new(),
        variables: BTreeSet::new(),
    };
    let (header, usual) = match workspace.alias {
        Some((alias, scope)) => (format!("[workspace]\nuse = {}\n", toml_string(alias)), scope.clone()),
        None => {
            let id = workspace.workspace.workspace.as_str();
            let named = match workspace.workspace.workspace.account() {
                Some(account) => format!("account = {}", toml_string(&account.to_string())),
                None => format!("id = {}", toml_string(id)),
            };
            (format!("[workspace]\n{named}\n"), Scope::default())
        }
    };
    let label = workspace.alias.map_or(workspace.workspace.workspace.as_str(), |(alias, _)| alias);
    let mut body = String::new();
    let mut taken = taken.clone();
    let mut names: BTreeSet<&SourceName> = BTreeSet::new();
    for row in rows {
        if !names.insert(&row.name) {
            out.unreadable.push(format!("{}: the platform has several of this name", row.name));
            continue;
        }
        let is_account = workspace.workspace.workspace.account().is_some();
        let key = unused_key(if is_account { table_name(row) } else { row.name.as_str() }, &taken);
        let (block, notes) = source(label, &key, row, is_account);
        if parses_cleanly(&block, is_account) {
            body.push_str(&block);
            out.sources.push(row.name.clone());
            taken.insert(key);
            out.unreadable.extend(notes.unreadable.into_iter().map(|path| format!("{}: {path}", row.name)));
            out.variables.extend(notes.variables);
        } else {
            body.push_str(&format!(
                "\n# TODO {}: a file cannot declare this source\n",
                toml_string(row.name.as_str())
            ));
            out.unreadable.push(format!("{}: a file cannot declare this source", row.name));
        }
    }
    if out.sources.is_empty() {
        out.text.push_str("sources = {}\n\n");
    }
    out.text.push_str(&header);
    if workspace.workspace.scope != usual {
        out.text.push_str(&format!("scope = {}\n", toml_string(workspace.workspace.scope.as_str())));
    }
    out.text.push_str(&body);
    out.text = format(&out.text).unwrap_or(out.text);
    out
}

/// Converts a name to a key or part of a file name: letters, digits, `_` and `-`.
///
/// Returns `None` if nothing remains.
#[must_use]
pub fn plain_name(name: &str) -> Option<String> {
    const MAX_NAME_LENGTH: usize = 60;
    let mut plain = String::new();
    for c in name.chars().take(MAX_NAME_LENGTH) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '-' => plain.push(c.to_ascii_lowercase()),
            _ if plain.is_empty() || plain.ends_with('_') => {}
            _ => plain.push('_'),
        }
    }
    let plain = plain.trim_matches(['_', '-']);
    if plain.is_empty() { None } else { Some(plain.to_owned()) }
}

/// Returns the name if it is valid as a bare key, else a similar unused key.
fn unused_key(name: &str, taken: &BTreeSet<String>) -> String {
    let bare =
        name.len() <= 60 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let wanted = if bare { name.to_owned() } else { plain_name(name).unwrap_or_else(|| "source".to_owned()) };
    let numbered = (2..).map(|n| format!("{wanted}_{n}"));
    std::iter::once(wanted.clone()).chain(numbered).find(|key| !taken.contains(key)).unwrap_or(wanted)
}

/// Returns the last part of the table of an account's row, which has no name.
fn table_name(row: &ObservedSource) -> &str {
    let table = row.name.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match table.rsplit_once('.') {
        Some((stem, "csv" | "tsv" | "json" | "parquet" | "xlsx")) => stem,
        Some((_, last)) => last,
        None => table,
    }
}

fn source(label: &str, key: &str, row: &ObservedSource, is_account: bool) -> (String, TodoNotes) {
    let mut notes = TodoNotes::new(&format!("{label}_{key}"));
    row.echo.connection_config().iter().for_each(|config| notes.collect_secrets(config));
    let table = format!("sources.{}", toml_key(key));
    let mut text = format!("\n[{table}]\n");
    match row.kind.as_deref().filter(|kind| !kind.is_empty()) {
        Some(kind) => text.push_str(&format!("type = {}\n", toml_string(&values::literal(kind)))),
        None => {
            notes.unreadable.push("type".to_owned());
            text.push_str("# TODO the platform does not show its type\ntype = \"unknown\"\n");
        }
    }
    if key != row.name.as_str() && !is_account {
        text.push_str(&format!("name = {}\n", toml_string(row.name.as_str())));
    }
    let metadata = row.echo.metadata().and_then(|metadata| metadata.as_object());
    if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
        text.push_str(&format!("\n[{table}.metadata]\n{}", notes.metadata(metadata)));
    }
    text.push_str(&format!("\n[{table}.connection_config]\n"));
    match row.echo.connection_config().and_then(|config| config.as_object()) {
        Some(config) => text.push_str(&notes.config(config)),
        None => {
            notes.unreadable.push("connection_config".to_owned());
            text.push_str("# TODO the platform does not show how it connects\n");
        }
    }
    (text, notes)
}

/// Returns true if the block, alone in a file, is read without errors.
fn parses_cleanly(block: &str, is_account: bool) -> bool {
    let named = if is_account { "account = \"a/b\"" } else { "id = \"w\"" };
    let text = format!("[workspace]\n{named}\n{block}");
    let file = SourceFile { path: Arc::from("pulled.toml"), text: Ok(&text) };
    let reading = read(&[file], &|_| None);
    reading.diagnostics.is_empty()
        && reading.desired.workspaces.iter().map(|workspace| workspace.count).sum::<usize>() == 1
}
