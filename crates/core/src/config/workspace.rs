//! Workspace files: `[workspace]`, `[policy]`, sources, `[moved]` and `[removed]`.

use super::account;
use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, SpannedValue, TomlValue};
use super::fields::{self, unknown_keys, unknown_keys_of};
use super::keys;
use super::policy::{self, PartialPolicy};
use super::repo_settings::{self, AliasId, FILE_NAME, RepoSettings};
use super::sink::{DiagnosticSink, HeapSize};
use super::source::{self, ParsedSource};
use super::suggest::{did_you_mean, meant, nearest};
use super::sync;
use crate::model::{Moved, Removed, RemovedAction, Scope, SourceKey, SourceLocation, WorkspaceRef};
use std::collections::BTreeSet;

/// Contents of a workspace file, as far as it could be read.
#[derive(Default)]
pub(super) struct FileContents {
    pub(super) document: u32,
    /// True if no error was found in the file or while reading it.
    pub(super) is_valid: bool,
    /// `None` if `[workspace]` could not be read completely.
    pub(super) workspaces: Option<Vec<WorkspaceRef>>,
    pub(super) policy: PartialPolicy,
    pub(super) sources: Vec<ParsedSource>,
    /// True if `[sources]` contains an entry whose workspace is unknown.
    pub(super) has_unresolved_sources: bool,
    pub(super) moved: Vec<(Moved, Span)>,
    pub(super) removed: Vec<(Removed, Span)>,
}

impl FileContents {
    /// Iterates over the sources that belong to the workspace.
    pub(super) fn sources_of(&self, workspace: &WorkspaceRef) -> impl Iterator<Item = &ParsedSource> {
        let own = self.workspaces.as_deref().unwrap_or_default();
        self.sources.iter().filter(move |source| source.belongs_to(workspace, own))
    }

    /// Returns every workspace the file names, including those that scopes of sources add.
    ///
    /// Returns `None` if there may be others.
    pub(super) fn all_workspaces(&self) -> Option<BTreeSet<WorkspaceRef>> {
        if self.has_unresolved_sources {
            return None;
        }
        let own = self.workspaces.as_ref()?;
        let mut all: BTreeSet<WorkspaceRef> = own.iter().cloned().collect();
        let scopes: BTreeSet<&Scope> =
            self.sources.iter().filter_map(|source| source.scope.as_ref()).collect();
        for scope in scopes {
            all.extend(own.iter().map(|workspace| WorkspaceRef {
                workspace: workspace.workspace.clone(),
                scope: scope.clone(),
            }));
        }
        Some(all)
    }
}

/// Reads a workspace file from its table.
///
/// Without `settings` (because they are broken), aliases and templates are not checked.
pub(super) fn read<'a>(
    document: u32,
    mut root: SpannedTable<'a>,
    settings: Option<&RepoSettings<'a>>,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> FileContents {
    let mut reading = FileContents { document, ..FileContents::default() };
    let top = Span { document, start: 0, end: 0 };
    let Some(workspace) = root.get("workspace") else {
        report_missing_workspace(top, &root, findings);
        return reading;
    };
    let header = workspace.key;
    unknown_keys(&root, &keys::FILE, findings);
    if let Some((table, _)) = fields::table(&root, "workspace", findings) {
        reading.workspaces = read_workspaces(table, workspace.key, settings, findings);
    }
    if let Some((table, _)) = fields::table(&root, "policy", findings) {
        reading.policy = policy::policy(table, findings);
    }
    if !root.contains_key("sources")
        && !root.keys().any(|key| meant(key, keys::FILE.names()) == Some("sources"))
    {
        findings.error(Code::Missing, workspace.node.span, "this file declares no sources").help(
            "add [sources.NAME]; to declare that there are none, write `sources = {}` above [workspace]",
        );
    }
    let sources = root.remove("sources");
    if let Some(sources) = sources.and_then(|entry| fields::into_table("sources", entry, findings)) {
        let copies = reading.workspaces.as_ref().map_or(1, Vec::len);
        let bytes = estimate_bytes(&sources, settings, copies);
        let declared = match copies {
            1 => format!("{} sources", sources.len()),
            _ => format!("{} sources in each of {copies} workspaces", sources.len()),
        };
        if !findings.reserve(bytes, header, &declared) {
            reading.has_unresolved_sources = true;
            return reading;
        }
        reading.sources.reserve_exact(sources.len());
        let workspaces = reading.workspaces.as_deref().unwrap_or_default();
        let is_account = workspaces.iter().any(|one| one.workspace.account().is_some());
        for (key, entry) in sources {
            let (key_span, header) = (entry.key, entry.node.span);
            let source = fields::into_table(&key, entry, findings).and_then(|table| {
                source::read(&key, table, key_span, header, settings, is_account, findings)
            });
            reading.has_unresolved_sources |= source.as_ref().is_none_or(|source| !source.scope_is_known);
            reading.sources.extend(source);
        }
    }
    if let Some((table, _)) = fields::table(&root, "moved", findings) {
        reading.moved = moved(table, findings);
    }
    if let Some((table, _)) = fields::table(&root, "removed", findings) {
        reading.removed = removed(table, findings);
    }
    reading
}

