//! Arguments of each command.

use super::values::{DirOrAddress, count, limit, plan_file, stand_in};
use crate::cli::complete;
use crate::model::Limit;
use crate::settings::HumanDuration;
use crate::settings::address;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const ALLOW_UNTESTED: &str = "Exit with 0 even if the platform has no connection tests";

/// The workspaces and sources that a command is limited to.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Selection {
    /// Limit to a workspace (alias or id), or to one source of it; globs allowed. A project directory may
    /// come first
    #[arg(value_name = "WORKSPACE[/SOURCE]", add = ArgValueCompleter::new(complete::targets))]
    pub(in crate::cli) targets: Vec<String>,
    /// Limit to this workspace (alias or id); repeatable
    #[arg(short, long, value_name = "WORKSPACE", add = ArgValueCompleter::new(complete::workspace))]
    pub(in crate::cli) workspace: Vec<String>,
    /// Limit to sources whose key or name matches GLOB or WORKSPACE/GLOB; repeatable
    #[arg(short, long, value_name = "GLOB", add = ArgValueCompleter::new(complete::targets))]
    pub(in crate::cli) source: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ValidateArgs {
    /// Project directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) path: Option<PathBuf>,
    /// Also check that every secret can be resolved on this host
    #[arg(long)]
    pub(in crate::cli) secrets: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FmtArgs {
    /// Files to format, `-` for stdin to stdout, or a project directory [default: all files of the project]
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Write nothing; exit with 1 if a file would change
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// Write nothing; print the changes
    #[arg(long)]
    pub(in crate::cli) diff: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PullArgs {
    /// Workspaces (alias or id) or single sources [default: every declared workspace]
    #[arg(value_name = "WORKSPACE[/SOURCE]", add = ArgValueCompleter::new(complete::targets))]
    pub(in crate::cli) what: Vec<String>,
    /// Scope to use if the files set none
    #[arg(long)]
    pub(in crate::cli) scope: Option<String>,
    /// Overwrite existing files
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

/// The two kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SchemaOf {
    /// A file that declares sources
    Workspace,
    /// wellspring.toml
    Settings,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Exit with 2 if changes are pending
    #[arg(long)]
    pub(in crate::cli) detailed_exitcode: bool,
    /// Test the connections of sources that would be connected or replaced
    #[arg(long)]
    pub(in crate::cli) test: bool,
    #[arg(long, requires = "test", help = ALLOW_UNTESTED)]
    pub(in crate::cli) allow_untested: bool,
    /// Save the plan; `apply FILE` applies it, unless something changed in between
    #[arg(short, long, value_name = "FILE", value_parser = plan_file)]
    pub(in crate::cli) out: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
}

#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "wellspring apply [OPTIONS] [WORKSPACE[/SOURCE]]...\n       wellspring apply [OPTIONS] PLANFILE"
)]
pub(in crate::cli) struct ApplyArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Apply without asking; a saved plan never asks
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
}

impl ApplyArgs {
    /// Returns the saved plan that is given in place of workspaces.
    pub(in crate::cli) fn plan_file(&self) -> Option<&Path> {
        let path = Path::new(self.selection.targets.first()?);
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let is_plan =
            path.is_file() && (!is_toml || std::fs::read(path).is_ok_and(|text| text.starts_with(b"{")));
        if is_plan { Some(path) } else { None }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct LimitArgs {
    /// Remove managed sources that are no longer declared, regardless of `prune` in the files
    #[arg(long)]
    pub(in crate::cli) prune: bool,
    /// Maximum removals per hour: a number, or a percentage such as 30%
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    pub(in crate::cli) max_cleanup: Option<Limit>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    /// Project directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) path: Option<PathBuf>,
    /// Log planned changes continuously; never apply them
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Interval between checks for drift [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) interval: Option<HumanDuration>,
    /// Serve the status page, metrics and health endpoints at PORT or HOST:PORT [without a value: 9780]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "9780")]
    pub(super) listen: Option<DirOrAddress>,
}

impl RunArgs {
    /// Returns the address of --listen.
    pub(in crate::cli) fn listen(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(DirOrAddress::address)
    }

    /// Returns the given directory, also that of `run --listen DIR`.
    pub(super) fn take_path(&mut self) -> Option<PathBuf> {
        let beside = self.listen.as_ref().and_then(DirOrAddress::dir);
        self.path.take().or(beside)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    /// Project directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SyncArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Re-sync all records, not only new ones
    #[arg(long)]
    pub(in crate::cli) full: bool,
    /// Sync only sources that are due by their schedule
    #[arg(long, conflicts_with_all = ["targets", "source"])]
    pub(in crate::cli) due: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    #[arg(long, help = ALLOW_UNTESTED)]
    pub(in crate::cli) allow_untested: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SchemaArgs {
    /// The source: its workspace (alias or id) and its key
    #[arg(value_name = "WORKSPACE/SOURCE", add = ArgValueCompleter::new(complete::targets))]
    pub(in crate::cli) source: String,
    /// Project directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Refresh every 2 seconds until interrupted
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Exit 1 when a source fails, is stale or unknown, 2 when one is pending
    #[arg(long, conflicts_with = "watch")]
    pub(in crate::cli) exit_code: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Show changes made on the platform instead of syncs
    #[arg(long)]
    pub(in crate::cli) changes: bool,
    /// Maximum number of entries, newest first
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = count, allow_negative_numbers = true)]
    pub(in crate::cli) limit: usize,
}

/// Reaction of the local platform to a taken name or address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ServeConflict {
    /// Give the existing source the new definition
    Replace,
    /// Add another source; names stay unique, so workspaces replace
    Duplicate,
    /// Refuse with 409
    Reject,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArgs {
    /// Address to listen on: PORT or HOST:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8780", value_parser = address)]
    pub(in crate::cli) listen: SocketAddr,
    /// Directory of the files and SQLite databases that sources read
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(in crate::cli) data_dir: PathBuf,
    /// Use your own server for a host that sources name, such as db.example.com=127.0.0.1:5433; repeatable
    #[arg(long, value_name = "HOST=ADDRESS", value_parser = stand_in)]
    pub(in crate::cli) stand_in: Vec<(String, SocketAddr)>,
    /// Effect of connecting a source again [default: replace in workspaces, duplicate in accounts]
    #[arg(long, value_name = "REACTION", value_enum)]
    pub(in crate::cli) on_conflict: Option<ServeConflict>,
    /// Refuse to connect a name that exists (409) instead of replacing its source
    #[arg(long, conflicts_with = "on_conflict")]
    pub(in crate::cli) refuse_taken: bool,
    /// Allow an address that other hosts can reach, without TLS
    #[arg(long)]
    pub(in crate::cli) allow_plaintext: bool,
}
