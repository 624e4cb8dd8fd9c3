//! Everything that a run needs: a project, a state directory and a platform.

use super::{Finished, Platform, Running, Semantics, Tree, Wellspring};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Settings that prune without limit and without settle time.
const SETTINGS: &str = "\
[platform]
settle = \"0s\"

[policy]
prune = \"owned\"
max_cleanup = \"100%\"
";

/// Files and state for the scriptable platform.
pub struct Scene {
    pub tree: Tree,
    pub state: Tree,
    pub platform: Platform,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Semantics::default())
    }

    pub fn with(semantics: Semantics) -> Self {
        let tree = Tree::with(&[("wellspring.toml", SETTINGS)]);
        Self { tree, state: Tree::new(), platform: Platform::with(semantics) }
    }

    /// Declares these sources, each a key and a host, in `workspaces/WORKSPACE.toml`.
    pub fn declare(&self, workspace: &str, sources: &[(&str, &str)]) {
        self.tree.write(&format!("workspaces/{workspace}.toml"), &workspace_file(workspace, sources));
    }

    /// Returns the program with this scene's files, state and platform.
    pub fn command(&self, args: &[&str]) -> Wellspring {
        self.here(Wellspring::new(), args)
    }

    /// Like [`Scene::command`], for a program that is started in a special way.
    pub fn here(&self, program: Wellspring, args: &[&str]) -> Wellspring {
        program
            .args(args)
            .arg("-C")
            .arg(self.tree.path())
            .arg("--state-dir")
            .arg(self.state.path())
            .platform(&self.platform)
    }

    /// Runs to the end.
    #[track_caller]
    pub fn wellspring(&self, args: &[&str]) -> Finished {
        self.command(args).run()
    }

    /// Runs `apply --yes`, which must succeed completely.
    #[track_caller]
    pub fn apply(&self) -> Finished {
        let finished = self.wellspring(&["apply", "--yes"]);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        finished
    }

    /// Starts the daemon with an hourly check for drift.
    ///
    /// Earlier passes must have been caused by other events.
    pub fn daemon(&self) -> Running {
        self.command(&["run", "--interval", "1h"]).spawn()
    }

    /// Returns names and hosts of the workspace on the platform, sorted.
    ///
    /// Duplicates are included.
    pub fn hosts(&self, workspace: &str) -> Vec<(String, String)> {
        let host = |config: &Value| config["host"].as_str().unwrap_or_default().to_owned();
        let rows = self.platform.rows(workspace, "user");
        let mut hosts: Vec<_> =
            rows.iter().map(|row| (row.name.clone(), host(&row.connection_config))).collect();
        hosts.sort();
        hosts
    }

    /// Returns true if the workspace contains exactly these sources.
    pub fn holds(&self, workspace: &str, sources: &[(&str, &str)]) -> bool {
        let mut wanted: Vec<_> = sources.iter().map(|(k, h)| ((*k).to_owned(), (*h).to_owned())).collect();
        wanted.sort();
        self.hosts(workspace) == wanted
    }

    /// Connects an unmanaged source.
    pub fn someone_adds(&self, workspace: &str, name: &str) -> u64 {
        self.platform.add(workspace, "user", name, "database", json!({ "host": "theirs.example.com" }))
    }
}

/// Returns a file that declares these sources in one workspace.
pub fn workspace_file(workspace: &str, sources: &[(&str, &str)]) -> String {
    let mut text = format!("[workspace]\nid = \"{workspace}\"\n");
    if sources.is_empty() {
        text = format!("sources = {{}}\n\n{text}");
    }
    for (key, host) in sources {
        write!(
            text,
            "\n[sources.{key}]\ntype = \"database\"\n\n[sources.{key}.connection_config]\nhost = \"{host}\"\n"
        )
        .unwrap();
    }
    text
}

/// Returns every file below a directory with its bytes, by path.
pub fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                files.insert(name, std::fs::read(&path).unwrap_or_default());
            }
        }
    }
    files
}
