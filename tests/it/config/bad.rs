//! Tests of some three hundred files with one bad line, which alone is reported.

use super::cases::{sources, variable};
use wellspring::config::{read, render};

/// Places of the bad line, each with its surroundings.
const FRAMES: [(&str, &str); 6] = [
    (
        "source",
        "[workspace]\nid = \"w\"\n\n[sources.a]\ntype = \"t\"\n@\n\n[sources.a.connection_config]\nhost = \"h\"\n",
    ),
    (
        "connection",
        "[workspace]\nid = \"w\"\n\n[sources.a]\ntype = \"t\"\n\n[sources.a.connection_config]\nhost = \"h\"\n@\n",
    ),
    ("sync", "[workspace]\nid = \"w\"\n\n[sources.a]\ntype = \"t\"\nsync = { @ }\nconnection_config = {}\n"),
    ("workspace", "[workspace]\nid = \"w\"\n@\n\n[sources.a]\ntype = \"t\"\nconnection_config = {}\n"),
    ("top", "@\n\n[workspace]\nid = \"w\"\n\n[sources.a]\ntype = \"t\"\nconnection_config = {}\n"),
    ("settings", "# What holds for all.\n\n@\n"),
];

/// Returns the bad files: place, code and bad line.
fn bad() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut frame = "";
    let mut bad = Vec::new();
    for line in include_str!("bad.txt").lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("== ") {
            Some(name) => frame = name,
            None => {
                let (code, text) = line.split_once(' ').unwrap();
                bad.push((frame, code, text));
            }
        }
    }
    bad
}

#[test]
fn each_of_some_three_hundred_bad_files_is_told_by_its_line() {
    let mut wrong = Vec::new();
    let bad = bad();
    for (frame, code, text) in &bad {
        let around = FRAMES.iter().find(|(name, _)| name == frame).unwrap().1;
        let line = 1 + around.lines().position(|line| line.contains('@')).unwrap();
        let name = if *frame == "settings" { "wellspring.toml" } else { "a.toml" };
        let files = [(name.to_owned(), around.replace('@', text))];
        let sources = sources(&files);
        let reading = read(&sources, &variable);
        let found: Vec<_> = reading.diagnostics.iter().map(|d| (d.code.as_str(), d.line as usize)).collect();
        let shown = render(&reading.diagnostics, &sources, false);
        let declares = reading.desired.workspaces.iter().any(|workspace| workspace.count > 0);
        if declares || found.is_empty() || found.iter().any(|found| *found != (*code, line)) {
            wrong.push(format!("{frame}: {code} {text}\n{found:?}, expected line {line}\n{shown}"));
        }
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
    }
    assert!(bad.len() >= 200, "{}", bad.len());
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), bad.len(), wrong.join("\n"));
}
