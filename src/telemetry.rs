//! Logging: human-readable lines, JSON objects or journal fields.
//!
//! Invariant: logs events of this crate only, unless `WELLSPRING_LOG` names more.

use crate::report::escape;
use clap::ValueEnum;
use std::fmt::Debug;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use tracing::field::Field;
use tracing::{Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// The journal if stderr is connected to it, otherwise text
    Auto,
    /// Text on stderr
    Text,
    /// A JSON object per line on stderr
    Json,
    /// The systemd journal, with fields such as WELLSPRING_SOURCE
    Journal,
}

/// Logging options.
#[derive(Debug, Clone)]
pub struct Logs {
    /// Destination and format.
    pub format: LogFormat,
    /// Use colour in text.
    pub color: bool,
    /// Least severe level logged; `WELLSPRING_LOG` overrides it.
    ///
    /// Examples: `debug`, `wellspring::client=trace`.
    pub level: Level,
}

/// Starts logging for the process.
///
/// Logs only this crate's events unless `WELLSPRING_LOG` enables more, because trace events of
/// other crates may contain request bodies.
pub fn start(logs: &Logs) {
    let default = format!("off,wellspring={}", logs.level);
    let filter = std::env::var("WELLSPRING_LOG")
        .ok()
        .filter(|wanted| !wanted.is_empty())
        .and_then(|wanted| EnvFilter::try_new(crate_only_filter(&wanted)).ok())
        .unwrap_or_else(|| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let text = || lines().with_ansi(logs.color).fmt_fields(debug_fn(escaped).delimited(" "));
    let (layer, lost) = match logs.format {
        LogFormat::Json => (lines().json().flatten_event(true).boxed(), None),
        LogFormat::Auto if !is_journal() => (text().boxed(), None),
        LogFormat::Text => (text().boxed(), None),
        LogFormat::Journal | LogFormat::Auto => match journal() {
            Ok(layer) => (layer, None),
            Err(error) => (text().boxed(), Some(error)),
        },
    };
    // A second start (in tests) keeps the first logger.
    let _ = registry.with(layer).try_init();
    if let Some(error) = lost {
        tracing::warn!(%error, "the journal (/run/systemd/journal/socket) takes no entries; logging to stderr");
    }
}

/// Writes a field without control characters or line breaks.
///
/// Names of files, sources and workspaces may contain any character.
fn escaped(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => writer.write_str(&escape::terminal_line(&value)),
        name => write!(writer, "{name}={}", escape::terminal_line(&value)),
    }
}

/// Journal entries with fields: an event's `source` becomes `WELLSPRING_SOURCE`.
fn journal<S>() -> std::io::Result<Box<dyn Layer<S> + Send + Sync>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    let layer = tracing_journald::layer()?
        .with_field_prefix(Some("WELLSPRING".to_owned()))
        .with_syslog_identifier("wellspring".to_owned())
        .with_priority_mappings(priorities);
    Ok(layer.boxed())
}

/// Returns true if stderr is connected to the journal.
///
/// `JOURNAL_STREAM` contains the device and inode of the journal's stream.
fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let found = stderr.and_then(|stderr| stderr.metadata());
    found.is_ok_and(|found| stream == *format!("{}:{}", found.dev(), found.ino()))
}

/// Applies a bare level to this crate and drops directives for other crates.
fn crate_only_filter(wanted: &str) -> String {
    let mut directives = vec!["off".to_owned()];
    for directive in wanted.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        if directive.starts_with("wellspring") {
            directives.push(directive.to_owned());
        } else if directive.parse::<Level>().is_ok() {
            directives.push(format!("wellspring={directive}"));
        }
    }
    directives.join(",")
}

#[cfg(test)]
mod tests {
    use super::crate_only_filter;

    #[test]
    fn other_crates_are_never_traced() {
        assert_eq!(crate_only_filter("trace"), "off,wellspring=trace");
        assert_eq!(crate_only_filter("hyper=trace,wellspring::client=debug"), "off,wellspring::client=debug");
    }
}
