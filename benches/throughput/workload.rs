//! The workload: files that each declare a workspace with a number of sources.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Value of every secret.
pub(crate) const PASSWORD: &str = "hunter2-of-the-benchmark";

/// Variable with this value.
pub(crate) const VARIABLE: &str = "BENCH_PASSWORD";

/// Number of workspaces, and of sources in each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) workspaces: usize,
    pub(crate) sources: usize,
}

impl Shape {
    pub(crate) fn total(self) -> usize {
        self.workspaces * self.sources
    }

    pub(crate) fn ids(self) -> impl Iterator<Item = String> {
        (0..self.workspaces).map(workspace)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} workspaces × {} sources", self.workspaces, self.sources)
    }
}

/// Returns the id of the `n`th workspace.
pub(crate) fn workspace(n: usize) -> String {
    format!("ws_{n:05}")
}

/// Returns the file of the `n`th workspace, below the project root.
pub(crate) fn file(n: usize) -> String {
    format!("{}.toml", workspace(n))
}

/// Writes the project; `url` is the platform's.
pub(crate) fn write(root: &Path, shape: Shape, url: &str) {
    fs::create_dir_all(root).unwrap();
    fs::write(root.join("wellspring.toml"), settings(url)).unwrap();
    for n in 0..shape.workspaces {
        fs::write(root.join(file(n)), text(n, 0..shape.sources, 5432)).unwrap();
    }
}

/// Returns the text of `wellspring.toml`, which ends within `[defaults]`.
pub(crate) fn settings(url: &str) -> String {
    format!(
        "[platform]\nurl = \"{url}\"\nowner = \"bench\"\n\n[policy]\nprune = \"owned\"\nmax_cleanup = \"100%\"\n\n\
         [defaults]\ntest = {{ before_connect = false }}\n"
    )
}

/// Returns the text of the `n`th workspace's file.
pub(crate) fn text(n: usize, sources: impl Iterator<Item = usize>, port: u16) -> String {
    let mut text = format!("[workspace]\nid = \"{}\"\n", workspace(n));
    for n in sources {
        write!(
            text,
            "\n[sources.orders_{n}]\ntype = \"database\"\nmetadata = {{ description = \"Orders replica {n}\", \
             owner = \"sales-data\" }}\n\n[sources.orders_{n}.connection_config]\n\
             host = \"orders-{n}.db.example.com\"\nport = {port}\ndatabase = \"orders\"\nusername = \"reader\"\n\
             password = \"${{{VARIABLE}}}\"\n"
        )
        .unwrap();
    }
    text
}

/// Returns the body of a connect request for a whole workspace.
pub(crate) fn connect_body(sources: usize) -> String {
    let mut body = "{\"scope\":\"user\",\"sources\":[".to_owned();
    for n in 0..sources {
        write!(
            body,
            "{}{{\"type\":\"database\",\"name\":\"orders_{n}\",\"connection_config\":{{\
             \"host\":\"orders-{n}.db.example.com\",\"port\":5432,\"database\":\"orders\",\"username\":\"reader\",\
             \"password\":\"{PASSWORD}\"}},\"metadata\":{{\"description\":\"Orders replica {n}\",\
             \"owner\":\"sales-data\"}}}}",
            if n == 0 { "" } else { "," }
        )
        .unwrap();
    }
    body.push_str("]}");
    body
}
