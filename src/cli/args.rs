//! The arguments.

use super::Failure;
use crate::model::Limit;
use crate::settings::{Flags, Humane};
use crate::telemetry::{LogFormat, Logs};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Keeps the data sources of knowledge-graph workspaces as a directory of TOML files says.
#[derive(Debug, Parser)]
#[command(name = "wellspring", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do · 1 failed or partly applied · 2 changes pending \
(--detailed-exitcode) · 3 invalid files or a missing secret · 4 refused by a guard · 5 authentication · \
64 usage · 130 interrupted"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Check the files, offline: every error of every file, with its place
    Validate(ValidateArgs),
    /// Format the files; what they say stays, and its order
    Fmt(FmtArgs),
    /// Show what sources say after defaults and templates, with the line each value comes from
    Show(ShowArgs),
    /// Begin a directory of TOML files
    Init {
        /// The directory to begin [default: the current one]
        #[arg(value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Print the JSON Schema of the files, for editors
    JsonSchema {
        /// The kind of file
        #[arg(value_enum, default_value_t = SchemaOf::Workspace)]
        of: SchemaOf,
    },
    /// Explain an error code, such as W012
    Explain {
        /// The code, in capitals or not
        code: String,
    },
    /// Show what would change; nothing is written
    Plan(PlanArgs),
    /// Write files from what is on the platform, with references in the place of secrets
    Pull(PullArgs),
    /// Bring the platform to what the files say, once
    Apply(ApplyArgs),
    /// Watch the files and keep the platform as they say
    Run(RunArgs),
    /// Sync sources now
    Sync(SyncArgs),
    /// Test the connections of declared sources
    Test(TestArgs),
    /// Show the tables and columns of a source
    Schema {
        /// The source: its workspace (alias or id) and its key
        #[arg(value_name = "WS/SOURCE")]
        source: String,
        /// The directory of TOML files
        path: Option<PathBuf>,
    },
    /// Show how each source stands, offline: last and next sync, and what is stale
    Status(StatusArgs),
    /// Show past syncs, or what was changed
    History(HistoryArgs),
    /// Check all that `run` needs, from the files to the platform, and say what to do
    Doctor(DoctorArgs),
    /// Run the local platform alone: the Data API over real connectors
    #[cfg_attr(not(feature = "local-platform"), command(hide = true))]
    Serve(ServeArgs),
    /// Print what a shell completes commands by
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write it to this directory instead, with a page for each command
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// The directory of TOML files [default: found by walking up to a wellspring.toml]
    #[arg(short = 'C', long = "dir", global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The platform's base URL, or `local`
    #[arg(long, global = true, env = "WELLSPRING_URL", hide_env_values = true)]
    url: Option<String>,
    /// Where the state is kept [default: $STATE_DIRECTORY, else DIR/.wellspring]
    #[arg(long, global = true, env = "WELLSPRING_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The host file, such as /etc/wellspring/daemon.toml
    #[arg(long, global = true, env = "WELLSPRING_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    color: When,
    /// How logs are written
    #[arg(long, global = true, env = "WELLSPRING_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// Say more; twice for debug logs, three times for traces
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Never ask: what would ask fails
    #[arg(long, global = true)]
    pub(super) no_input: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// For scripts
    Json,
    /// For a pull request's comment; of `plan` and `apply`
    Markdown,
    /// Workflow annotations; of `plan`, `apply` and `validate`
    Github,
}

