//! Shell completion of declared workspaces and sources.

use crate::config::Lookup;
use crate::load::LoadedConfig;
use crate::secrets::is_workspace_variable;
use crate::tree;
use clap_complete::CompletionCandidate;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Completes workspaces, and after a slash the sources of one.
pub(super) fn targets(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let names = match current.split_once('/') {
        None => workspaces(),
        Some((workspace, _)) => sources(workspace),
    };
    let matching = names.into_iter().filter(|name| name.starts_with(&*current));
    matching.map(CompletionCandidate::new).collect()
}

/// Completes workspaces, for `-w`.
pub(super) fn workspace(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let matching = workspaces().into_iter().filter(|name| name.starts_with(&*current));
    matching.map(CompletionCandidate::new).collect()
}

fn workspaces() -> Vec<String> {
    let declared = |reading: LoadedConfig| {
        reading.desired.workspaces.iter().map(|workspace| workspace.label().to_owned()).collect()
    };
    read().map(declared).unwrap_or_default()
}

fn sources(workspace: &str) -> Vec<String> {
    let Some(reading) = read() else { return Vec::new() };
    let workspaces = reading.desired.open_workspaces().filter(|desired| desired.names().contains(&workspace));
    workspaces
        .flat_map(|desired| {
            desired.sources.iter().map(|source| format!("{workspace}/{}", source.key)).collect::<Vec<_>>()
        })
        .collect()
}

/// Loads the project of -C or of the current directory.
fn read() -> Option<LoadedConfig> {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != "-C" && argument != "--dir");
    let root = match arguments.nth(1) {
        Some(dir) => PathBuf::from(dir),
        None => tree::find_root(".".as_ref())?,
    };
    let variable = |name: &str| {
        if is_workspace_variable(name) { std::env::var(name).ok().into() } else { Lookup::Refused }
    };
    LoadedConfig::load(&root, &variable).ok()
}
