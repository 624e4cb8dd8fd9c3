//! `wellspring.toml`: platform, aliases, defaults, templates and policy.

use super::account::account_id;
use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, SpannedValue, TableEntry, TomlValue};
use super::fields::{self, unknown_keys};
use super::keys;
use super::patterns;
use super::policy;
use super::references;
use super::repo_settings::{
    Alias, AliasId, FILE_NAME, Lookup, NoValue, RESERVED, RepoSettings, Variable, parse_workspace_id,
    reject_scope, reserved, scope,
};
use super::sink::{DiagnosticSink, HeapSize};
use super::source;
use crate::model::{PlatformUrl, Scope, Segment, WorkspaceId};
use std::collections::BTreeMap;

/// Reads the settings from their table.
pub(super) fn read<'a>(
    root: &SpannedTable<'a>,
    variable: Variable<'_>,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> RepoSettings<'a> {
    let before = findings.count();
    for key in ["workspace", "sources"] {
        if let Some(entry) = root.get(key) {
            findings
                .error(Code::UnknownKey, entry.key, format!("`{key}` does not belong in {FILE_NAME}"))
                .help("describe a workspace in a file of its own, for example workspaces/NAME.toml");
        }
    }
    let others: SpannedTable<'a> = root
        .iter()
        .filter(|(key, _)| !["workspace", "sources"].contains(&key.as_ref()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    unknown_keys(&others, &keys::SETTINGS, findings);
    let mut settings = RepoSettings { files: patterns::patterns(root, findings), ..RepoSettings::default() };
    settings.names_complete = findings.count() == before && has_valid_tables(root);
    if let Some((platform, _)) = fields::table(root, "platform", findings) {
        read_platform(platform, variable, &mut settings, findings);
    }
    if let Some((workspaces, _)) = fields::table(root, "workspaces", findings) {
        settings.aliases = aliases(workspaces, variable, findings);
    }
    if let Some((policy, _)) = fields::table(root, "policy", findings) {
        settings.policy = policy::policy(policy, findings);
    }
    if let Some((defaults, _)) = fields::table(root, "defaults", findings) {
        source::check_defaults(defaults, findings);
        settings.default_size = HeapSize::of(defaults);
        settings.defaults = defaults.clone();
    }
    if let Some((templates, _)) = fields::table(root, "templates", findings) {
        for name in templates.keys() {
            if let Some((template, entry)) = fields::table(templates, name, findings) {
                source::check_template(name, template, findings);
                settings.sizes.insert(name.to_owned(), HeapSize::of(template));
                settings.templates.insert(name.to_owned(), (template.clone(), entry.key));
            }
        }
    }
    settings
}

/// Returns true if `workspaces`, `defaults` and `templates` are tables or absent.
fn has_valid_tables(root: &SpannedTable<'_>) -> bool {
    let is_table = |entry: &TableEntry<'_>| entry.node.value.as_table().is_some();
    let templates = root.get("templates").and_then(|entry| entry.node.value.as_table());
    ["workspaces", "defaults", "templates"].iter().all(|key| root.get(key).is_none_or(is_table))
        && templates.is_none_or(|templates| templates.iter().all(|(_, entry)| is_table(entry)))
}

fn read_platform(
    table: &SpannedTable<'_>,
    variable: Variable<'_>,
    settings: &mut RepoSettings<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    unknown_keys(table, &keys::PLATFORM, findings);
    if let Some(entry) = table.get("url")
        && let Some(url) =
            required(expand_variables("url", &entry.node, variable, findings), &entry.node, findings)
    {
        settings.platform = platform_url(&url, entry, findings);
    }
    if let Some(entry) = table.get("owner") {
        settings.owner =
            required(expand_variables("owner", &entry.node, variable, findings), &entry.node, findings);
        if settings.owner.as_deref().is_some_and(|owner| owner.trim().is_empty()) {
            findings.error(Code::InvalidValue, entry.node.span, "`owner` is empty");
        }
    }
    settings.settle = fields::duration_or_none(table, "settle", findings).map(|(settle, _)| settle);
}

fn platform_url(
    url: &str,
    entry: &TableEntry<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<PlatformUrl> {
    if url == "local" {
        return Some(PlatformUrl::Local);
    }
    // The scheme of a URL is case-insensitive.
    let rest = url.split_once("://").and_then(|(scheme, rest)| {
        let is_web = ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        if is_web { Some(rest) } else { None }
    });
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let problem = if authority.is_empty() {
        "`platform.url` is not a web address"
    } else if authority.contains('@') {
        "`platform.url` holds a user or a password"
    } else if url.contains(['?', '#']) {
        "`platform.url` has a query or a fragment"
    } else if url.chars().any(|character| character.is_whitespace() || character.is_control()) {
        "`platform.url` has blanks in it"
    } else {
        return Some(PlatformUrl::Remote(url.to_owned()));
    };
    findings
        .error(Code::BadUrl, entry.node.span, problem)
        .help("write \"https://HOST/PATH\", or \"local\" for the embedded platform");
    None
}

/// Expands `${NAME}` in a string; `Err` contains a variable without a value.
fn expand_variables(
    key: &str,
    node: &SpannedValue<'_>,
    variable: Variable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Result<String, NoValue>> {
    let TomlValue::String(text) = &node.value else {
        findings
            .error(
                Code::WrongType,
                node.span,
                format!("`{}` takes a string, not {}", display_key(key), node.value.type_name()),
            )
            .help("write it in quotes: \"…\"");
        return None;
    };
    let mut out = String::new();
    for segment in references::checked_segments(text, node.span, findings)? {
        match segment {
            Segment::Literal(literal) => out.push_str(&literal),
            Segment::Env(name) => match variable(&name) {
                Lookup::Set(value) => out.push_str(&value),
                Lookup::Unset => return Some(Err(NoValue { name, refused: false })),
                Lookup::Refused => return Some(Err(NoValue { name, refused: true })),
            },
        }
    }
    Some(Ok(out))
}

fn required(
    expanded: Option<Result<String, NoValue>>,
    node: &SpannedValue<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<String> {
    match expanded? {
        Ok(text) => Some(text),
        Err(missing) => {
            findings
                .error(missing.code(), node.span, format!("this needs {}", missing.describe()))
                .help(missing.help());
            None
        }
    }
}

fn aliases(
    table: &SpannedTable<'_>,
    variable: Variable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> BTreeMap<String, Alias> {
    let mut aliases = BTreeMap::new();
    let mut taken: BTreeMap<(WorkspaceId, Scope), Span> = BTreeMap::new();
    let mut first: Option<(bool, Span)> = None;
    for (name, entry) in table.iter() {
        fields::check_visible_name("the alias", name, entry.key, findings);
        if name == RESERVED {
            reserved("alias", entry.key, findings);
        }
        if name.is_empty() || name.contains('/') {
            findings
                .error(Code::InvalidValue, entry.key, "an alias is not empty and holds no `/`")
                .help("sources are addressed as ALIAS/SOURCE");
        }
        let (id, scope) = match &entry.node.value {
            TomlValue::Table(fields) if fields.contains_key("account") => {
                (account_alias(name, fields, variable, findings), None)
            }
            TomlValue::Table(fields) => {
                unknown_keys(fields, &keys::ALIAS, findings);
                if !fields.contains_key("id") {
                    findings
                        .error(Code::Missing, entry.key, format!("`{}` needs an `id`", display_key(name)))
                        .help("write { id = \"…\" }, with the id that the platform shows");
                }
                let id = fields.get("id").map(|id| alias_id(name, &id.node, variable, findings));
                (id.unwrap_or(AliasId::Invalid), scope(fields, findings))
            }
            _ => (alias_id(name, &entry.node, variable, findings), None),
        };
        if let AliasId::Known(id) = &id {
            let is_account = id.account().is_some();
            let (first_is_account, first) = *first.get_or_insert((is_account, entry.key));
            if first_is_account != is_account {
                findings
                    .error(Code::Exclusive, entry.key, "a project has either workspaces or accounts")
                    .with_label(first, "the other one")
                    .help("a platform has one of them; give each platform its own project");
            }
        }
        if let AliasId::Known(id) = &id
            && let Some(other) = taken.insert((id.clone(), scope.clone().unwrap_or_default()), entry.key)
        {
            findings
                .error(Code::SameWorkspace, entry.key, "two aliases name the same workspace and scope")
                .with_label(other, "the other one")
                .help("keep one of them");
        }
        aliases.insert(name.clone().into_owned(), Alias { id, scope, span: entry.key });
    }
    aliases
}

/// Reads an alias of an account.
fn account_alias(
    name: &str,
    fields: &SpannedTable<'_>,
    variable: Variable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> AliasId {
    unknown_keys(fields, &keys::ALIAS, findings);
    reject_scope(fields, findings);
    let Some(entry) = fields.get("account") else { return AliasId::Invalid };
    if let Some(id) = fields.get("id") {
        findings
            .error(Code::Exclusive, entry.key, "`account` and `id` exclude each other")
            .with_label(id.key, "the other one")
            .help("keep one of them");
    }
    match expand_variables(name, &entry.node, variable, findings) {
        None => AliasId::Invalid,
        Some(Err(missing)) => AliasId::NoValue(missing),
        Some(Ok(text)) => {
            let written = entry.node.value.as_str().filter(|text| references::contains_reference(text));
            account_id(&text, written, entry.node.span, findings).map_or(AliasId::Invalid, AliasId::Known)
        }
    }
}

fn alias_id(
    name: &str,
    node: &SpannedValue<'_>,
    variable: Variable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> AliasId {
    match expand_variables(name, node, variable, findings) {
        None => AliasId::Invalid,
        Some(Err(missing)) => AliasId::NoValue(missing),
        Some(Ok(id)) => {
            let written = node.value.as_str().filter(|text| references::contains_reference(text));
            parse_workspace_id(&id, written, node.span, findings).map_or(AliasId::Invalid, AliasId::Known)
        }
    }
}
