//! The command line: arguments, one file per command, exit codes.
//!
//! Invariant: results go to stdout, everything else to stderr.

macro_rules! note {
    ($($text:tt)*) => { $crate::cli::output::eprint(&(format!($($text)*) + "\n")) };
}

mod apply;
mod args;
mod complete;
mod context;
mod doctor;
mod exit;
mod explain;
mod files;
mod fmt;
mod generate;
mod history;
mod init;
mod local_platform;
mod outages;
mod output;
mod plan;
mod plan_cache;
mod plan_file;
mod progress;
mod pull;
mod reporters;
mod run;
mod schema;
mod select;
#[cfg(feature = "local-platform")]
mod serve;
mod show;
mod status;
mod sync;
mod test;
mod validate;

pub use exit::{CommandError, Exit};

use args::{Cli, Verb};
use std::process::ExitCode;
use std::time::Duration;

/// Parses the arguments, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    crate::zones::find_host_with(crate::time_zones::find);
    // For completion a shell runs the program with COMPLETE set; this prints candidates and exits.
    clap_complete::CompleteEnv::with_factory(args::command).complete();
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version to stdout and usage errors to stderr.
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage.into();
            }
            output::record_write_error(printed);
            return output::write_failure().map_or(Exit::Success, CommandError::print).into();
        }
    };
    crate::telemetry::start(&cli.common.logs(matches!(cli.verb, Verb::Run(_) | Verb::Serve(_))));
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!(
                "error: cannot start the threads that every command needs: {error}; raise the limit on processes or memory"
            );
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(dispatch(cli)).unwrap_or_else(CommandError::print);
    // A request that is still running must not delay the exit.
    runtime.shutdown_background();
    output::write_failure().map_or(exit, |lost| exit.or(lost.print())).into()
}

/// Starts the runtime and its threads.
///
/// The runtime would panic if the system refuses a thread, so starting that many is tried first.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    /// Threads beyond those of the runtime.
    ///
    /// One for blocking work, one for the state, one for signals.
    const OTHERS: usize = 3;
    /// Time an idle blocking thread is kept, because a new one may not start later.
    const STAYS: Duration = Duration::from_secs(60 * 60);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) + OTHERS;
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let wait = || drop(held.lock().map(|held| held.recv()));
    std::thread::scope(|scope| {
        // All threads must exist at the same time, so each waits for the last one to start.
        let hold = hold;
        for _ in 0..threads {
            std::thread::Builder::new().spawn_scoped(scope, wait)?;
        }
        drop(hold);
        Ok::<(), std::io::Error>(())
    })?;
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(STAYS).build()
}

async fn dispatch(cli: Cli) -> Result<Exit, CommandError> {
    let common = cli.common;
    common.require_format(cli.verb.formats())?;
    match cli.verb {
        Verb::Validate(args) => validate::run(&common, &args),
        Verb::Explain { code } => explain::run(&common, code.as_deref()),
        Verb::Fmt(args) => fmt::run(&common, &args),
        Verb::Show(args) => show::run(&common, &args),
        Verb::Init { into } => init::run(&common, into),
        Verb::JsonSchema { of } => Ok(generate::json_schema(of)),
        Verb::Completions { shell } => Ok(generate::completions(shell)),
        Verb::Help { of } => generate::help(&common, of.as_deref()),
        Verb::Version => Ok(generate::version(&common)),
        Verb::Man { out } => generate::man(out.as_deref()),
        Verb::Pull(args) => pull::run(&common, &args).await,
        Verb::Plan(args) => plan::run(&common, &args).await,
        Verb::Apply(args) => apply::run(&common, &args).await,
        Verb::Run(args) => run::run(&common, &args).await,
        Verb::Sync(args) => sync::run(&common, &args).await,
        Verb::Doctor(_) => doctor::run(&common).await,
        Verb::Test(args) => test::run(&common, &args).await,
        Verb::Schema(args) => schema::run(&common, &args).await,
        Verb::Status(args) => status::run(&common, &args).await,
        Verb::History(args) => history::run(&common, &args).await,
        #[cfg(feature = "local-platform")]
        Verb::Serve(args) => serve::run(&common, &args).await,
        #[cfg(not(feature = "local-platform"))]
        Verb::Serve(_) => Err(CommandError::usage(
            "this build does not include the local platform (feature `local-platform`)",
        )),
    }
}
