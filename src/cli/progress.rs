//! A line on stderr that shows what is in progress, at a terminal only. Removed when the work ends.

use super::answer;
use super::args::{Common, Format, is_dumb};
use crate::render::{escape, words};
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Interval between updates of the line. The first one is written at once.
const EVERY: Duration = Duration::from_millis(250);

/// The work in progress. Clones share one line.
#[derive(Clone)]
pub(super) struct Progress {
    doing: &'static str,
    noun: &'static str,
    under_way: Arc<Mutex<UnderWay>>,
}

struct UnderWay {
    names: Vec<String>,
    began: Instant,
    /// True if stderr is a terminal.
    shown: bool,
}

/// Updates the line until dropped; then removes it.
pub(super) struct Ticking(Progress, Option<JoinHandle<()>>);

impl Progress {
    /// `doing` is a participle such as "syncing", `noun` names one unit of the work, such as "source".
    pub(super) fn new(common: &Common, doing: &'static str, noun: &'static str) -> Self {
        let shown = common.format == Format::Human && !common.quiet() && std::io::stderr().is_terminal();
        let shown = shown && !is_dumb();
        let under_way = UnderWay { names: Vec::new(), began: Instant::now(), shown };
        Self { doing, noun, under_way: Arc::new(Mutex::new(under_way)) }
    }

    pub(super) fn tick(&self) -> Ticking {
        let progress = self.clone();
        let shown = self.with(|under_way| under_way.shown);
        let ticking = shown.then(|| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(EVERY);
                loop {
                    ticks.tick().await;
                    progress.with(|under_way| under_way.draw(progress.doing, progress.noun));
                }
            })
        });
        Ticking(self.clone(), ticking)
    }

    /// Adds names.
    pub(super) fn begin(&self, names: impl IntoIterator<Item = String>) {
        self.with(|under_way| under_way.names.extend(names));
    }

    /// Prints a message on a line of its own; `told` makes it from the names in progress.
    pub(super) fn tell(&self, told: impl FnOnce(&[String]) -> String) {
        self.with(|under_way| {
            under_way.clear();
            eprintln!("{}", told(&under_way.names));
        });
    }

    /// Removes finished names and prints lines about them on stdout, above the progress line.
    pub(super) fn end(&self, names: &[String], told: &[String]) {
        self.with(|under_way| {
            under_way.names.retain(|name| !names.contains(name));
            under_way.clear();
            told.iter().for_each(|line| answer::write(line));
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut UnderWay) -> T) -> T {
        work(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UnderWay {
    fn draw(&self, doing: &str, noun: &str) {
        if self.names.is_empty() {
            return self.clear();
        }
        let terminal = || terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| width.0.into());
        let width: usize = answer::columns().or_else(terminal).unwrap_or(80);
        let took = words::duration(Duration::from_secs(self.began.elapsed().as_secs()));
        let start = format!("{doing} {}, {took}: ", words::count(self.names.len(), noun));
        let line = format!("{start}{}", escape::terminal_line(&self.names.join(", ")));
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{}", words::cut(&line, width.saturating_sub(1)));
        let _ = err.flush();
    }

    fn clear(&self) {
        if self.shown {
            let mut err = std::io::stderr().lock();
            let _ = err.write_all(b"\r\x1b[K");
            let _ = err.flush();
        }
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
