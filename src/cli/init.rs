//! `wellspring init`: creates a new project.

use super::args::{Common, Format};
use super::{CommandError, Exit, files, output};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Files to write, by path below the directory.
const FILES: [(&str, &str); 4] = [
    ("wellspring.toml", include_str!("init/wellspring.toml")),
    ("workspaces/example.toml", include_str!("init/example.toml")),
    ("schema/settings.schema.json", crate::config::SETTINGS_SCHEMA),
    ("schema/workspace.schema.json", crate::config::WORKSPACE_SCHEMA),
];

const EXAMPLE_MARK: &str = "# Remove this line";

/// Entry of `.gitignore`, because the state belongs to this host.
const IGNORED: &str = ".wellspring/";

pub(super) fn run(common: &Common, into: Option<PathBuf>) -> Result<Exit, CommandError> {
    let dir = into.or_else(|| common.flags().dir).unwrap_or_else(|| ".".into());
    if let Some((path, _)) = FILES.iter().find(|(path, _)| dir.join(path).symlink_metadata().is_ok()) {
        return Err(CommandError {
            exit: Exit::Failed,
            message: format!("{} already exists; nothing was written", dir.join(path).display()),
        });
    }
    let mut written = Vec::new();
    for (path, text) in FILES {
        files::create(&dir.join(path), text)?;
        written.push(path);
    }
    if ignore(&dir)? {
        written.push(".gitignore");
    }
    if common.format == Format::Json {
        output::write_json(&json!({ "format_version": 1, "written": written }));
    } else {
        for path in written {
            output::print(&format!("wrote  {}", dir.join(path).display()));
        }
        output::print(
            "\nNext: set the platform's URL and the workspace's id in wellspring.toml, then run `wellspring pull` or\ndeclare sources in workspaces/example.toml, and run `wellspring plan`.",
        );
    }
    Ok(Exit::Success)
}

/// Returns true if the file is still the example that `init` wrote.
///
/// The workspace in it may have been edited; an example declares no sources.
pub(super) fn is_scaffold(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_part = |line: &str| {
        line == "sources = {}"
            || line == "[workspace]"
            || ["use =", "id =", "scope ="].iter().any(|key| line.starts_with(key))
    };
    text.contains(EXAMPLE_MARK) && lines.all(is_part)
}

/// Adds the state directory to `.gitignore`; returns false if it is there already.
fn ignore(dir: &Path) -> Result<bool, CommandError> {
    let path = dir.join(".gitignore");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return files::create(&path, &format!("{IGNORED}\n")).map(|()| true);
    };
    if text.lines().any(|line| line.trim() == IGNORED) {
        return Ok(false);
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    files::replace(&path, &format!("{text}{gap}{IGNORED}\n")).map(|()| true)
}
