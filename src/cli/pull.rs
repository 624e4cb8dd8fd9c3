//! `wellspring pull`: writes files that declare sources of the platform.

use super::args::{Common, Format, PullArgs};
use super::context::{AccessMode, CommandContext};
use super::progress::Progress;
use super::{CommandError, Exit, files, init, output};
use crate::config::{Pulled, PulledWorkspace, generate, nearest, path_for, plain_name};
use crate::listing::RelevantRows;
use crate::model::{
    DesiredWorkspace, FingerprintKey, Inventory, ObservedSource, Scope, WorkspaceId, WorkspaceRef,
};
use crate::report::{escape, humanize};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A workspace or source to pull.
struct PullTargets {
    workspace: WorkspaceRef,
    alias: Option<String>,
    /// One source; `None` for all undeclared sources.
    source: Option<String>,
}

struct WrittenFile {
    target: PullTargets,
    path: String,
    pulled: Pulled,
}

pub(super) async fn run(common: &Common, args: &PullArgs) -> Result<Exit, CommandError> {
    let place = CommandContext::open(common, AccessMode::Read).await?;
    if place.reading.has_errors() {
        return Err(CommandError {
            exit: Exit::Invalid,
            message: "the declared sources are unknown while files have errors; fix the errors first"
                .to_owned(),
        });
    }
    let progress = Progress::activity(common, "reading the sources of the platform");
    let ticking = progress.tick();
    let mut written = Vec::new();
    for wanted in resolve_targets(&place, args)? {
        written.extend(pull(&place, wanted, args.force).await?);
    }
    drop(ticking);
    place.close().await;
    print_written(common, &written);
    Ok(Exit::Success)
}

fn resolve_targets(place: &CommandContext, args: &PullArgs) -> Result<Vec<PullTargets>, CommandError> {
    let scope = match &args.scope {
        Some(scope) => Some(Scope::parse(scope).map_err(|error| CommandError::usage(&error.to_string()))?),
        None => None,
    };
    let aliases = &place.reading.aliases;
    let alias_of = |workspace: &WorkspaceRef| {
        let same = aliases.iter().filter(|(_, other)| other.workspace == workspace.workspace);
        same.max_by_key(|(_, other)| other.scope == workspace.scope).map(|(alias, _)| alias.clone())
    };
    if args.what.is_empty() {
        let declared = place.reading.desired.workspaces.iter().map(|workspace| workspace.unit.clone());
        let workspaces: BTreeSet<WorkspaceRef> = declared.chain(aliases.values().cloned()).collect();
        if workspaces.is_empty() {
            return Err(CommandError::usage(
                "no workspace is given here or in the files; use `wellspring pull WORKSPACE`",
            ));
        }
        return Ok(workspaces
            .into_iter()
            .map(|workspace| PullTargets { alias: alias_of(&workspace), workspace, source: None })
            .collect());
    }
    args.what
        .iter()
        .map(|what| {
            let (label, source) = match what.split_once('/') {
                Some((label, source)) => (label, Some(source.to_owned())),
                None => (what.as_str(), None),
            };
            let mut workspace = match aliases.get(label) {
                Some(workspace) => workspace.clone(),
                None => {
                    let id =
                        WorkspaceId::parse(label).map_err(|error| CommandError::usage(&error.to_string()))?;
                    WorkspaceRef { workspace: id, scope: Scope::default() }
                }
            };
            // Use the scope that the files declare if it is the only one, unless another is requested.
            let mut declared =
                place.reading.desired.workspaces.iter().filter(|other| other.names().contains(&label));
            if let (Some(one), None) = (declared.next(), declared.next()) {
                workspace = one.unit.clone();
            }
            if let Some(scope) = &scope {
                workspace.scope = scope.clone();
            }
            let named = if aliases.contains_key(label) { Some(label.to_owned()) } else { None };
            Ok(PullTargets { alias: named.or_else(|| alias_of(&workspace)), workspace, source })
        })
        .collect()
}

