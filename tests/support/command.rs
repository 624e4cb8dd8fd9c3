//! The real program in a clean room: nothing of the environment but what a test gives it, a HOME
//! of its own, and an end in sight.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// No run of a test takes longer; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at that nobody announces.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A run to be started.
pub(crate) struct Wellspring {
    command: Command,
    home: Arc<tempfile::TempDir>,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

impl Wellspring {
    pub(crate) fn new() -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_wellspring")))
    }

    /// With something that only a shell can say of a process beforehand, such as `ulimit -n 16`.
    pub(crate) fn after(shell: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = format!("{shell}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_wellspring")]);
        Self::of(command)
    }

    /// At a terminal of so many columns, with someone there who types nothing. Both outputs are one,
    /// and the first line names the process.
    pub(crate) fn at_a_terminal(columns: usize, args: &[&str]) -> Self {
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let program = env!("CARGO_BIN_EXE_wellspring");
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

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Address and token of a platform, as the platform's own tools name them.
    pub(crate) fn platform(self, platform: &super::Platform) -> Self {
        self.env("WELLSPRING_URL", platform.url()).env("PMTX_TOKEN", platform.token())
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// By way of another program, which is given this one and its arguments after its own.
    pub(crate) fn by_way_of<A: AsRef<OsStr>>(self, program: &str, args: impl IntoIterator<Item = A>) -> Self {
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
    pub(crate) fn run(self) -> Finished {
        self.spawn().finish()
    }

    /// Starts, and lets it run; it is killed when dropped.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let output = Arc::new(Output::default());
        let readers = vec![
            output.follow(child.stdout.take().unwrap(), |text| &mut text.stdout),
            output.follow(child.stderr.take().unwrap(), |text| &mut text.stderr),
        ];
        Running { child, output, readers, _home: self.home }
    }
}

/// A run under way.
pub(crate) struct Running {
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
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().stderr).into_owned()
    }

    /// Waits until a line of stdout or stderr holds `wanted`.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, wanted: &str) {
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
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill` is there also where the program of that name is not.
        let kill = format!("kill -s {name} {}", self.pid());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
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
