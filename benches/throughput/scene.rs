//! The program at work: a tree, a state directory and a platform, and `wellspring` run on them.

use super::measure::{self, Used};
use super::platform::{Platform, TOKEN};
use super::workload::{self, Shape};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somewhat longer than the files rest before a removal counts.
const SETTLE: Duration = Duration::from_millis(1_500);

pub(crate) struct Scene<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) shape: Shape,
    folder: TempDir,
    /// Which state directory is in use. An old one stays until the end: a file system takes its time over
    /// new files right after many were deleted.
    number: Cell<usize>,
}

impl<'a> Scene<'a> {
    /// A fresh tree and a state directory that is not there yet.
    pub(crate) fn new(platform: &'a Platform, shape: Shape) -> Self {
        let scene = Self { platform, shape, folder: tempfile::tempdir().unwrap(), number: Cell::new(0) };
        workload::write(&scene.root(), shape, &platform.url);
        fs::write(scene.host("run"), "[daemon]\ninterval = \"1h\"\n").unwrap();
        // How long the files must rest before a removal says nothing about speed.
        fs::write(scene.host("apply"), "[daemon]\nsettle = \"1ms\"\n").unwrap();
        scene
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
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

    /// Nothing was ever done.
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

    /// `wellspring apply --yes`
    pub(crate) fn apply(&self) -> Used {
        self.platform.forget();
        let mut command = self.command("apply");
        command.arg("--yes").arg(self.root());
        measure::run(&command)
    }

    /// `wellspring run`, once it has looked at everything and is at rest.
    pub(crate) fn daemon(&self) -> Daemon<'_> {
        let daemon = self.start();
        // The look once the files count as being at rest.
        std::thread::sleep(SETTLE);
        daemon.rest();
        daemon
    }

    /// `wellspring run`, once it has looked at everything.
    pub(crate) fn start(&self) -> Daemon<'_> {
        self.start_with(&[])
    }

    /// The same, with these arguments too.
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

/// A daemon; it is ended when dropped.
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

    /// Waits until it does nothing any more.
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

    /// Has it look at everything now: until the last list is answered, and the CPU time until it is
    /// at rest again.
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

    /// Renames another text into the place of the `n`th file. Until its connect arrives.
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
        // The look afterwards.
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
