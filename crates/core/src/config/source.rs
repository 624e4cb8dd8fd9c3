//! `[sources.KEY]`: merges defaults, template and source, then reads the result.

use super::account;
use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable};
use super::fields::{self, unknown_keys, unknown_keys_of};
use super::keys;
use super::merge;
use super::policy::ADOPT;
use super::repo_settings::{self, FILE_NAME, RepoSettings};
use super::sink::DiagnosticSink;
use super::suggest::{did_you_mean, meant};
use super::{sync, values};
use crate::model::{
    Definition, DesiredSource, Scope, SortedMap, SourceKey, SourceLocation, SourceName, TestSpec,
    WorkspaceRef, toml_key,
};
use std::borrow::Cow;
use std::sync::Arc;

/// A source as far as it could be read.
pub(super) struct ParsedSource {
    pub(super) key: SourceKey,
    pub(super) key_span: Span,
    pub(super) name: SourceName,
    pub(super) name_span: Span,
    /// The source's own scope, if set.
    pub(super) scope: Option<Scope>,
    /// False if a scope is set but unreadable.
    pub(super) scope_is_known: bool,
    /// `None` if the source has an error.
    pub(super) desired: Option<DesiredSource>,
}

impl ParsedSource {
    /// Returns true if the source belongs to `workspace`; its file names the workspaces `own`.
    pub(super) fn belongs_to(&self, workspace: &WorkspaceRef, own: &[WorkspaceRef]) -> bool {
        own.iter().any(|one| {
            one.workspace == workspace.workspace
                && *self.scope.as_ref().unwrap_or(&one.scope) == workspace.scope
        })
    }
}

