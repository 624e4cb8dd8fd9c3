//! Progress line on stderr, at a terminal only; removed when the work ends.

use super::args::{Common, Format, is_dumb};
use super::output;
use crate::mutex::lock;
use crate::report::{escape, humanize};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Interval between updates of the line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// True while the line is on the terminal.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Delay before the line appears; shorter work needs none.
const FIRST_DRAW_DELAY: Duration = Duration::from_millis(150);

/// The work in progress; clones share one line.
#[derive(Clone)]
pub(super) struct Progress {
    label: &'static str,
    /// Names one unit of the work; `None` where the work has no units.
    noun: Option<&'static str>,
    state: Arc<Mutex<ProgressState>>,
}

struct ProgressState {
    names: BTreeSet<String>,
    started_at: Instant,
    /// True if stderr is a terminal.
    shown: bool,
}

/// Removes the line before other text is printed; the next update draws it again.
pub(super) fn hide() {
    if DRAWN.swap(false, Ordering::Relaxed) {
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(b"\r\x1b[K");
        let _ = err.flush();
    }
}

/// Updates the line until dropped; then removes it.
pub(super) struct Ticking(Progress, Option<JoinHandle<()>>);

impl Progress {
    /// Creates a line for work on units.
    ///
    /// `doing` is a participle such as "syncing", `noun` names one unit of the work, such as "source".
    pub(super) fn new(common: &Common, doing: &'static str, noun: &'static str) -> Self {
        Self::build(common, doing, Some(noun))
    }

    /// Creates a line for work without units, such as "comparing with the platform".
    pub(super) fn activity(common: &Common, doing: &'static str) -> Self {
        Self::build(common, doing, None)
    }

    fn build(common: &Common, label: &'static str, noun: Option<&'static str>) -> Self {
        let shown = common.format == Format::Human && !common.quiet() && std::io::stderr().is_terminal();
        let shown = shown && !is_dumb();
        let under_way = ProgressState { names: BTreeSet::new(), started_at: Instant::now(), shown };
        Self { label, noun, state: Arc::new(Mutex::new(under_way)) }
    }

    pub(super) fn tick(&self) -> Ticking {
        let progress = self.clone();
        let shown = self.with(|under_way| under_way.shown);
        let ticking = if shown {
            Some(tokio::spawn(async move {
                let first = tokio::time::Instant::now() + FIRST_DRAW_DELAY;
                let mut ticks = tokio::time::interval_at(first, REDRAW_INTERVAL);
                loop {
                    ticks.tick().await;
                    progress.with(|under_way| under_way.draw(progress.label, progress.noun));
                }
            }))
        } else {
            None
        };
        Ticking(self.clone(), ticking)
    }

    pub(super) fn begin(&self, names: impl IntoIterator<Item = String>) {
        self.with(|under_way| under_way.names.extend(names));
    }

    /// Prints a message on its own line; `format` makes it from the names in progress.
    pub(super) fn print_line(&self, format: impl FnOnce(&BTreeSet<String>) -> String) {
        self.with(|under_way| {
            under_way.clear();
            note!("{}", format(&under_way.names));
        });
    }

    /// Removes finished names and prints lines about them on stdout.
    pub(super) fn end(&self, names: &[String], told: &[String]) {
        self.with(|under_way| {
            names.iter().for_each(|name| drop(under_way.names.take(name)));
            under_way.clear();
            if !told.is_empty() {
                output::print(&told.join("\n"));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut ProgressState) -> T) -> T {
        work(&mut lock(&self.state))
    }
}

impl ProgressState {
    fn draw(&self, doing: &str, noun: Option<&str>) {
        if self.names.is_empty() && noun.is_some() {
            return self.clear();
        }
        let terminal = || terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| width.0.into());
        let width: usize = output::columns().or_else(terminal).unwrap_or(80);
        let took = humanize::duration(Duration::from_secs(self.started_at.elapsed().as_secs()));
        let line = match noun {
            None => format!("{doing}, {took}"),
            Some(noun) => {
                // More names than fit on any terminal are not needed.
                let names: Vec<&str> = self.names.iter().take(width).map(String::as_str).collect();
                let count = humanize::count(self.names.len(), noun);
                format!("{doing} {count}, {took}: {}", escape::terminal_line(&names.join(", ")))
            }
        };
        DRAWN.store(true, Ordering::Relaxed);
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{}", humanize::truncate(&line, width.saturating_sub(1)));
        let _ = err.flush();
    }

    fn clear(&self) {
        hide();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        if let Some(ticking) = &self.1 {
            ticking.abort();
        }
        self.0.with(|under_way| under_way.clear());
    }
}
