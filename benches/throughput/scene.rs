//! A project, a state directory and a platform, with `wellspring` running on them.

use super::measure::{self, Used};
use super::platform::{Platform, TOKEN};
use super::workload::{self, Shape};
use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Timeout, longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somewhat longer than the quiet time before a removal.
const SETTLE: Duration = Duration::from_millis(1_500);

pub(crate) struct Scene<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) shape: Shape,
    folder: TempDir,
    /// Number of the state directory in use.
    ///
    /// Old ones are kept until the end, because a file system is slow with new files after many deletions.
    number: Cell<usize>,
}

impl<'a> Scene<'a> {
    /// Creates a new project and the name of a state directory.
    pub(crate) fn new(platform: &'a Platform, shape: Shape) -> Self {
        let scene = Self { platform, shape, folder: tempfile::tempdir().unwrap(), number: Cell::new(0) };
        workload::write(&scene.root(), shape, &platform.url);
        fs::write(scene.host("run"), "[daemon]\ninterval = \"1h\"\n").unwrap();
        // The quiet time before a removal is irrelevant to speed.
        fs::write(scene.host("apply"), "[daemon]\nsettle = \"1ms\"\n").unwrap();
        scene
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Replaces the `n`th file; `port` is that of its first source.
    pub(crate) fn write(&self, n: usize, sources: Range<usize>, port: u16) {
        let text = workload::text(n, sources, 5432).replacen("5432", &port.to_string(), 1);
        fs::write(self.root().join(workload::file(n)), text).unwrap();
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn host(&self, verb: &str) -> PathBuf {
        self.folder.path().join(format!("{verb}.toml"))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(format!("state-{}", self.number.get()))
    }

    /// Starts with a new state and an empty platform.
    pub(crate) fn forget(&self) {
        self.number.set(self.number.get() + 1);
        self.platform.clear();
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wellspring"));
        command.arg(verb).arg("--config").arg(self.host(verb)).arg("--state-dir").arg(self.state());
        command.env("PMTX_TOKEN", TOKEN).env(workload::VARIABLE, workload::PASSWORD).env("NO_COLOR", "1");
        command.env_remove("WELLSPRING_URL").env_remove("JARVISPY_URL");
        command
    }

    /// Runs `wellspring apply --yes`.
    pub(crate) fn apply(&self) -> Used {
        self.platform.forget();
        measure::run(&self.apply_command())
    }

    pub(crate) fn apply_command(&self) -> Command {
        let mut command = self.command("apply");
        command.arg("--yes").arg(self.root());
        command
    }

    /// Starts `wellspring run`.
    ///
    /// Returns once the first pass has ended and the daemon is idle.
    pub(crate) fn daemon(&self) -> Daemon<'_> {
        let daemon = self.start();
        // Waits for the scan that accepts the files in full.
        std::thread::sleep(SETTLE);
        daemon.rest();
        daemon
    }

    /// Starts `wellspring run`; returns once the first pass has ended.
    pub(crate) fn start(&self) -> Daemon<'_> {
        self.start_with(&[])
    }

    /// Like [`Scene::start`], with these arguments in addition.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Daemon<'_> {
        self.platform.forget();
        let mut command = self.command("run");
        command
            .args(arguments)
            .arg(self.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let daemon = Daemon { scene: self, child: command.spawn().unwrap() };
        daemon.wait_for_lists(self.shape.workspaces as u64);
        daemon
    }
}

/// A daemon that is killed on drop.
pub(crate) struct Daemon<'a> {
    scene: &'a Scene<'a>,
    pub(crate) child: Child,
}

impl Daemon<'_> {
    fn wait_for_lists(&self, lists: u64) {
        let start = Instant::now();
        while self.scene.platform.calls().list < lists {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.scene.platform.calls());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the daemon is idle.
    pub(crate) fn rest(&self) {
        let mut before = measure::cpu_of(&self.child);
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let now = measure::cpu_of(&self.child);
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Requests a pass over everything.
    ///
    /// Measures the time to the last list response, and the CPU time until the daemon is idle again.
    pub(crate) fn recheck(&self) -> Used {
        self.scene.platform.forget();
        let cpu = measure::cpu_of(&self.child);
        let start = Instant::now();
        self.signal(nix::sys::signal::Signal::SIGUSR1);
        self.wait_for_lists(self.scene.shape.workspaces as u64);
        self.rest();
        let wall = self.scene.platform.last_answer().unwrap().duration_since(start);
        Used { wall, cpu: measure::cpu_of(&self.child) - cpu, peak: 0 }
    }

    /// Replaces the `n`th file by a rename; returns the time until its connect arrives.
    pub(crate) fn rename(&self, n: usize, text: &str) -> Duration {
        let (new, place) = (self.scene.scratch().join("new"), self.scene.root().join(workload::file(n)));
        fs::write(&new, text).unwrap();
        let lists = self.scene.platform.calls().list;
        let start = Instant::now();
        fs::rename(new, place).unwrap();
        let workspace = workload::workspace(n);
        let arrived = loop {
            if let Some(at) = self.scene.platform.connected(&workspace, start) {
                break at;
            }
            assert!(start.elapsed() < PATIENCE, "no connect came");
            std::thread::sleep(Duration::from_micros(200));
        };
        // Waits for the list after the connect.
        self.wait_for_lists(lists + 2);
        arrived.duration_since(start)
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