/// Reads one source; `None` if even its name is invalid.
pub(super) fn read<'a>(
    key: &str,
    own: SpannedTable<'a>,
    key_span: Span,
    header: Span,
    settings: Option<&RepoSettings<'a>>,
    is_account: bool,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> Option<ParsedSource> {
    let before = findings.count();
    let key_name = key;
    let key = self::key(key, key_span, findings)?;
    own_keys(key_name, &own, findings);
    let is_named = own.contains_key("name");
    let zoned = own
        .get("sync")
        .map(|entry| [("sync".into(), entry.clone())].into_iter().collect::<SpannedTable<'_>>());
    let copying = account::COPYING.map(|key| own.get(key).map(|entry| entry.key));
    let (merged, templated) = merge_layers(own, settings, findings);
    if let Some(own) = zoned {
        sync::report_unused_zone(&own, &merged, findings);
    }
    let fits = findings.check_size(&merged, key_span);
    let name = if is_named { fields::text(&merged, "name", findings) } else { None };
    let (name, name_span) = match name {
        Some((name, span)) => {
            fields::check_visible_name("the name", name, span, findings);
            (SourceName::parse(name), span)
        }
        None => (Ok(SourceName::from(&key)), key_span),
    };
    let name = match name {
        Ok(name) => name,
        Err(error) => {
            findings.error(Code::InvalidValue, name_span, error.to_string());
            return None;
        }
    };
    // A source that exceeds the limit is not read further.
    let body = if fits { Some(body(&merged, findings)) } else { None };
    let scope = match &body {
        Some(body) => body.scope.clone(),
        None => repo_settings::scope(&merged, findings),
    };
    let whole = settings.is_some() && templated;
    if templated && let Some(settings) = settings {
        check_merged(key_name, &merged, settings, header, findings);
    }
    if is_account {
        account::check(key_name, key_span, copying, &merged, findings);
    }
    let (file, line) = findings.place(header);
    // Depends on errors found, not on values read: a value with an error is omitted.
    let sound = findings.count() == before;
    let desired = body.and_then(|body| {
        if !sound {
            return None;
        }
        Some(DesiredSource {
            key: key.clone(),
            name: name.clone(),
            definition: Arc::new(Definition {
                kind: body.kind?,
                connection_config: body.connection_config,
                metadata: body.metadata,
            }),
            protect: body.protect,
            adopt: body.adopt,
            sync: body.sync.filter(|_| !is_account),
            sync_options: if is_account { serde_json::Map::new() } else { body.sync_options },
            suspend: body.suspend,
            test: body.test,
            at: SourceLocation { file, line },
        })
    });
    let scope_is_known = whole && merged.contains_key("scope") == scope.is_some();
    Some(ParsedSource { key, key_span, name, name_span, scope, scope_is_known, desired })
}

/// Reports keys missing from a source after merging defaults and template.
fn check_merged(
    name: &str,
    merged: &SpannedTable<'_>,
    settings: &RepoSettings<'_>,
    header: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    for (key, help) in [
        ("type", "for example type = \"database\"; see the platform's documentation for its types"),
        (
            "connection_config",
            "the platform requires one; write `connection_config = {}` if the type needs nothing",
        ),
    ] {
        // Under a misspelled key, or without its header, it is there, and that was reported.
        let slip = |other: &str| {
            !keys::SOURCE.contains(other)
                && (key == "connection_config" || meant(other, keys::SOURCE.names()) == Some(key))
        };
        if !merged.contains_key(key) && !merged.keys().any(slip) {
            findings
                .error(Code::Missing, header, format!("source `{}` needs a `{key}`", display_key(name)))
                .help(help);
        }
    }
    // Defaults may omit the period and leave it to each source.
    let default = settings.defaults.get("sync").map(|entry| entry.key);
    if let Some(entry) = merged.get("sync").filter(|entry| Some(entry.key) != default)
        && let Some(sync) = entry.node.value.as_table()
        && !sync.contains_key("every")
        && !sync.contains_key("cron")
    {
        findings
            .error(Code::Missing, entry.key, "`sync` needs `every` or `cron`")
            .help("for example sync = { every = \"6h\" }");
    }
}

pub(super) fn key(key: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) -> Option<SourceKey> {
    fields::check_visible_name("the key", key, span, findings);
    match SourceKey::parse(key) {
        Ok(key) => Some(key),
        Err(error) => {
            findings.error(Code::InvalidValue, span, error.to_string());
            None
        }
    }
}

/// Checks `[defaults]` at its location.
pub(super) fn check_defaults(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    unknown_keys(table, &keys::DEFAULTS, findings);
    check_schedule(table, findings);
    body(table, findings);
}

/// Checks `[templates.NAME]` at its location.
pub(super) fn check_template(name: &str, table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    for (key, why) in [
        ("extends", "a template cannot extend another one"),
        ("name", "each source has its own name"),
        ("suspend", "suspend the sources themselves"),
        ("unset", "a template starts from nothing but the defaults; `unset` belongs in the source"),
    ] {
        if let Some(entry) = table.get(key) {
            findings
                .error(
                    Code::UnknownKey,
                    entry.key,
                    format!("`{key}` is not allowed in template `{}`", display_key(name)),
                )
                .help(why);
        }
    }
    let others: SpannedTable<'_> = table
        .iter()
        .filter(|(key, _)| !["extends", "name", "suspend", "unset"].contains(&key.as_ref()))
        .map(|(key, entry)| (key.clone(), entry.clone()))
        .collect();
    unknown_keys_of(&format!("template `{}`", display_key(name)), &others, &keys::TEMPLATE, findings);
    check_schedule(table, findings);
    body(table, findings);
}

fn own_keys(name: &str, own: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    for (key, entry) in own.iter() {
        if keys::SOURCE.contains(key) {
            continue;
        }
        let fields_belong = || {
            let fields = format!(
                "fields of the connection belong below [sources.{}.connection_config]",
                toml_key(name)
            );
            match entry.node.value.as_table() {
                Some(_) => format!(
                    "{fields}; a name with a dot in it needs quotes: [sources.\"{}.{}\"]",
                    display_key(name),
                    display_key(key)
                ),
                None => fields,
            }
        };
        let help = did_you_mean(key, keys::SOURCE.names()).unwrap_or_else(fields_belong);
        findings
            .error(
                Code::UnknownKey,
                entry.key,
                format!("unknown key `{}` in source `{}`", display_key(key), display_key(name)),
            )
            .help(help);
    }
    check_schedule(own, findings);
}

fn check_schedule(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) {
    if let Some(sync) = table.get("sync").and_then(|entry| entry.node.value.as_table()) {
        sync::check_single_schedule(sync, findings);
    }
}

/// Merges defaults, template and source.
///
/// Also returns whether the template is known.
pub(super) fn merge_layers<'a>(
    mut own: SpannedTable<'a>,
    settings: Option<&RepoSettings<'a>>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> (SpannedTable<'a>, bool) {
    let mut base = settings.map_or_else(Cow::default, |settings| Cow::Borrowed(&settings.defaults));
    let mut known = true;
    if let Some((name, span)) = fields::text(&own, "extends", findings) {
        known = false;
        match settings.map(|settings| (settings.templates.get(name), settings)) {
            Some((Some((template, _)), _)) => {
                let mut template = template.clone();
                merge::merge_defaults(&mut template, &base);
                base = Cow::Owned(template);
                known = true;
            }
            Some((None, settings)) => {
                findings
                    .error(
                        Code::UnknownTemplate,
                        span,
                        format!("no template is called `{}`", display_key(name)),
                    )
                    .maybe_help(
                        did_you_mean(name, settings.templates.keys().map(String::as_str)).or_else(|| {
                            Some(format!("add [templates.{}] to {FILE_NAME}", display_key(name)))
                        }),
                    );
            }
            None => {}
        }
    }
    for (path, span) in fields::words(&own, "unset", findings).unwrap_or_default() {
        if !merge::unset(base.to_mut(), path) && known && settings.is_some() {
            findings.error(Code::UnsetNothing, span, format!("nothing sets `{}`", display_key(path))).help(
                "`unset` removes what defaults or the template set, by its path: \"sync_options.batch_size\"",
            );
        }
    }
    merge::merge_defaults(&mut own, &base);
    (own, known)
}

