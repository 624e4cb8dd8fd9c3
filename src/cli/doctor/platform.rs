//! Checks of the platform: token, reachability, contents of lists, and clock.

use super::super::args::Common;
use super::super::context;
use super::super::local_platform::{LocalPlatform, LocalPlatformMode};
use super::{Exit, Finding, named};
use crate::client::{ApiReader, RemoteError, RemoteErrorKind};
use crate::error::error_chain;
use crate::load::LoadedConfig;
use crate::model::{ObservedSource, WorkspaceRef};
use crate::reconcile::resolved;
use crate::report::humanize;
use crate::settings::{self, PlatformChoice, Settings};
use jiff::SignedDuration;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Maximum number of workspaces to list; more would add no information.
const MAX_LISTED_WORKSPACES: usize = 20;

/// Clock difference from which schedules and journals become confusing.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(30);

pub(super) async fn all(
    common: &Common,
    settings: &Settings,
    reading: &LoadedConfig,
    at: PlatformChoice,
) -> Vec<Finding> {
    let name = named(&at);
    let mut findings = Vec::new();
    let (local, base_url, token) = match at {
        PlatformChoice::Local => {
            match LocalPlatform::open(&settings.state_dir, &settings.root, LocalPlatformMode::ReadOnly).await
            {
                Ok(local) => {
                    findings.push(Finding::good("token", "not needed for the local platform"));
                    let (base_url, token) = (local.base_url.clone(), Arc::clone(&local.token));
                    (Some(local), base_url, token)
                }
                Err(failure) => {
                    let todo = "check `platform` in the state directory";
                    return vec![Finding::bad("platform", failure.exit, failure.message, todo)];
                }
            }
        }
        PlatformChoice::Remote(base_url) => {
            let known = settings::token(settings, &base_url, common.interactive());
            match known.map_err(|error| error_chain(&error)).and_then(|token| token().map(|_| token)) {
                Ok(token) => {
                    findings.push(Finding::good("token", "set (verified below)"));
                    (None, base_url, token)
                }
                Err(why) => {
                    let todo = "set PMTX_TOKEN, or set `token` under [platform] in the host file";
                    findings.push(Finding::bad("token", Exit::Auth, why, todo));
                    findings.push(Finding::skipped("platform", "not checked without a token"));
                    return findings;
                }
            }
        }
    };
    match context::reader(settings, base_url, token) {
        Err(failure) => {
            let todo = "use https://; on a trusted network, set `allow_plaintext = true` in the host file";
            findings.push(Finding::bad("platform", failure.exit, failure.message, todo));
        }
        Ok(reader) => findings.extend(ask(settings, reading, &reader, &name).await),
    }
    if let Some(local) = local {
        local.stop().await;
    }
    findings
}

async fn ask(settings: &Settings, reading: &LoadedConfig, reader: &ApiReader, name: &str) -> Vec<Finding> {
    let workspaces: Vec<_> = reading.desired.workspaces.iter().take(MAX_LISTED_WORKSPACES).collect();
    if workspaces.is_empty() {
        return vec![Finding::skipped("platform", "no workspace is declared")];
    }
    let secrets = Arc::new(settings.secrets());
    let mut rows = Vec::new();
    let mut refused: Vec<(&WorkspaceRef, RemoteError)> = Vec::new();
    let started = Instant::now();
    for desired in &workspaces {
        let (asked, secrets) = (Arc::clone(desired), Arc::clone(&secrets));
        reader.register_secrets(&desired.unit, move || resolved(&asked.open(), &secrets));
        match reader.list(&desired.unit).await {
            Ok(listed) => rows.extend(listed),
            Err(error) => {
                let everywhere = error.is_auth() || matches!(error.kind, RemoteErrorKind::Unreachable(_));
                refused.push((&desired.unit, error));
                if everywhere {
                    break;
                }
            }
        }
    }
    let each = started.elapsed() / u32::try_from(workspaces.len()).unwrap_or(u32::MAX);
    let mut findings = vec![match refused.first() {
        None => {
            let many = humanize::count(workspaces.len(), "workspace");
            Finding::good("platform", format!("{name} lists {many}, in {} each", humanize::duration(each)))
        }
        Some((_, error)) => {
            let exit = if error.is_auth() { Exit::Auth } else { Exit::Failed };
            let more = match refused.len() {
                1 => String::new(),
                more => format!("; {} in all", humanize::count(more, "workspace")),
            };
            Finding::bad("platform", exit, format!("{}{more}", error_chain(error)), todo(error))
        }
    }];
    if refused.is_empty() {
        findings.push(echo(&rows));
    }
    findings.push(clock(reader));
    findings
}

