//! A line that tells a person at a terminal what is under way, and goes when it is over.

use super::answer;
use super::args::{Common, Format, is_dumb};
use crate::render::{escape, words};
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(250);

/// What is under way. Clones are one and the same.
#[derive(Clone)]
pub(super) struct Progress {
    doing: &'static str,
    under_way: Arc<Mutex<UnderWay>>,
}

struct UnderWay {
    names: Vec<String>,
    began: Instant,
    /// There is a terminal to write to.
    shown: bool,
}

/// Writes the line again and again; the line goes when this is dropped.
pub(super) struct Ticking(Progress, Option<JoinHandle<()>>);

impl Progress {
    /// `doing` as in "syncing".
    pub(super) fn new(common: &Common, doing: &'static str) -> Self {
        let shown = common.format == Format::Human && !common.quiet() && std::io::stderr().is_terminal();
        let shown = shown && !is_dumb();
        let under_way = UnderWay { names: Vec::new(), began: Instant::now(), shown };
        Self { doing, under_way: Arc::new(Mutex::new(under_way)) }
    }

    pub(super) fn tick(&self) -> Ticking {
        let progress = self.clone();
        let shown = self.with(|under_way| under_way.shown);
        let ticking = shown.then(|| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(EVERY);
                loop {
                    ticks.tick().await;
                    progress.with(|under_way| under_way.draw(progress.doing));
                }
            })
        });
        Ticking(self.clone(), ticking)
    }

    pub(super) fn begin(&self, names: impl IntoIterator<Item = String>) {
        self.with(|under_way| under_way.names.extend(names));
    }

    /// Tells how it stands, on a line of its own: what is under way is given.
    pub(super) fn tell(&self, told: impl FnOnce(&[String]) -> String) {
        self.with(|under_way| {
            under_way.clear();
            eprintln!("{}", told(&under_way.names));
        });
    }

    /// What is over is told on stdout, above the line.
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
    fn draw(&self, doing: &str) {
        if self.names.is_empty() {
            return self.clear();
        }
        let terminal = || terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| width.0.into());
        let width: usize = answer::columns().or_else(terminal).unwrap_or(80);
        let took = words::duration(Duration::from_secs(self.began.elapsed().as_secs()));
        let start = format!("{doing} {}, {took}: ", words::count(self.names.len(), "source"));
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