/// Estimates the memory of these sources with templates, in `copies` workspaces.
fn estimate_bytes(sources: &SpannedTable<'_>, settings: Option<&RepoSettings<'_>>, copies: usize) -> usize {
    /// Bytes of a source in one more workspace.
    const COPY: usize = 1024;
    let one = |node: &SpannedValue<'_>| {
        let own = node.value.as_table();
        let named = own.and_then(|own| own.get("extends")).and_then(|entry| entry.node.value.as_str());
        let template = named.zip(settings).and_then(|(name, settings)| settings.sizes.get(name));
        let defaults = settings.map_or(0, |settings| settings.default_size.bytes);
        own.map_or(0, |own| HeapSize::of(own).bytes) + template.map_or(0, |size| size.bytes) + defaults
    };
    let bytes = sources.values().map(|entry| one(&entry.node)).fold(0, usize::saturating_add);
    bytes
        .saturating_mul(copies)
        .saturating_add((COPY * sources.len()).saturating_mul(copies.saturating_sub(1)))
}

fn report_missing_workspace(top: Span, root: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    let help = if root.contains_key("workspaces") || root.contains_key("platform") {
        format!("settings such as these belong in {FILE_NAME} at the tree's root")
    } else if let Some((found, entry)) = root.iter().find(|(key, _)| nearest(key, ["workspace"]).is_some()) {
        findings
            .error(Code::NoWorkspace, entry.key, "this file has no [workspace] table")
            .help(format!("did you mean `workspace` by `{}`?", display_key(found)));
        return;
    } else {
        format!(
            "begin with [workspace] and `id = \"…\"`; or leave the file out with `files = [\"workspaces/**/*.toml\"]` in {FILE_NAME}"
        )
    };
    findings.error(Code::NoWorkspace, top, "this file has no [workspace] table").help(help);
}

/// Returns the workspaces that `[workspace]` names; `None` if one of them is unknown.
fn read_workspaces(
    table: &SpannedTable<'_>,
    header: Span,
    settings: Option<&RepoSettings<'_>>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Vec<WorkspaceRef>> {
    unknown_keys(table, &keys::WORKSPACE, findings);
    let scope = repo_settings::scope(table, findings);
    if scope.is_none() && table.contains_key("scope") {
        return None;
    }
    let named: Vec<_> =
        ["id", "account", "use"].into_iter().filter_map(|key| Some((key, table.get(key)?))).collect();
    match named.as_slice() {
        [] => {
            findings
                .error(Code::Missing, header, "`[workspace]` needs `id` or `use`")
                .help(format!("write `id = \"…\"`, or `use = \"…\"` with an alias from {FILE_NAME}"));
            None
        }
        [(first, other), (second, entry), ..] => {
            findings
                .error(Code::Exclusive, entry.key, format!("`{second}` and `{first}` exclude each other"))
                .with_label(other.key, "the other one")
                .help("keep one of them");
            None
        }
        [("id", _)] => {
            let (id, span) = fields::text(table, "id", findings)?;
            let workspace = repo_settings::workspace_id(id, span, findings)?;
            Some(vec![WorkspaceRef { workspace, scope: scope.unwrap_or_default() }])
        }
        [("account", _)] => {
            let (account, span) = fields::text(table, "account", findings)?;
            let workspace = account::account_id(account, None, span, findings)?;
            repo_settings::reject_scope(table, findings);
            Some(vec![WorkspaceRef { workspace, scope: Scope::default() }])
        }
        [(_, entry)] => {
            let aliases = match &entry.node.value {
                TomlValue::Array(_) => fields::words(table, "use", findings)?,
                _ => vec![fields::text(table, "use", findings)?],
            };
            if aliases.is_empty() {
                findings.error(Code::InvalidValue, entry.node.span, "`use` names no workspace");
                return None;
            }
            let settings = settings?;
            let mut workspaces: Vec<(WorkspaceRef, Span)> = Vec::new();
            let mut complete = true;
            for (alias, span) in aliases {
                let Some(mut workspace) = resolve_alias(alias, span, settings, findings) else {
                    complete = false;
                    continue;
                };
                if let Some(scope) = &scope {
                    workspace.scope = scope.clone();
                }
                if workspace.workspace.account().is_some() {
                    repo_settings::reject_scope(table, findings);
                }
                match workspaces.iter().find(|(other, _)| *other == workspace) {
                    Some((_, first)) => {
                        findings
                            .error(Code::SameWorkspace, span, "this workspace is named twice")
                            .with_label(*first, "named here first");
                    }
                    None => workspaces.push((workspace, span)),
                }
            }
            if complete {
                Some(workspaces.into_iter().map(|(workspace, _)| workspace).collect())
            } else {
                None
            }
        }
    }
}

