//! Tests of logs in the journal's protocol, over a real socket.
//!
//! The path of the socket belongs to the host, so the program runs in its own mount namespace.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;
use wellspring_testkit::{Datagrams, Fault, Running, Scene, Wellspring, until};

const A: (&str, &str) = ("alpha", "a.example.com");

/// A replacement for `/run`, with the journal's socket in it.
struct Run {
    dir: tempfile::TempDir,
    journal: Datagrams,
}

impl Run {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("systemd/journal")).unwrap();
        let journal = Datagrams::at(&dir.path().join("systemd/journal/socket"));
        Self { dir, journal }
    }

    /// Starts the program with this as `/run`.
    ///
    /// The shell evaluates `stream` for `JOURNAL_STREAM`.
    fn spawn(&self, command: Wellspring, stream: &str) -> Running {
        let script = format!(
            "mount --bind \"$1\" /run && shift && JOURNAL_STREAM={stream} && export JOURNAL_STREAM && exec \"$@\""
        );
        let dir = self.dir.path().as_os_str();
        let unshare = ["--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(OsStr::new);
        command.by_way_of("unshare", unshare.into_iter().chain([dir])).spawn()
    }
}

/// Shell expression for device and inode of stderr, the format of `JOURNAL_STREAM`.
const STDERR: &str = "$(stat --dereference --format=%d:%i /proc/self/fd/2)";

/// Parses an entry: fields are `NAME=value`, or name, length and that many bytes.
fn fields(entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(rest[..end].to_vec()).unwrap();
        rest = &rest[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let (length, text) = rest.split_at(8);
                let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
                rest = &text[length + 1..];
                (line, String::from_utf8(text[..length].to_vec()).unwrap())
            }
        };
        assert_eq!(fields.insert(name.clone(), value), None, "{name} twice");
    }
    fields
}

fn entry(message: &str) -> impl Fn(&[u8]) -> Option<BTreeMap<String, String>> + use<'_> {
    move |heard| {
        Some(fields(heard)).filter(|fields| fields.get("MESSAGE").is_some_and(|m| m.contains(message)))
    }
}

#[test]
fn where_stderr_leads_to_the_journal_entries_have_fields_and_levels() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let mut run = Run::new();
    let daemon = run.spawn(scene.command(&["run", "--interval", "1h"]), STDERR);
    let planned = run.journal.until("the plan", entry("planned"));
    let done = run.journal.until("the action", entry("connect done"));
    let wanted = [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "wellspring"),
        ("WELLSPRING_WORKSPACE", "ws_one"),
        ("WELLSPRING_SOURCE", "alpha"),
        ("WELLSPRING_ACTION", "connect"),
        ("WELLSPRING_PASS", &planned["WELLSPRING_PASS"]),
    ];
    for (name, value) in wanted {
        assert_eq!(done.get(name).map(String::as_str), Some(value), "{done:#?}");
    }
    scene.platform.script_always("list", Fault::status(403, "not yours"));
    daemon.signal("USR1");
    let failed = run.journal.until("the failure", entry("not yours"));
    assert_eq!(failed["PRIORITY"], "3", "{failed:#?}");
    assert_ne!(failed["WELLSPRING_PASS"], done["WELLSPRING_PASS"]);
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
}

#[test]
fn where_stderr_leads_elsewhere_so_do_the_logs() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let mut run = Run::new();
    let daemon = run.spawn(scene.command(&["run", "--interval", "1h"]), "1:1");
    daemon.wait_for_line("connect done");
    assert_eq!(run.journal.within(Duration::from_millis(1)), None);
}

#[test]
fn a_journal_that_takes_no_entries_loses_none() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let run = Run::new();
    std::fs::remove_file(run.journal.path()).unwrap();
    let daemon = run.spawn(scene.command(&["run", "--interval", "1h", "--log-format", "journal"]), "1:1");
    daemon.wait_for_line("the journal (/run/systemd/journal/socket) takes no entries");
    daemon.wait_for_line("connect done");
    until("it is connected", || scene.holds("ws_one", &[A]));
}
