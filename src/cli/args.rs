//! Command-line arguments.

mod common;
mod suggest;
mod values;
mod verbs;

pub(super) use common::{Common, is_dumb};
pub(super) use values::limit;
#[cfg(feature = "local-platform")]
pub(super) use verbs::ServeConflict;
pub(super) use verbs::{
    ApplyArgs, DoctorArgs, FmtArgs, HistoryArgs, LimitArgs, PlanArgs, PullArgs, RunArgs, SchemaArgs,
    SchemaOf, Selection, ServeArgs, ShowArgs, StatusArgs, SyncArgs, TestArgs, ValidateArgs,
};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Keeps the data sources of knowledge-graph workspaces in sync with a directory of TOML files.
#[derive(Debug, Parser)]
#[command(name = "wellspring", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const AFTER_HELP: &str = "\
Environment:
  PMTX_TOKEN    Token for the platform (unless the host file names one)
  JARVISPY_URL  Base URL of the platform, if nothing else names one
  An empty variable counts as unset.

Exit codes: 0 done or nothing to do · 1 failed or partly applied · 2 changes pending (--detailed-exitcode) · \
3 invalid files or a missing secret · 4 refused by a guard · 5 authentication · 64 usage · 130 interrupted";

/// Last line of a command's help.
const GLOBAL_OPTIONS: &str =
    "Global options such as -C DIR, --url, --format and -q, and the environment: wellspring --help";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a new project directory
    Init {
        /// The directory to create [default: the current one]
        #[arg(value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Check the files offline and report every error with its location
    Validate(ValidateArgs),
    /// Format files without changing their meaning or order
    Fmt(FmtArgs),
    /// Show the effective configuration of sources, and the line that sets each value
    Show(ShowArgs),
    /// Show what `apply` would change; change nothing
    Plan(PlanArgs),
    /// Apply the files to the platform once
    Apply(ApplyArgs),
    /// Watch the files and apply them continuously
    Run(RunArgs),
    /// Write existing sources of the platform into files, with references in place of secrets
    Pull(PullArgs),
    /// Sync sources now
    Sync(SyncArgs),
    /// Test the connections of declared sources
    Test(TestArgs),
    /// Show the tables and columns of a source
    Schema(SchemaArgs),
    /// Show the state of each source, its last and next sync; contacts nothing
    Status(StatusArgs),
    /// Show past syncs, or past changes
    History(HistoryArgs),
    /// Check everything that `run` needs, and suggest fixes
    Doctor(DoctorArgs),
    /// Explain an error code such as W012; list all codes if none is given
    Explain {
        /// Error code (case-insensitive)
        code: Option<String>,
    },
    /// Run the local platform alone: the Data API over real connectors
    #[cfg_attr(not(feature = "local-platform"), command(hide = true))]
    Serve(ServeArgs),
    /// Print the JSON Schema of the files, for editors
    JsonSchema {
        /// Kind of file
        #[arg(value_enum, default_value_t = SchemaOf::Workspace)]
        of: SchemaOf,
    },
    /// Generate a shell completion script
    Completions {
        /// Shell. To complete workspaces and sources, too: source <(COMPLETE=bash wellspring)
        shell: clap_complete::Shell,
    },
    /// Generate the manual page
    Man {
        /// Write the page, and one for each command, to this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Print help, of a command or of an error code
    Help {
        /// Command or error code
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text
    Human,
    /// JSON, for scripts
    Json,
    /// A comment for a pull request; `plan` and `apply` only
    Markdown,
    /// GitHub workflow annotations; `plan`, `apply` and `validate` only
    Github,
}

impl Verb {
    /// Returns the formats that the command supports.
    pub(super) fn formats(&self) -> &'static [Format] {
        match self {
            Self::Plan(_) | Self::Apply(_) => Format::value_variants(),
            Self::Validate(_) => &[Format::Human, Format::Json, Format::Github],
            Self::Run(_) | Self::Completions { .. } | Self::Man { .. } | Self::Help { .. } => {
                &[Format::Human]
            }
            _ => &[Format::Human, Format::Json],
        }
    }
}

impl Cli {
    /// Uses a project directory in a command's arguments in place of -C.
    fn resolve_directory(&mut self) {
        let common = &mut self.common;
        match &mut self.verb {
            Verb::Validate(args) => common.set_dir(args.path.take()),
            Verb::Doctor(args) => common.set_dir(args.path.take()),
            Verb::Schema(args) => common.set_dir(args.path.take()),
            Verb::Run(args) => common.set_dir(args.take_path()),
            Verb::Fmt(args) => {
                if let [dir] = args.files.as_slice()
                    && dir.is_dir()
                {
                    common.set_dir(args.files.pop());
                }
            }
            Verb::Show(ShowArgs { selection })
            | Verb::Plan(PlanArgs { selection, .. })
            | Verb::Sync(SyncArgs { selection, .. })
            | Verb::Test(TestArgs { selection, .. })
            | Verb::Status(StatusArgs { selection, .. })
            | Verb::History(HistoryArgs { selection, .. }) => common.take_directory(&mut selection.targets),
            Verb::Apply(args) if args.plan_file().is_none() => {
                common.take_directory(&mut args.selection.targets);
            }
            Verb::Pull(args) => common.take_directory(&mut args.what),
            _ => {}
        }
    }
}

/// Parses the arguments of this process.
pub(super) fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    match parsed {
        Ok(mut cli) => {
            cli.resolve_directory();
            Ok(cli)
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Err(with_short_help().try_get_matches_from_mut(std::env::args_os()).err().unwrap_or(error))
        }
        Err(error) => Err(suggest::improve(error.format(&mut command), &command)),
    }
}

/// Returns the command line without empty variables.
///
/// CI systems set a variable without a value to an empty text.
pub(super) fn command() -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    Cli::command().mut_args(|arg| if is_empty(&arg) { arg.env(None) } else { arg })
}

/// Returns the command line for help texts.
///
/// Global options are listed only in the program's help.
pub(super) fn with_short_help() -> Command {
    let mut command = command();
    command.build();
    for verb in command.get_subcommands_mut() {
        let hidden = std::mem::take(verb).mut_args(|arg| {
            let is_global = arg.is_global_set();
            if arg.get_id() == "help" {
                arg.action(ArgAction::HelpShort).help("Print help")
            } else {
                arg.hide(is_global)
            }
        });
        *verb = hidden.after_help(GLOBAL_OPTIONS);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::{Cli, with_short_help};
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_are_in_the_help_of_the_program_and_not_of_each_command() {
        let mut cli = with_short_help();
        let options = ["--dir", "--url", "--state-dir", "--config", "--format", "--color", "--quiet"];
        let help = cli.render_long_help().to_string();
        let (_, common) = help.split_once("\nGlobal options:\n").expect("they have a heading");
        assert!(options.iter().all(|option| common.contains(option)), "{help}");
        assert!(help.contains("PMTX_TOKEN") && help.contains("[env: WELLSPRING_URL]"), "{help}");
        for verb in cli.get_subcommands_mut() {
            let help = verb.render_help().to_string();
            let (own, _) = help.split_once("\nGlobal options").expect("they are mentioned");
            assert!(options.iter().all(|option| !own.contains(option)), "{help}");
            assert!(help.contains("wellspring --help") && help.lines().count() <= 30, "{help}");
        }
    }
}