impl Verb {
    /// How its answer can be written.
    pub(super) fn formats(&self) -> &'static [Format] {
        match self {
            Self::Plan(_) | Self::Apply(_) => Format::value_variants(),
            Self::Validate(_) => &[Format::Human, Format::Json, Format::Github],
            Self::Explain { .. } | Self::Run(_) | Self::Completions { .. } | Self::Man { .. } => {
                &[Format::Human]
            }
            _ => &[Format::Human, Format::Json],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set; elsewhere where CLICOLOR_FORCE is
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct Selection {
    /// Only this workspace (alias or id); may be repeated
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(super) workspace: Vec<String>,
    /// Only sources whose key or name matches, as GLOB or WORKSPACE/GLOB; may be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub(super) source: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    /// Check also that every secret resolves here
    #[arg(long)]
    pub(super) secrets: bool,
}

#[derive(Debug, Args)]
pub(super) struct FmtArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    /// Write nothing; exit with 1 when a file would change
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Sources, as WS/SOURCE or GLOB; all when none is named
    #[arg(value_name = "WS/SOURCE")]
    pub(super) sources: Vec<String>,
    /// Only this workspace (alias or id); may be repeated
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(super) workspace: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// A workspace (alias or id), or one source of it; every declared workspace when none is named
    #[arg(value_name = "WS[/SOURCE]")]
    pub(super) what: Vec<String>,
    /// The scope, where the files do not say it
    #[arg(long)]
    pub(super) scope: Option<String>,
    /// Overwrite files that stand there
    #[arg(long)]
    pub(super) force: bool,
}

/// The two kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// A file that declares sources
    Workspace,
    /// wellspring.toml
    Settings,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Exit with 2 when changes are pending
    #[arg(long)]
    pub(super) detailed_exitcode: bool,
    /// Test the connections of what would be connected or replaced; nothing is changed by that
    #[arg(long)]
    pub(super) test: bool,
    /// Save the plan, so that `apply FILE` carries it out only if nothing has moved since
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ApplyArgs {
    /// The directory of TOML files, or a file that `plan --out` saved
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Apply without asking
    #[arg(short, long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct LimitArgs {
    /// Clean up sources of ours that the files no longer declare, whatever the repository's policy
    #[arg(long)]
    pub(super) prune: bool,
    /// The most that may be cleaned up in an hour: a number, or a percentage such as 30%
    #[arg(long, value_name = "N", value_parser = limit)]
    pub(super) max_cleanup: Option<Limit>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    /// Print what would change, again and again, and never write
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Check everything for drift this often [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub(super) interval: Option<Humane>,
    /// Serve the status page, metrics and health here [without an address: 127.0.0.1:9780]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9780")]
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// Sources, as WS/SOURCE or GLOB; all of ours when none is named
    #[arg(value_name = "WS/SOURCE")]
    pub(super) sources: Vec<String>,
    /// Only this workspace (alias or id); may be repeated
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(super) workspace: Vec<String>,
    /// Sync everything anew, not only what is new
    #[arg(long)]
    pub(super) full: bool,
    /// Sync only what is due by its schedule
    #[arg(long, conflicts_with = "sources")]
    pub(super) due: bool,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Look again every two seconds, until interrupted
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The directory of TOML files
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Show what was changed on the platform, instead of syncs
    #[arg(long)]
    pub(super) changes: bool,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(super) limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8780")]
    pub(super) listen: SocketAddr,
    /// Where files of `type = "file"` and SQLite databases lie
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) data_dir: PathBuf,
    /// Connect to a server of yours wherever a source names this host, such as
    /// db.example.com=127.0.0.1:5433; may be given more than once
    #[arg(long, value_name = "HOST=ADDRESS", value_parser = stand_in)]
    pub(super) stand_in: Vec<(String, SocketAddr)>,
    /// Refuse a name that is taken (409) instead of replacing its source
    #[arg(long)]
    pub(super) refuse_taken: bool,
    /// Listen on an address that others can reach, without TLS
    #[arg(long)]
    pub(super) allow_plaintext: bool,
}

fn stand_in(text: &str) -> Result<(String, SocketAddr), String> {
    let (host, at) = text.split_once('=').ok_or("write HOST=ADDRESS, as db.example.com=127.0.0.1:5433")?;
    if host.is_empty() || host.contains([':', '/', '@']) {
        return Err("the host is a name alone, as configurations have it: no port, no https://".into());
    }
    let at = at.parse().map_err(|_| format!("\"{at}\" is no address and port, as 127.0.0.1:5433"))?;
    Ok((host.to_owned(), at))
}

impl Common {
    /// What the settings are resolved from. A verb's PATH is the tree, as -C is.
    pub(super) fn flags(&self, path: Option<&PathBuf>) -> Flags {
        Flags {
            dir: path.or(self.dir.as_ref()).cloned(),
            url: self.url.clone(),
            state_dir: self.state_dir.clone(),
            config: self.config.clone(),
        }
    }

    /// A format that the answer does not have is a slip, not a wish.
    pub(super) fn must_be_one_of(&self, formats: &[Format]) -> Result<(), Failure> {
        if formats.contains(&self.format) {
            return Ok(());
        }
        let name = |format: &Format| format.to_possible_value().map(|value| value.get_name().to_owned());
        let there_is: Vec<String> = formats.iter().filter_map(name).collect();
        let asked = name(&self.format).unwrap_or_default();
        let there_is = there_is.join(", ");
        Err(Failure::usage(&format!("this command has no --format {asked}; there is: {there_is}")))
    }

    /// Say more than what changes?
    pub(super) fn verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Say only what is wrong?
    pub(super) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Colour on stdout?
    pub(super) fn color_out(&self) -> bool {
        self.color(std::io::stdout().is_terminal())
    }

    /// Colour on stderr?
    pub(super) fn color_err(&self) -> bool {
        self.color(std::io::stderr().is_terminal())
    }

    fn color(&self, terminal: bool) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto if asks("NO_COLOR", "") => false,
            When::Auto => asks("CLICOLOR_FORCE", "0") || terminal && !is_dumb(),
        }
    }

    /// A person sits in front of it and may be asked.
    pub(super) fn interactive(&self) -> bool {
        !self.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// How to log. A service tells what it does; a command only what is wrong.
    pub(super) fn logs(&self, service: bool) -> Logs {
        let talks_to_a_person = service && self.speaks();
        Logs {
            format: self.log_format,
            color: self.color_err(),
            level: match (self.verbose, self.quiet) {
                (_, true) => tracing::Level::ERROR,
                (0 | 1, _) if service && !talks_to_a_person => tracing::Level::INFO,
                (0 | 1, _) => tracing::Level::WARN,
                (2, _) => tracing::Level::DEBUG,
                _ => tracing::Level::TRACE,
            },
        }
    }

    /// `run` speaks to a person at a terminal, and logs otherwise.
    pub(super) fn speaks(&self) -> bool {
        matches!(self.log_format, LogFormat::Auto | LogFormat::Text) && std::io::stdout().is_terminal()
    }
}

/// Does the variable say anything but `no`?
fn asks(variable: &str, no: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != no)
}

/// The terminal knows no codes: text is all that it shows.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let limit = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Limit::Percent),
        None => text.parse().ok().map(Limit::Count),
    };
    limit.ok_or_else(|| "neither a number nor a percentage such as 30%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_a_command_parts_its_own_options_from_those_of_every_command() {
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands_mut() {
            let help = verb.render_help().to_string();
            let (own, common) =
                help.split_once("\nOptions of every command:\n").expect("they have a heading");
            for option in ["--dir", "--url", "--state-dir", "--config", "--format", "--color", "--quiet"] {
                assert!(common.contains(option) && !own.contains(&format!(" {option} ")), "{help}");
            }
            assert!(own.contains("--help") && !common.contains("--help"), "{help}");
        }
    }
}
