//! Installed clients, and a platform for them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::platform::harness::{Served, TOKEN};

/// Exit code of the script for a package index that cannot be reached.
const UNREACHABLE: i32 = 75;

/// Path of the account in URLs.
pub(crate) const ACCOUNT: &str = "/jarvispy/acme/ana";

/// A platform with a data directory, and a home directory for clients.
pub(crate) struct Place {
    served: Served,
    clients: &'static Path,
    directory: TempDir,
}

/// Returns the folder with the clients; `None` if they cannot be installed here.
fn clients() -> Option<&'static Path> {
    static CLIENTS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients.py");
        let done = Command::new("python3").arg(script).output().unwrap();
        if done.status.code() == Some(UNREACHABLE) && std::env::var_os("WELLSPRING_REQUIRE_CLIENTS").is_none()
        {
            return None;
        }
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Some(PathBuf::from(String::from_utf8(done.stdout).unwrap().trim()))
    };
    let clients = CLIENTS.get_or_init(install).as_deref();
    if clients.is_none() {
        // Unlike that of the macros, this output is shown for tests that pass.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the package index cannot be reached; no client is installed"
        );
    }
    clients
}

impl Place {
    /// Starts a platform with these options; `None` without clients.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let clients = clients()?;
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        let served = Served::start(
            &directory.path().join("data"),
            &directory.path().join("state"),
            options,
            &[("NO_PROXY", "*")],
        );
        Some(Self { served, clients, directory })
    }

    pub(crate) fn base(&self) -> &str {
        &self.served.base
    }

    /// Writes a file of the data directory.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.data(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn sqlite(&self, name: &str, sql: &str) {
        rusqlite::Connection::open(self.data(name)).unwrap().execute_batch(sql).unwrap();
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Returns a command of the clients in an environment that contains nothing else.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.clients.join("bin").join(program));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("PROMETHEUX_HOME", self.home())
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.home());
        command
    }

    /// Runs a script of `tests/clients` with this input, and returns its output.
    pub(crate) fn script(&self, name: &str, variables: &[(&str, &str)], input: &Value) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let mut command = self.command("python");
        command.arg(script).envs(variables.iter().copied());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Returns the SDK of this release, with the right token, on the account of the tests.
    pub(crate) fn sdk(&self, release: &str) -> Sdk<'_> {
        let old = self.clients.join("old").join(release);
        let path = if old.exists() { old } else { PathBuf::new() };
        Sdk {
            place: self,
            path: path.into_os_string().into_string().unwrap(),
            account: ACCOUNT,
            token: TOKEN,
        }
    }
}

/// A release of the SDK.
pub(crate) struct Sdk<'p> {
    place: &'p Place,
    /// Folder of an older release; empty for the newest.
    path: String,
    pub(crate) account: &'static str,
    pub(crate) token: &'static str,
}

impl Sdk<'_> {
    /// Calls a function and returns its outcome: `returned` or `raised`.
    pub(crate) fn outcome(&self, function: &str, arguments: Value) -> Value {
        let url = format!("{}{}", self.place.base(), self.account);
        let call = Value::from(vec![function.into(), arguments]);
        let input = json!({ "url": url, "token": self.token, "calls": [call] });
        self.place.script("sdk.py", &[("PYTHONPATH", &self.path)], &input)[0].take()
    }

    /// Calls a function that returns.
    #[track_caller]
    pub(crate) fn call(&self, function: &str, arguments: Value) -> Value {
        let mut outcome = self.outcome(function, arguments);
        assert!(outcome["raised"].is_null(), "{function}: {outcome}");
        outcome["returned"].take()
    }

    /// Calls a function that raises, and returns the message.
    #[track_caller]
    pub(crate) fn failure(&self, function: &str, arguments: Value) -> String {
        let outcome = self.outcome(function, arguments);
        outcome["raised"].as_str().unwrap_or_else(|| panic!("{function}: {outcome}")).to_owned()
    }

    /// Connects a database and returns the answer.
    #[track_caller]
    pub(crate) fn connect(&self, database: Value) -> Value {
        let payload = serde_json::Map::from_iter([("database_payload".to_owned(), database)]);
        self.call("connect_sources", payload.into())
    }

    /// Returns the listed rows.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        self.call("list_sources", json!({})).as_array().unwrap().clone()
    }
}

/// Returns a text field of each row.
pub(crate) fn field(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
}
