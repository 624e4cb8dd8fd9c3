//! Runs the real program in isolation.
//!
//! The environment contains only variables set by the test and its own HOME, and every run has a timeout.

use super::lock;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Timeout of a run, far longer than any needs; only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polling interval for conditions without an event.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A run to be started.
pub struct Wellspring {
    command: Command,
    home: Arc<tempfile::TempDir>,
}

/// Result of a finished run.
#[derive(Debug)]
pub struct Finished {
    pub stdout: String,
    pub stderr: String,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
}

impl Wellspring {
    pub fn new() -> Self {
        Self::of(Command::new(crate::program()))
    }

    /// Runs shell code first, such as `ulimit -n 16`.
    pub fn after(shell: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = format!("{shell}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, crate::program()]);
        Self::of(command)
    }

    /// Runs at a terminal with this many columns, without input.
    ///
    /// Both outputs are merged, and the first line contains the process id.
    pub fn at_a_terminal(columns: usize, args: &[&str]) -> Self {
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let program = crate::program();
        let line = format!("stty cols {columns} rows 40; echo $$; exec {program} {}", quoted.join(" "));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        let mut program = Self::of(command);
        program.command.stdin(Stdio::piped());
        program
    }

    fn of(mut command: Command) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        command
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, home }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets URL and token of a platform, by the variables of the platform's own tools.
    pub fn platform(self, platform: &super::Platform) -> Self {
        self.env("WELLSPRING_URL", platform.url()).env("PMTX_TOKEN", platform.token())
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs through another program, which receives this one and its arguments.
    pub fn by_way_of<A: AsRef<OsStr>>(self, program: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program);
        command.args(args).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        for (name, value) in self.command.get_envs() {
            value.map(|value| command.env(name, value));
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, home: self.home }
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(self) -> Finished {
        self.spawn().finish()
    }

    /// Starts the program, which is killed on drop.
    pub fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let output = Arc::new(Output::default());
        let readers = vec![
            output.follow(child.stdout.take().unwrap(), |text| &mut text.stdout),
            output.follow(child.stderr.take().unwrap(), |text| &mut text.stderr),
        ];
        Running { child, output, readers, _home: self.home }
    }
}

/// A run in progress.
pub struct Running {
    child: Child,
    output: Arc<Output>,
    readers: Vec<std::thread::JoinHandle<()>>,
    _home: Arc<tempfile::TempDir>,
}

#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    grown: Condvar,
}

#[derive(Default)]
struct Text {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Text> {
        lock(&self.text)
    }

    fn follow(
        self: &Arc<Self>,
        mut from: impl Read + Send + 'static,
        into: fn(&mut Text) -> &mut Vec<u8>,
    ) -> std::thread::JoinHandle<()> {
        let output = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                into(&mut output.lock()).extend_from_slice(&buffer[..count]);
                output.grown.notify_all();
            }
        })
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().stderr).into_owned()
    }

    /// Waits until a line of stdout or stderr contains `wanted`.
    #[track_caller]
    pub fn wait_for_line(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.output.lock();
        loop {
            let (stdout, stderr) =
                (String::from_utf8_lossy(&text.stdout), String::from_utf8_lossy(&text.stderr));
            if stdout.lines().chain(stderr.lines()).any(|line| line.contains(wanted)) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {wanted:?} in:\n{stdout}\n--- stderr:\n{stderr}");
            text = self.output.grown.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal by name: `TERM`, `HUP`, `STOP`, `CONT`, `KILL`…
    pub fn signal(&self, name: &str) {
        // The shell's built-in `kill` exists even if the program does not.
        let kill = format!("kill -s {name} {}", self.pid());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= deadline {
                panic!("did not end:\n{}\n--- stderr:\n{}", self.stdout(), self.stderr());
            }
            std::thread::sleep(GLANCE);
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let finished = Finished { stdout: self.stdout(), stderr: self.stderr(), code: status.code() };
        if finished.code.is_some() && finished.stdout.starts_with('{') {
            super::json(&finished.stdout);
        }
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
