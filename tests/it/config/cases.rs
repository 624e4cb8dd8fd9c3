//! Golden tests of projects; `UPDATE=1` rewrites the expectations.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wellspring::config::{EffectiveValue, ParsedTree, SourceFile, effective, read, render};

/// Returns the variables that are set in every case.
pub(super) fn variable(name: &str) -> Option<String> {
    match name {
        "PLATFORM_HOST" => Some("platform.example.com".to_owned()),
        "FINANCE_WORKSPACE_ID" => Some("ws_fin".to_owned()),
        _ => None,
    }
}

/// Returns the case's files, sorted.
pub(super) fn tree(case: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![case.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let name = path.strip_prefix(case).unwrap().to_str().unwrap().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

pub(super) fn sources(files: &[(String, String)]) -> Vec<SourceFile<'_>> {
    files.iter().map(|(path, text)| SourceFile { path: Arc::from(path.as_str()), text: Ok(text) }).collect()
}

/// Formats a load completely and in a stable order.
pub(super) fn show(reading: &ParsedTree, files: &[SourceFile<'_>]) -> String {
    let mut out = render(&reading.diagnostics, files, false);
    for broken in &reading.desired.broken {
        let workspaces = match &broken.workspaces {
            Some(workspaces) => workspaces.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            None => "unknown".to_owned(),
        };
        writeln!(out, "broken {}: {workspaces}", broken.file).unwrap();
    }
    if let Some(platform) = &reading.desired.platform {
        writeln!(out, "platform {platform:?}").unwrap();
    }
    if let Some(owner) = &reading.desired.owner {
        writeln!(out, "owner {owner}").unwrap();
    }
    if let Some(settle) = reading.setup.settle {
        writeln!(out, "settle {settle:?}").unwrap();
    }
    for workspace in reading.desired.open_workspaces() {
        for source in &workspace.sources {
            let values = effective(files, source).unwrap();
            writeln!(out, "{}/{}", workspace.label(), source.key).unwrap();
            for EffectiveValue { path, value, from, .. } in values {
                writeln!(out, "    {path} = {value}  # {from}").unwrap();
            }
        }
    }
    for workspace in reading.desired.open_workspaces() {
        writeln!(out, "{}", serde_json::to_string_pretty(&*workspace).unwrap()).unwrap();
    }
    out
}

fn check(case: &Path) -> Result<(), String> {
    let files = tree(case);
    let files = sources(&files);
    let reading = read(&files, &variable);
    let found = show(&reading, &files);
    for diagnostic in &reading.diagnostics {
        assert!(!diagnostic.message.is_empty());
        assert!(diagnostic.line > 0 && diagnostic.column > 0);
    }
    wellspring_testkit::check_golden(&case.join("expected.txt"), &found)
}

pub(super) fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_reads_as_expected() {
    let failures: Vec<String> = all().iter().filter_map(|case| check(case).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
