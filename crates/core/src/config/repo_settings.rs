//! The content of `wellspring.toml`, and the checks of ids and scopes.

use super::diagnostic::Code;
use super::document::{Span, SpannedTable};
use super::fields;
use super::patterns::Patterns;
use super::policy::PartialPolicy;
use super::sink::{DiagnosticSink, HeapSize};
use crate::model::{PlatformUrl, Scope, WorkspaceId, WorkspaceRef};
use std::collections::BTreeMap;
use std::time::Duration;

/// Name of the settings file, at the project root.
pub const FILE_NAME: &str = "wellspring.toml";

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
    pub(super) name: String,
    pub(super) refused: bool,
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
        if self.refused {
            format!(
                "write the value; or permit the variable on the host: `[variables] allow = [\"{0}\"]` in its file, or WELLSPRING_VARIABLES={0}",
                self.name
            )
        } else {
            "set the variable, or write the value".to_owned()
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
    pub(super) fn workspaces(&self) -> BTreeMap<String, WorkspaceRef> {
        let workspace = |alias: &Alias| match &alias.id {
            AliasId::Known(id) => {
                Some(WorkspaceRef { workspace: id.clone(), scope: alias.scope.clone().unwrap_or_default() })
            }
            _ => None,
        };
        self.aliases.iter().filter_map(|(name, alias)| Some((name.clone(), workspace(alias)?))).collect()
    }
}

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

/// Reserved word, because notices and logs name the files themselves by it.
pub(super) const RESERVED: &str = "files";

pub(super) fn reserved(what: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    findings
        .error(
            Code::InvalidValue,
            span,
            format!("`{RESERVED}` is reserved, and not the {what} of a workspace"),
        )
        .help("use the id that the platform shows, or another alias");
}

/// Words of the Data API's paths, which no workspace has for its id.
///
/// A path with such an id could address another endpoint: `data/files/list` may list files instead of
/// sources.
const PATH_WORDS: [&str; 13] = [
    "all-pairs-join",
    "cleanup",
    "connect",
    "demo-sources",
    RESERVED,
    "infer-schema",
    "list",
    "list-sheets",
    "preview",
    "refresh",
    "schema",
    "sync",
    "test-connection",
];

pub(super) fn workspace_id(
    id: &str,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceId> {
    parse_workspace_id(id, None, span, findings)
}

/// Like [`workspace_id`]; diagnostics show the form `written` in the file.
pub(super) fn parse_workspace_id(
    id: &str,
    written: Option<&str>,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceId> {
    fields::check_displayed_name("the id", id, written.unwrap_or(id), span, findings);
    if PATH_WORDS.contains(&id) {
        findings
            .error(
                Code::InvalidValue,
                span,
                format!("`{id}` is a word of the API's paths, and not the id of a workspace"),
            )
            .help("use the id that the platform shows");
        return None;
    }
    match WorkspaceId::parse(id) {
        Ok(parsed) if parsed.account().is_some() => {
            findings
                .error(Code::InvalidValue, span, "an account is not the id of a workspace")
                .help("write `account = \"ORGANIZATION/USER\"` in place of `id`");
            None
        }
        Ok(id) => Some(match written {
            Some(written) => id.with_display_form(written),
            None => id,
        }),
        Err(error) => {
            findings
                .error(Code::InvalidValue, span, error.to_string())
                .help("write the id that the platform shows");
            None
        }
    }
}

/// Reports the `scope` of an account.
pub(super) fn reject_scope(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    if let Some(entry) = table.get("scope") {
        findings.error(Code::UnknownKey, entry.key, "an account has no scopes").help("remove `scope`");
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