/// Fields shared by defaults, templates and sources.
struct MergedSource {
    kind: Option<String>,
    scope: Option<Scope>,
    connection_config: SortedMap<crate::model::ConfigValue>,
    metadata: SortedMap<serde_json::Value>,
    protect: bool,
    adopt: Option<crate::model::Adopt>,
    sync: Option<crate::model::SyncSpec>,
    sync_options: serde_json::Map<String, serde_json::Value>,
    suspend: Option<crate::model::Suspend>,
    test: TestSpec,
}

fn body(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> MergedSource {
    let kind = fields::text(table, "type", findings);
    if let Some(("", span)) = kind {
        findings.error(Code::InvalidValue, span, "`type` is empty");
    }
    MergedSource {
        kind: kind.map(|(kind, _)| kind.to_owned()),
        scope: repo_settings::scope(table, findings),
        connection_config: fields::table(table, "connection_config", findings)
            .map(|(config, entry)| values::connection_config(config, entry.node.span, findings))
            .unwrap_or_default(),
        metadata: fields::table(table, "metadata", findings)
            .map(|(metadata, _)| values::metadata(metadata, findings))
            .unwrap_or_default(),
        protect: fields::boolean(table, "protect", findings).unwrap_or(false),
        adopt: fields::choice(table, "adopt", &ADOPT, findings),
        sync: fields::table(table, "sync", findings).and_then(|(sync, _)| sync::sync(sync, findings)),
        sync_options: fields::table(table, "sync_options", findings)
            .map(|(options, _)| values::sync_options(options, findings))
            .unwrap_or_default(),
        suspend: fields::table(table, "suspend", findings)
            .and_then(|(suspend, entry)| sync::suspend(suspend, entry, findings)),
        test: fields::table(table, "test", findings)
            .map(|(test, _)| sync::test(test, findings))
            .unwrap_or_default(),
    }
}