fn todo(error: &RemoteError) -> &'static str {
    match error.kind {
        RemoteErrorKind::NoToken(_) => {
            "set PMTX_TOKEN, or make what `token` in the host file refers to readable"
        }
        RemoteErrorKind::Unauthorized(_) => {
            "renew the token; it may have expired, or belong to another platform"
        }
        RemoteErrorKind::Forbidden(_) => "check the workspace's id, and request access for the token",
        RemoteErrorKind::Unreachable(_) => {
            "check the URL, DNS, firewall and proxy (HTTPS_PROXY) on this host"
        }
        RemoteErrorKind::AccountDialect(_) => {
            "write `{ account = \"ORGANIZATION/USER\" }` in place of the workspace's id"
        }
        RemoteErrorKind::Refused { status: 404, .. } => "check the URL and the workspace's id",
        RemoteErrorKind::Redirected(_) => "use the URL it redirects to; redirects are not followed",
        _ => "try again later; if the error persists, contact the platform's operator",
    }
}

/// How many of the rows show a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coverage {
    None,
    Some,
    All,
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no",
            Self::Some => "some",
            Self::All => "all",
        })
    }
}

/// Checks which fields lists contain.
///
/// This determines how exactly drift is detected.
fn echo(rows: &[ObservedSource]) -> Finding {
    if rows.is_empty() {
        return Finding::skipped("echo", "not checked: the workspaces have no sources yet");
    }
    let coverage =
        |shows: &dyn Fn(&ObservedSource) -> bool| match rows.iter().filter(|row| shows(row)).count() {
            0 => Coverage::None,
            some if some == rows.len() => Coverage::All,
            _ => Coverage::Some,
        };
    let ids = coverage(&|row| row.id.is_some());
    let config = coverage(&|row| row.echo.connection_config().is_some());
    let metadata = coverage(&|row| row.echo.metadata().is_some());
    let masked = rows.iter().filter(|row| row.echo.set_paths().len() > row.echo.leaves().len());
    let masks = if masked.count() > 0 { " (some values masked)" } else { "" };
    let message = format!(
        "of {}, the list returns {ids} ids, {config} connection_config and {metadata} metadata{masks}",
        humanize::count(rows.len(), "source")
    );
    if ids != Coverage::All {
        let todo =
            "sources without an id cannot be removed, replaced or synced; contact the platform's operator";
        return Finding::warning("echo", message, todo);
    }
    if config == Coverage::None {
        let todo = "changes that others make to connection_config are not detected; changes in the files are";
        return Finding::warning("echo", message, todo);
    }
    Finding::good("echo", message)
}

fn clock(reader: &ApiReader) -> Finding {
    let Some(ahead) = reader.clock_ahead() else {
        return Finding::skipped("clock", "not checked: the platform's responses have no date");
    };
    let apart = humanize::duration(ahead.unsigned_abs());
    if ahead.abs() < MAX_CLOCK_SKEW {
        return Finding::good("clock", "within 30 s of the platform's clock");
    }
    let which = if ahead.is_negative() { "behind" } else { "ahead of" };
    let todo = "set the clock (timedatectl, chrony); schedules depend on it";
    Finding::warning("clock", format!("this host is {apart} {which} the platform"), todo)
}
