//! `wellspring.toml`: platform, aliases, defaults, templates and policy.

use super::diagnostic::Code;
use super::document::{Span, SpannedTable, SpannedValue, TableEntry, TomlValue};
use super::fields::{self, display_key, unknown_keys};
use super::patterns::{self, Patterns};
use super::policy::{self, PartialPolicy};
use super::references;
use super::sink::{DiagnosticSink, HeapSize};
use super::source;
use crate::model::{PlatformUrl, Scope, Segment, WorkspaceId, WorkspaceRef};
use std::collections::BTreeMap;
use std::time::Duration;

/// Name of the settings file, at the project root.
pub const FILE_NAME: &str = "wellspring.toml";

pub(super) const KEYS: [&str; 6] = ["platform", "workspaces", "defaults", "templates", "policy", "files"];

pub(super) const PLATFORM_KEYS: [&str; 3] = ["url", "owner", "settle"];

pub(super) const ALIAS_KEYS: [&str; 2] = ["id", "scope"];

/// Result of looking up an environment variable for `wellspring.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The value.
    Set(String),
    /// The variable is not set.
    Unset,
    /// The host does not permit the variable here.
    Refused,
}

impl From<Option<String>> for Lookup {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Unset, Self::Set)
    }
}

impl Lookup {
    /// Returns the value, if any.
    #[must_use]
    pub fn value(self) -> Option<String> {
        match self {
            Self::Set(value) => Some(value),
            Self::Unset | Self::Refused => None,
        }
    }
}

/// Function that looks up an environment variable.
pub(super) type Variable<'v> = &'v dyn Fn(&str) -> Lookup;

/// A variable that is unset or refused.
pub(super) struct NoValue {
    name: String,
    refused: bool,
}

impl NoValue {
    pub(super) fn code(&self) -> Code {
        if self.refused { Code::RefusedVariable } else { Code::UnsetVariable }
    }

    /// Completes the sentence "the variable `NAME`, which …".
    pub(super) fn describe(&self) -> String {
        let why = if self.refused { "this host does not permit here" } else { "is not set" };
        format!("the variable `{}`, which {why}", self.name)
    }

    pub(super) fn help(&self) -> String {
        match self.refused {
            true => format!(
                "write the value; or permit the variable on the host: `[variables] allow = [\"{0}\"]` in its file, or WELLSPRING_VARIABLES={0}",
                self.name
            ),
            false => "set the variable, or write the value".to_owned(),
        }
    }
}

/// Settings of `wellspring.toml`; all are empty without one.
#[derive(Default)]
pub(super) struct RepoSettings<'a> {
    /// True if there is no such file.
    pub(super) absent: bool,
    /// True if all names it defines are known, even if it has other errors.
    pub(super) names_complete: bool,
    pub(super) platform: Option<PlatformUrl>,
    pub(super) owner: Option<String>,
    pub(super) settle: Option<Duration>,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) defaults: SpannedTable<'a>,
    pub(super) templates: BTreeMap<String, (SpannedTable<'a>, Span)>,
    /// Sizes of the templates and of the defaults, which each source may multiply.
    pub(super) sizes: BTreeMap<String, HeapSize>,
    pub(super) default_size: HeapSize,
    pub(super) policy: PartialPolicy,
    /// Patterns of the files to read, if any.
    pub(super) files: Option<Patterns>,
}

impl RepoSettings<'_> {
    /// Returns the aliases with a known id.
    pub(super) fn units(&self) -> BTreeMap<String, WorkspaceRef> {
        let unit = |alias: &Alias| match &alias.id {
            AliasId::Known(id) => {
                Some(WorkspaceRef { workspace: id.clone(), scope: alias.scope.clone().unwrap_or_default() })
            }
            _ => None,
        };
        self.aliases.iter().filter_map(|(name, alias)| Some((name.clone(), unit(alias)?))).collect()
    }
}

/// A workspace alias.
pub(super) struct Alias {
    pub(super) id: AliasId,
    pub(super) scope: Option<Scope>,
    pub(super) span: Span,
}

/// The id of an alias, or the reason why it is unknown.
pub(super) enum AliasId {
    Known(WorkspaceId),
    /// The variable has no value here, an error only in files that use the alias.
    NoValue(NoValue),
    /// Reported already.
    Invalid,
}

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
    unknown_keys(&others, &KEYS, FILE_NAME, findings);
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
    unknown_keys(table, &PLATFORM_KEYS, "`[platform]`", findings);
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
            TomlValue::Table(fields) => {
                unknown_keys(fields, &ALIAS_KEYS, "a workspace's alias", findings);
                if !fields.contains_key("id") {
                    findings
                        .error(Code::Missing, entry.key, format!("`{}` needs an `id`", display_key(name)))
                        .help("write { id = \"…\" }, with the id that the platform shows");
                }
                (fields.get("id").map(|id| &id.node), scope(fields, findings))
            }
            _ => (Some(&entry.node), None),
        };
        let id = id.map_or(AliasId::Invalid, |node| alias_id(name, node, variable, findings));
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

/// Reserved word, because notices and logs name the files themselves by it.
const RESERVED: &str = "files";

fn reserved(what: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    findings
        .error(
            Code::InvalidValue,
            span,
            format!("`{RESERVED}` is reserved, and not the {what} of a workspace"),
        )
        .help("use the id that the platform shows, or another alias");
}

/// Checks a workspace id.
pub(super) fn workspace_id(
    id: &str,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceId> {
    parse_workspace_id(id, None, span, findings)
}

/// Like [`workspace_id`]; diagnostics show the form `written` in the file.
fn parse_workspace_id(
    id: &str,
    written: Option<&str>,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceId> {
    fields::check_displayed_name("the id", (id, written.unwrap_or(id)), span, findings);
    if id == RESERVED {
        reserved("id", span, findings);
        return None;
    }
    match WorkspaceId::parse(id) {
        Ok(id) => Some(match written {
            Some(written) => id.with_display_form(written),
            None => id,
        }),
        Err(error) => {
            findings.error(Code::InvalidValue, span, error.to_string());
            None
        }
    }
}

/// Returns the `scope` of a table, if any.
pub(super) fn scope(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<Scope> {
    let (text, span) = fields::text(table, "scope", findings)?;
    fields::check_visible_name("the scope", text, span, findings);
    match Scope::parse(text) {
        Ok(scope) => Some(scope),
        Err(error) => {
            findings.error(Code::InvalidValue, span, error.to_string());
            None
        }
    }
}
