//! Logs: text or JSON, to stderr.

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What to log, and how.
#[derive(Debug, Clone)]
pub struct Logs {
    /// Text or JSON.
    pub format: LogFormat,
    /// Colour in text.
    pub color: bool,
    /// The least grave level told. `WELLSPRING_LOG` (`debug`, `wellspring::remote=trace`, …) overrides it.
    pub level: Level,
}

/// Starts logging for the process. Only our own events are told unless `WELLSPRING_LOG` asks for more:
/// what other crates trace of a connection may hold what was sent.
pub fn start(logs: &Logs) {
    let default = format!("off,wellspring={}", logs.level);
    let filter = std::env::var("WELLSPRING_LOG")
        .ok()
        .and_then(|wanted| EnvFilter::try_new(own_events_only(&wanted)).ok())
        .unwrap_or_else(|| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A second start (in tests) keeps the first.
    let _ = match logs.format {
        LogFormat::Text => registry.with(layer.with_ansi(logs.color)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}

/// A bare level means ours; directives for other crates are dropped.
fn own_events_only(wanted: &str) -> String {
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
    use super::own_events_only;

    #[test]
    fn other_crates_are_never_traced() {
        assert_eq!(own_events_only("trace"), "off,wellspring=trace");
        assert_eq!(own_events_only("hyper=trace,wellspring::remote=debug"), "off,wellspring::remote=debug");
    }
}
