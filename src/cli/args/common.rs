//! Options of all commands.

use super::Format;
use crate::cli::CommandError;
use crate::config;
use crate::settings::Flags;
use crate::telemetry::{LogFormat, Logs};
use crate::tree;
use clap::{ArgAction, Args, ValueEnum};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(in crate::cli) struct Common {
    /// Project directory [default: the nearest parent with a wellspring.toml]
    #[arg(short = 'C', long = "dir", global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Base URL of the platform, or `local`
    #[arg(long, global = true, env = "WELLSPRING_URL", hide_env_values = true)]
    url: Option<String>,
    /// State directory [default: $STATE_DIRECTORY, else DIR/.wellspring]
    #[arg(long, global = true, env = "WELLSPRING_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Host file, such as /etc/wellspring/daemon.toml
    #[arg(long, global = true, env = "WELLSPRING_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(in crate::cli) format: Format,
    /// When to use colors
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// Log format
    #[arg(long, global = true, env = "WELLSPRING_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// Increase verbosity (-vv: debug logs, -vvv: traces)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Print only problems and the final summary
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Never prompt; fail instead
    #[arg(long, global = true)]
    pub(in crate::cli) no_input: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    /// At a terminal, unless NO_COLOR is set; otherwise only if CLICOLOR_FORCE is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Common {
    /// Returns the flags that settings are resolved from.
    pub(in crate::cli) fn flags(&self) -> Flags {
        Flags {
            dir: self.dir.clone(),
            url: self.url.clone(),
            state_dir: self.state_dir.clone(),
            config: self.config.clone(),
        }
    }

    /// Uses a command's own directory argument in place of -C.
    pub(super) fn set_dir(&mut self, dir: Option<PathBuf>) {
        self.dir = dir.or(self.dir.take());
    }

    /// Takes the first name as the project directory if it is one.
    ///
    /// With -C, every name is that of a workspace or source.
    pub(super) fn take_directory(&mut self, names: &mut Vec<String>) {
        if self.dir.is_none()
            && let Some(first) = names.first()
            && self.is_directory(first)
        {
            self.dir = Some(names.remove(0).into());
        }
    }

    fn is_directory(&self, name: &str) -> bool {
        let path = Path::new(name);
        let is_path = name.starts_with(['/', '.', '~']) || name.ends_with('/');
        let Some(root) = tree::find_root(Path::new(".")) else {
            // Outside a project there are no names of workspaces.
            return is_path || path.exists() || self.config.is_none();
        };
        // A folder inside the project may have the name of a workspace; one with a settings file is a
        // project.
        let is_inside = std::path::absolute(path).is_ok_and(|path| path.starts_with(&root));
        is_path
            || path.is_dir() && (!is_inside || path.join(config::FILE_NAME).is_file())
            || path.is_file() && name.ends_with(".toml")
    }

    /// Fails if a command has no output in the requested format.
    pub(in crate::cli) fn require_format(&self, formats: &[Format]) -> Result<(), CommandError> {
        if formats.contains(&self.format) {
            return Ok(());
        }
        let name = |format: &Format| format.to_possible_value().map(|value| value.get_name().to_owned());
        let supported: Vec<String> = formats.iter().filter_map(name).collect();
        let asked = name(&self.format).unwrap_or_default();
        let supported = supported.join(", ");
        Err(CommandError::usage(&format!(
            "this command does not support --format {asked}; supported: {supported}"
        )))
    }

    /// Returns true if unchanged sources should be shown, too.
    pub(in crate::cli) fn verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Returns true if only problems and results should be printed.
    pub(in crate::cli) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Returns true if output on stdout should be coloured.
    pub(in crate::cli) fn stdout_has_color(&self) -> bool {
        self.color(std::io::stdout().is_terminal())
    }

    /// Returns true if output on stderr should be coloured.
    pub(in crate::cli) fn stderr_has_color(&self) -> bool {
        self.color(std::io::stderr().is_terminal())
    }

    fn color(&self, terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if is_set("NO_COLOR", "") => false,
            ColorChoice::Auto => is_set("CLICOLOR_FORCE", "0") || terminal && !is_dumb(),
        }
    }

    /// Returns true if prompts are possible.
    pub(in crate::cli) fn interactive(&self) -> bool {
        !self.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Returns the options without prompts, as for `run`.
    pub(in crate::cli) fn unattended(&self) -> Self {
        Self { no_input: true, ..self.clone() }
    }

    /// Returns the log settings: services log actions, other commands only problems.
    pub(in crate::cli) fn logs(&self, service: bool) -> Logs {
        let has_reader = service && self.prints_for_terminal();
        Logs {
            format: self.log_format,
            color: self.stderr_has_color(),
            level: match (self.verbose, self.quiet) {
                (_, true) => tracing::Level::ERROR,
                (0 | 1, _) if service && !has_reader => tracing::Level::INFO,
                (0 | 1, _) => tracing::Level::WARN,
                (2, _) => tracing::Level::DEBUG,
                _ => tracing::Level::TRACE,
            },
        }
    }

    /// Returns true if `run` prints for a person at a terminal; otherwise it logs.
    pub(in crate::cli) fn prints_for_terminal(&self) -> bool {
        matches!(self.log_format, LogFormat::Auto | LogFormat::Text) && std::io::stdout().is_terminal()
    }
}

/// Returns true if the variable is set to anything but an empty text or `no`.
fn is_set(variable: &str, no: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != no)
}

/// Returns true if the terminal takes no control codes.
pub(in crate::cli) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
