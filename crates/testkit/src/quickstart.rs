//! A copy of `examples/quickstart` and its local platform.

use super::{Finished, Tree, Wellspring, files_below, until};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A copy that is deleted after the test, with its state and storage.
pub struct Quickstart {
    pub tree: Tree,
}

impl Quickstart {
    pub fn copy() -> Self {
        Self::of("quickstart")
    }

    /// Copies another example.
    pub fn of(example: &str) -> Self {
        let original = crate::repository().join("examples").join(example);
        let tree = Tree::new();
        for (path, bytes) in files_below(&original) {
            if !path.starts_with(".wellspring") {
                let target = tree.join(&path);
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::write(target, bytes).unwrap();
            }
        }
        Self { tree }
    }

    /// Returns the program with this copy as its project.
    pub fn command(&self, args: &[&str]) -> Wellspring {
        Wellspring::new().args(args).arg("-C").arg(self.tree.path())
    }

    #[track_caller]
    pub fn wellspring(&self, args: &[&str]) -> Finished {
        self.command(args).run()
    }

    /// Runs successfully and returns the JSON output.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let finished = self.command(args).args(["--format", "json"]).run();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// Returns the storage directory of the local platform.
    pub fn storage(&self) -> PathBuf {
        self.tree.join(".wellspring/platform")
    }

    /// Replaces a part of a file, which must exist.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.tree.read(path);
        assert!(text.contains(from), "no {from:?} in {path}");
        self.tree.write(path, &text.replace(from, to));
    }

    /// Returns a client of the local platform of a run in progress, once it responds.
    #[track_caller]
    pub fn local(&self) -> Local {
        let path = self.storage().join("address.json");
        until("the local platform says where it is", || path.exists());
        let published: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |key: &str| published[key].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Local { url: text("url"), token: text("token"), client: reqwest::Client::new(), runtime }
    }
}

/// An independent client of the local platform.
pub struct Local {
    url: String,
    token: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Local {
    pub fn list(&self, workspace: &str) -> Vec<Value> {
        let path = format!("{workspace}/list?scope=user");
        self.answer(self.client.get(self.at(&path)))["data"].as_array().unwrap().clone()
    }

    /// Returns the names in [`Local::list`], sorted.
    pub fn names(&self, workspace: &str) -> Vec<String> {
        let rows = self.list(workspace);
        let mut names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Returns the row of that name, null if there is none.
    pub fn row(&self, workspace: &str, name: &str) -> Value {
        self.list(workspace).into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    pub fn connect(&self, workspace: &str, source: &Value) {
        let body = json!({ "scope": "user", "sources": [source] });
        self.answer(self.client.post(self.at(&format!("{workspace}/connect"))).json(&body));
    }

    pub fn remove(&self, workspace: &str, name: &str) {
        let body = json!({ "scope": "user", "source_ids": [self.row(workspace, name)["id"]] });
        self.answer(self.client.post(self.at(&format!("{workspace}/cleanup"))).json(&body));
    }

    fn at(&self, path: &str) -> String {
        format!("{}/api/v1/data/{path}", self.url)
    }

    fn answer(&self, call: reqwest::RequestBuilder) -> Value {
        let answer: Value = self
            .runtime
            .block_on(async { call.bearer_auth(&self.token).send().await.unwrap().json().await.unwrap() });
        assert_eq!(answer["status"], "success", "{answer}");
        answer
    }
}
