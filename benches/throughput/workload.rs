//! What is measured with: so many files, each a workspace of so many sources.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What stands for every secret of the workload.
pub(crate) const PASSWORD: &str = "hunter2-of-the-benchmark";

/// The variable that holds it.
pub(crate) const VARIABLE: &str = "BENCH_PASSWORD";

/// So many workspaces of so many sources each.
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

/// The id of the `n`th workspace.
pub(crate) fn workspace(n: usize) -> String {
    format!("ws_{n:05}")
}

/// The file of the `n`th workspace, below the tree's root.
pub(crate) fn file(n: usize) -> String {
    format!("{}.toml", workspace(n))
}

/// Writes the tree; `url` is the platform's.
pub(crate) fn write(root: &Path, shape: Shape, url: &str) {
    fs::create_dir_all(root).unwrap();
    fs::write(root.join("wellspring.toml"), settings(url)).unwrap();
    for n in 0..shape.workspaces {
        fs::write(root.join(file(n)), text(n, 0..shape.sources, 5432)).unwrap();
    }
}

/// The text of the tree's `wellspring.toml`; it ends within `[defaults]`.
pub(crate) fn settings(url: &str) -> String {
    format!(
        "[platform]\nurl = \"{url}\"\nowner = \"bench\"\n\n[policy]\nprune = \"owned\"\nmax_cleanup = \"100%\"\n\n\
         [defaults]\ntest = {{ before_connect = false }}\n"
    )
}

/// The text of the `n`th workspace's file.
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

/// The body of a connect call of a whole workspace, as someone would write it by hand.
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
