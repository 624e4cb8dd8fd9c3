//! `wellspring doctor`: checks everything that a run needs, and suggests fixes.
//!
//! Changes nothing, neither here nor on the platform.

mod host;
mod platform;

use super::args::{Common, Format};
use super::context;
use super::progress::Progress;
use super::{CommandError, Exit, output};
use crate::error::error_chain;
use crate::load::LoadedConfig;
use crate::report;
use crate::secrets::Resolver;
use crate::settings::{PlatformChoice, Settings, SettingsError};
use crate::store::Store;
use crate::tree;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    outcome: CheckOutcome,
    message: String,
    todo: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckOutcome {
    Good,
    /// Works, but could be improved.
    Warning,
    Bad,
    /// Could not be checked because of another problem.
    Skipped,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, outcome: CheckOutcome::Good, message: message.into(), todo: None, exit: Exit::Success }
    }

    fn warning(check: &'static str, message: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Warning, todo: Some(todo.into()), ..Self::good(check, message) }
    }

    fn bad(check: &'static str, exit: Exit, message: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Bad, exit, ..Self::warning(check, message, todo) }
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Skipped, ..Self::good(check, why) }
    }
}

pub(super) async fn run(common: &Common) -> Result<Exit, CommandError> {
    let findings = match context::settings(common) {
        Err(error) => {
            vec![Finding::bad("settings", Exit::Invalid, error_chain(&error), settings_todo(&error))]
        }
        Ok(settings) => {
            let _ticking =
                Progress::activity(common, "checking the files, this host and the platform").tick();
            examine(common, &settings).await
        }
    };
    let exit = findings.iter().fold(Exit::Success, |exit, finding| exit.or(finding.exit));
    match common.format {
        Format::Json => output::write_json(&json!({ "format_version": 1, "checks": findings })),
        _ => output::print(&text(&findings)),
    }
    Ok(exit)
}

fn settings_todo(error: &SettingsError) -> &'static str {
    match error {
        SettingsError::Host { .. } => {
            "fix the errors shown above in the host file; `wellspring explain CODE` describes each"
        }
        SettingsError::Read { .. } => "name a file that exists, and give this user the right to read it",
        SettingsError::Variables(_) => "correct WELLSPRING_VARIABLES, or unset it",
        _ => "name the project directory with -C, or create one with `wellspring init`",
    }
}

async fn examine(common: &Common, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reading = match LoadedConfig::load(&settings.root, &*settings.variables()) {
        Ok(reading) => {
            findings.push(files(settings, &reading));
            findings.push(secrets(settings, &reading));
            reading
        }
        Err(error) => {
            let todo = "give this user the right to list the directory and read the files below it";
            findings.push(Finding::bad("files", Exit::Invalid, error_chain(&error), todo));
            return findings;
        }
    };
    findings.push(host::watching(&settings.root));
    findings.push(host::time_zones());
    let at = settings.platform(reading.desired.platform.as_ref());
    match at {
        Err(error) => {
            let todo =
                "set `url` under [platform] in wellspring.toml or the host file, or set WELLSPRING_URL";
            findings.push(Finding::bad("platform", Exit::Invalid, error_chain(&error), todo));
        }
        Ok(at) => {
            findings.push(host::state(settings, &at).await);
            let origin = origin(settings, &at).await;
            let refused = origin.exit != Exit::Success;
            findings.push(origin);
            if refused {
                findings.push(Finding::skipped("platform", "not asked, as no token may go there"));
            } else {
                findings.extend(platform::all(common, settings, &reading, at).await);
            }
        }
    }
    findings
}