/// Pulls one workspace; `None` if there is nothing to write.
async fn pull(
    place: &CommandContext,
    wanted: PullTargets,
    force: bool,
) -> Result<Option<WrittenFile>, CommandError> {
    let declared =
        place.reading.desired.open_workspaces().find(|workspace| workspace.unit == wanted.workspace);
    let listed = place.reader.fetch_listing(&wanted.workspace).await?;
    let inventory = Inventory::default();
    let key = FingerprintKey::new([0; 32]);
    // An account's rows have no names, and are known as declared by their addresses only.
    let relevant = declared.as_ref().filter(|workspace| workspace.workspace().account().is_some());
    let relevant = relevant.map(|workspace| RelevantRows::new(workspace, &inventory, &key).with_all());
    let rows = place.reader.read(&wanted.workspace, &listed, relevant.as_ref())?;
    if rows.is_empty() && declared.is_none() && wanted.alias.is_none() {
        return Err(unknown(place, &wanted));
    }
    let path = path(place, &wanted)?;
    let target = place.settings.root.join(&path);
    let elsewhere = |workspace: &Arc<DesiredWorkspace>| -> Vec<(String, String)> {
        let others = workspace.sources.iter().filter(|source| *source.at.file != *path);
        others.map(|source| (source.name.to_string(), source.key.to_string())).collect()
    };
    let others = declared.as_ref().map(elsewhere).unwrap_or_default();
    let is_wanted = |row: &&ObservedSource| match &wanted.source {
        Some(source) => row.name.as_str() == source,
        None => !others.iter().any(|(name, _)| name == row.name.as_str()),
    };
    let mut chosen: Vec<&ObservedSource> = rows.iter().filter(is_wanted).collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(source) = &wanted.source {
        let failed = |message: String| CommandError { exit: Exit::Failed, message };
        if chosen.is_empty() {
            let near = nearest(source, rows.iter().map(|row| row.name.as_str()));
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            return Err(failed(format!(
                "{} has no source {source:?} on the platform{near}",
                wanted.workspace
            )));
        }
        if others.iter().any(|(name, _)| name == source) {
            return Err(failed(format!("the source {source:?} is declared already")));
        }
    }
    if chosen.is_empty() {
        return Ok(None);
    }
    let replaces = force || init::is_scaffold(&target);
    if !replaces && target.symlink_metadata().is_ok() {
        return Err(CommandError {
            exit: Exit::Failed,
            message: format!("{path} already exists; use --force to overwrite it"),
        });
    }
    let taken = others.into_iter().map(|(_, key)| key).collect();
    let alias =
        wanted.alias.as_deref().and_then(|alias| Some((alias, &place.reading.aliases.get(alias)?.scope)));
    let pulled = generate(&PulledWorkspace { workspace: &wanted.workspace, alias }, &chosen, &taken);
    if replaces {
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        files::replace(&target, &pulled.text)?;
    } else {
        files::create(&target, &pulled.text)?;
    }
    Ok(Some(WrittenFile { target: wanted, path, pulled }))
}

/// Returns the error for a workspace without sources that no file names either.
fn unknown(place: &CommandContext, wanted: &PullTargets) -> CommandError {
    let name = wanted.workspace.workspace.as_str();
    let declared = place.reading.desired.workspaces.iter().flat_map(|workspace| workspace.names());
    let known = declared.chain(place.reading.aliases.keys().map(String::as_str));
    let hint = nearest(name, known).map_or_else(
        || "check the id, and the scope (--scope)".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    CommandError::usage(&format!(
        "no workspace is called `{name}`: no file names it, and the platform lists no sources for it; {hint}"
    ))
}

/// Returns the path for the file: WORKSPACE[-SCOPE][.SOURCE].toml.
///
/// Consists of safe names and matches the patterns of `files`.
fn path(place: &CommandContext, wanted: &PullTargets) -> Result<String, CommandError> {
    let label = wanted.alias.as_deref().unwrap_or(wanted.workspace.workspace.as_str());
    let mut name = plain_name(label).unwrap_or_else(|| "workspace".to_owned());
    if wanted.alias.is_none() && wanted.workspace.scope != Scope::default() {
        name.push_str(&format!("-{}", plain_name(wanted.workspace.scope.as_str()).unwrap_or_default()));
    }
    if let Some(source) = &wanted.source {
        name.push_str(&format!(".{}", plain_name(source).unwrap_or_else(|| "source".to_owned())));
    }
    let patterns = place.reading.patterns.as_deref();
    path_for(patterns, &name).ok_or_else(|| CommandError {
        exit: Exit::Invalid,
        message: format!(
            "the patterns of `files` in wellspring.toml match no new file for {label}; add one, such as \
             \"workspaces/*.toml\""
        ),
    })
}

fn print_written(common: &Common, written: &[WrittenFile]) {
    if common.format == Format::Json {
        let files: Vec<_> = written
            .iter()
            .map(|written| {
                json!({
                    "file": written.path,
                    "workspace_id": written.target.workspace.workspace.display_text(),
                    "scope": written.target.workspace.scope,
                    "sources": written.pulled.sources,
                    "unreadable": written.pulled.unreadable,
                    "variables": written.pulled.variables,
                })
            })
            .collect();
        return output::write_json(&json!({ "format_version": 1, "files": files }));
    }
    if written.is_empty() {
        output::print("Nothing to pull: every source of the platform is declared.");
    }
    for WrittenFile { path, pulled, .. } in written {
        output::print(&format!("wrote  {path}: {}", humanize::count(pulled.sources.len(), "source")));
        for what in &pulled.unreadable {
            output::print(&format!("  not readable: {}", escape::terminal(what)));
        }
        for variable in &pulled.variables {
            output::print(&format!("  set this environment variable: {variable}"));
        }
    }
}