fn resolve_alias(
    name: &str,
    span: Span,
    settings: &RepoSettings<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceRef> {
    if settings.absent {
        findings.report_once(Code::UnknownAlias, span, format!("no {FILE_NAME} defines what `use` names")).help(
            format!("name the tree's root, where {FILE_NAME} is; or add one with [workspaces]; or write `id = \"…\"` in each file"),
        );
        return None;
    }
    let Some(alias) = settings.aliases.get(name) else {
        findings
            .error(Code::UnknownAlias, span, format!("no workspace is called `{}`", display_key(name)))
            .maybe_help(did_you_mean(name, settings.aliases.keys().map(String::as_str)).or_else(|| {
                Some(format!("add it to [workspaces] in {FILE_NAME}, or write `id = \"…\"` instead of `use`"))
            }));
        return None;
    };
    match &alias.id {
        AliasId::Known(id) => {
            Some(WorkspaceRef { workspace: id.clone(), scope: alias.scope.clone().unwrap_or_default() })
        }
        AliasId::NoValue(missing) => {
            findings
                .error(
                    missing.code(),
                    span,
                    format!("the id of `{}` is in {}", display_key(name), missing.describe()),
                )
                .with_label(alias.span, "the alias")
                .help(missing.help());
            None
        }
        AliasId::Invalid => None,
    }
}

fn moved(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Vec<(Moved, Span)> {
    let mut moved = Vec::new();
    for (from, entry) in table.iter() {
        let Some((to, span)) = fields::text(table, from, findings) else { continue };
        let (Some(from), Some(to)) =
            (source::key(from, entry.key, findings), source::key(to, span, findings))
        else {
            continue;
        };
        let (file, line) = findings.place(entry.key);
        moved.push((Moved { from, to, at: SourceLocation { file, line } }, entry.key));
    }
    moved
}

fn removed(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Vec<(Removed, Span)> {
    const ACTIONS: [(&str, RemovedAction); 2] =
        [("cleanup", RemovedAction::Cleanup), ("forget", RemovedAction::Forget)];
    let mut removed = Vec::new();
    for key in table.keys() {
        let Some((fields, entry)) = fields::table(table, key, findings) else { continue };
        let owner = format!("`[removed.{}]`", display_key(key));
        unknown_keys_of(&owner, fields, &keys::REMOVED, findings);
        let reason = sync::reason(fields, entry.key, &owner, findings);
        if !fields.contains_key("action") {
            findings
                .error(Code::Missing, entry.key, format!("{owner} needs an `action`"))
                .help("\"cleanup\" removes it from the platform, \"forget\" leaves it there");
        }
        let action = fields::choice(fields, "action", &ACTIONS, findings);
        let key: Option<SourceKey> = source::key(key, entry.key, findings);
        if let (Some(key), Some(action), Some(reason)) = (key, action, reason) {
            let (file, line) = findings.place(entry.node.span);
            removed.push((Removed { key, action, reason, at: SourceLocation { file, line } }, entry.key));
        }
    }
    removed
}