fn files(settings: &Settings, reading: &LoadedConfig) -> Finding {
    let root = settings.root.display();
    let count = report::humanize::count(reading.file_count(), "file");
    let sources: usize = reading.desired.workspaces.iter().map(|workspace| workspace.count).sum();
    if reading.has_errors() {
        let errors = report::humanize::count(reading.error_count(), "error");
        let todo = format!("`wellspring validate {root}` shows each one with a fix");
        return Finding::bad("files", Exit::Invalid, format!("{count} in {root}: {errors}"), todo);
    }
    if reading.git_locked {
        let todo = "wait until Git has finished; if no Git process is running, delete .git/index.lock";
        return Finding::warning("files", format!("{count} in {root}; Git is writing them"), todo);
    }
    let commit = match reading.checkout.as_ref().and_then(|checkout| checkout.describe_directory()) {
        Some(commit) => format!(", commit {}", report::humanize::short_commit(&commit)),
        None if tree::uses_reftable(&settings.root) => {
            ", commit unknown (the Git repository uses reftable, which only the git program reads)".to_owned()
        }
        None => String::new(),
    };
    let sources = report::humanize::count(sources, "source");
    let workspaces = report::humanize::count(reading.desired.workspaces.len(), "workspace");
    if let Some(warning) = reading.diagnostics.first() {
        let todo = warning.help.clone().unwrap_or_else(|| format!("`wellspring explain {}`", warning.code));
        return Finding::warning("files", format!("{count} in {root}; {}", warning.message), todo);
    }
    if reading.desired.workspaces.is_empty() {
        let todo = "add a file that declares sources, or choose another directory with -C";
        return Finding::warning("files", format!("{count} in {root}; none declares a workspace"), todo);
    }
    Finding::good("files", format!("{count} in {root}: {sources} in {workspaces}{commit}"))
}

fn secrets(settings: &Settings, reading: &LoadedConfig) -> Finding {
    let secrets = Arc::new(settings.secrets());
    let mut missing = Vec::new();
    for workspace in reading.desired.open_workspaces() {
        let mut resolver = Resolver::new(Arc::clone(&secrets), &workspace.names());
        for source in &workspace.sources {
            if let Err(error) = resolver.resolve(&source.definition) {
                missing.push(format!("{}/{}: {error}", workspace.label(), source.key));
            }
        }
    }
    match missing.first() {
        None => Finding::good("secrets", "every secret can be resolved"),
        Some(first) => {
            let count = report::humanize::count(missing.len(), "source");
            let todo = "set it for the user or service that runs wellspring; `wellspring validate --secrets` lists all";
            Finding::bad(
                "secrets",
                Exit::Invalid,
                format!("{count} with a missing secret, such as {first}"),
                todo,
            )
        }
    }
}

/// Checks that the token may be sent to the platform that `wellspring.toml` names.
async fn origin(settings: &Settings, at: &PlatformChoice) -> Finding {
    let state = Store::open_read_only(&settings.state_dir, &context::key(at)).ok().flatten();
    let used = match &state {
        Some(state) => state.origins().await.unwrap_or_default(),
        None => BTreeSet::new(),
    };
    let pin = "write `url` under [platform] in the host file, or set WELLSPRING_URL";
    match settings.check_known_origin(at, &used) {
        Err(error) => Finding::bad("origin", Exit::Invalid, error_chain(&error), pin),
        Ok(()) if settings.has_pinned_platform() => {
            Finding::good("origin", format!("{} is pinned by this host", at.origin()))
        }
        Ok(()) if *at == PlatformChoice::Local => Finding::good("origin", "no token leaves this host"),
        Ok(()) => Finding::warning(
            "origin",
            format!("only wellspring.toml names {} as the receiver of the token", at.origin()),
            pin,
        ),
    }
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in findings {
        let mark = match finding.outcome {
            CheckOutcome::Good => "✓",
            CheckOutcome::Warning => "!",
            CheckOutcome::Bad => "✗",
            CheckOutcome::Skipped => "-",
        };
        let message = report::escape::terminal_line(&finding.message);
        out.push_str(&format!("{mark} {:width$}  {message}\n", finding.check));
        if let Some(todo) = &finding.todo {
            out.push_str(&format!("  {:width$}  → {}\n", "", report::escape::terminal_line(todo)));
        }
    }
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    out.push_str(&match (count(CheckOutcome::Bad), count(CheckOutcome::Warning)) {
        (0, 0) => "All checks passed.\n".to_owned(),
        (0, warnings) => format!("Ready, with {}.\n", report::humanize::count(warnings, "warning")),
        (bad, _) => format!("{} failed.\n", report::humanize::count(bad, "check")),
    });
    out
}

fn named(at: &PlatformChoice) -> String {
    match at {
        PlatformChoice::Local => "the local platform".to_owned(),
        PlatformChoice::Remote(base_url) => base_url.as_str().to_owned(),
    }
}
