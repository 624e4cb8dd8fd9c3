//! Assembles workspaces from one or several files.

use super::addresses;
use super::diagnostic::{Code, display_key};
use super::document::Span;
use super::policy::PartialPolicy;
use super::repo_settings::{AliasId, RepoSettings};
use super::sink::DiagnosticSink;
use super::workspace::FileContents;
use crate::model::{DesiredSource, DesiredWorkspace, Moved, Policy, Scope, WorkspaceRef};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The files that contribute to each workspace.
pub(super) type ByWorkspace<'r> = BTreeMap<WorkspaceRef, Vec<&'r FileContents>>;

/// Reports conflicts between files.
///
/// `complete` if the workspaces of every file are known.
pub(super) fn check(by_workspace: &ByWorkspace<'_>, complete: bool, findings: &mut DiagnosticSink<'_, '_>) {
    for (workspace, files) in by_workspace {
        policy(workspace, files, findings);
        check_sources(workspace, files, findings);
        // If the workspaces of a file are unknown, it may contain the sources that seem missing.
        check_moves(workspace, files, complete, findings);
    }
}

/// Assembles the workspaces from files without errors.
pub(super) fn assemble(
    by_workspace: &ByWorkspace<'_>,
    settings: &RepoSettings<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Vec<Arc<DesiredWorkspace>> {
    let repository = settings.policy.or_defaults(&Policy::default());
    let workspace = |(workspace, files): (&WorkspaceRef, &Vec<&FileContents>)| {
        let mut sources: Vec<DesiredSource> = Vec::new();
        let mut moved: Vec<Moved> = Vec::new();
        let mut removed = Vec::new();
        let mut paths: Vec<Arc<str>> = Vec::new();
        for file in files {
            moved.extend(file.moved.iter().map(|(moved, _)| moved.clone()));
            removed.extend(file.removed.iter().map(|(removed, _)| removed.clone()));
            sources.extend(file.sources_of(workspace).filter_map(|source| source.desired.clone()));
            paths.push(Arc::clone(&findings.documents[file.document as usize].path));
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        // A source's own scope may have put it into another workspace.
        moved.retain(|moved| sources.iter().any(|source| source.key == moved.to));
        let policy = policy(workspace, files, findings).or_defaults(&repository);
        let alias = alias(workspace, settings);
        Arc::new(DesiredWorkspace {
            alias,
            policy,
            sources,
            moved,
            removed,
            files: paths,
            unit: workspace.clone(),
        })
    };
    by_workspace.iter().map(workspace).collect()
}

/// Assembles a workspace from the only file that contributes to it; takes its sources.
///
/// Returns `None`, and takes nothing, if the file has errors or entries that depend on other files.
pub(super) fn assemble_single(
    workspace: &WorkspaceRef,
    file: &mut FileContents,
    settings: &RepoSettings<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Arc<DesiredWorkspace>> {
    if !file.moved.is_empty() || !file.removed.is_empty() || findings.count() > 0 {
        return None;
    }
    check_sources(workspace, &[file], findings);
    if findings.count() > 0 {
        return None;
    }
    let mut sources: Vec<DesiredSource> =
        std::mem::take(&mut file.sources).into_iter().filter_map(|source| source.desired).collect();
    // The capacity was for larger elements.
    sources.shrink_to_fit();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let policy = file.policy.or_defaults(&settings.policy.or_defaults(&Policy::default()));
    let files = vec![Arc::clone(&findings.documents[file.document as usize].path)];
    let (alias, workspace) = (alias(workspace, settings), workspace.clone());
    let (moved, removed) = (Vec::new(), Vec::new());
    Some(Arc::new(DesiredWorkspace { alias, policy, sources, moved, removed, files, unit: workspace }))
}

/// Merges the policy settings of the files.
fn policy(
    workspace: &WorkspaceRef,
    files: &[&FileContents],
    findings: &mut DiagnosticSink<'_, '_>,
) -> PartialPolicy {
    let mut policy = PartialPolicy::default();
    for file in files {
        policy.merge(&file.policy, &display_key(&workspace.to_string()), findings);
    }
    policy
}

fn check_sources(workspace: &WorkspaceRef, files: &[&FileContents], findings: &mut DiagnosticSink<'_, '_>) {
    addresses::check_addresses(files, workspace, findings);
    // Keys within one file are unique, and so are names in ascending order.
    if let [file] = files
        && file.sources_of(workspace).is_sorted_by(|a, b| a.name < b.name)
    {
        return;
    }
    let mut keys: HashMap<&str, Span> = HashMap::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    for file in files {
        for source in file.sources_of(workspace) {
            if let Some(other) = keys.insert(source.key.as_str(), source.key_span) {
                let what = format!("source `{}`", display_key(source.key.as_str()));
                report_duplicate(Code::DuplicateKey, &what, workspace, [other, source.key_span], findings);
            } else if let Some(other) = names.insert(source.name.as_str(), source.name_span) {
                let what = format!("the name `{}`", display_key(source.name.as_str()));
                report_duplicate(Code::DuplicateName, &what, workspace, [other, source.name_span], findings);
            }
        }
    }
}

/// Reports once, at the later of both places. Which of the two is meant is not known, so both files are
/// broken.
fn report_duplicate(
    code: Code,
    what: &str,
    workspace: &WorkspaceRef,
    places: [Span; 2],
    findings: &mut DiagnosticSink<'_, '_>,
) {
    // The sources of a file come in the order of their keys.
    let (first, second) = (places[0].min(places[1]), places[0].max(places[1]));
    findings
        .error(code, second, format!("{what} is declared twice in {}", display_key(&workspace.to_string())))
        .with_label(first, "declared here first")
        .help("rename or remove one of them");
    findings.mark_broken(first);
}

fn check_moves(
    workspace: &WorkspaceRef,
    files: &[&FileContents],
    complete: bool,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    if files.iter().all(|file| file.moved.is_empty() && file.removed.is_empty()) {
        return;
    }
    let declared: HashMap<&str, Span> = files
        .iter()
        .flat_map(|file| file.sources_of(workspace))
        .map(|source| (source.key.as_str(), source.key_span))
        .collect();
    for file in files {
        for (removed, span) in &file.removed {
            if let Some(source) = declared.get(removed.key.as_str()) {
                let key = display_key(removed.key.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("`{key}` is removed here, and declared as well"),
                    )
                    .with_label(*source, "declared here")
                    .help("keep one of the two");
            }
        }
        for (moved, span) in &file.moved {
            // `key = "key"` means that the source under this key has another name now.
            let stays = moved.from == moved.to;
            if !stays && let Some(source) = declared.get(moved.from.as_str()) {
                let from = display_key(moved.from.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("`{from}` has moved away, but is still declared"),
                    )
                    .with_label(*source, "declared here")
                    .help("remove the source that has moved, or the line in [moved]");
            }
            let known = file.sources.iter().any(|source| source.key == moved.to);
            if complete && !known && !declared.contains_key(moved.to.as_str()) {
                let to = display_key(moved.to.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("nothing is declared as `{to}`, where this moves to"),
                    )
                    .help("in [moved], write old = \"new\"; the new key must be in [sources]");
            }
        }
    }
}

/// Returns the alias with exactly this scope, else one of the same workspace.
fn alias(workspace: &WorkspaceRef, settings: &RepoSettings<'_>) -> Option<String> {
    let mut found = None;
    for (name, alias) in &settings.aliases {
        if matches!(&alias.id, AliasId::Known(id) if *id == workspace.workspace) {
            if alias.scope.clone().unwrap_or_else(Scope::default) == workspace.scope {
                return Some(name.clone());
            }
            found = found.or(Some(name.clone()));
        }
    }
    found
}
