//! `wellspring status`: how each source stands. Offline: it reads the files and the state, asks nobody
//! and creates nothing.

use super::args::{Common, Format, StatusArgs, is_dumb};
use super::select::Selector;
use super::{Exit, Failure, answer, workplace};
use crate::model::{DesiredUnit, Inventory, SourceName, Unit};
use crate::render::{self, Here, LastSync, Standing};
use crate::state::{LastRun, Quarantined, RunOutcome, State};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

/// With `--watch`, it is looked this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Clears the screen and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(common: &Common, args: &StatusArgs) -> Result<Exit, Failure> {
    let selector = Selector::new(&args.selection)?;
    if !args.watch {
        return show(common, &selector).await;
    }
    loop {
        if std::io::stdout().is_terminal() && !is_dumb() {
            answer::write(CLEAR);
        }
        show(common, &selector).await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn show(common: &Common, selector: &Selector) -> Result<Exit, Failure> {
    let settings = workplace::resolve(common)?;
    settings.check_state_dir().map_err(|error| Failure::invalid(&error))?;
    let reading = workplace::read(&settings)?;
    workplace::tell_diagnostics(common, &reading);
    let platform = workplace::platform(&settings, &reading)?;
    workplace::must_be_own(&settings)?;
    let state = State::open_read_only(&settings.state_dir, &workplace::key(&platform)).transpose();
    let state = state.transpose()?;
    let zone = TimeZone::system();
    let here = Here { now: Timestamp::now(), zone: Some(&zone) };
    selector.look_up_names(&reading);
    let mut standings = Vec::new();
    for unit in reading.desired.open_units().filter(|unit| selector.unit(unit.names())) {
        let known = Known::of(&unit.unit, state.as_ref()).await?;
        standings.extend(known.standings(&unit, selector, here));
    }
    if !reading.has_errors() {
        selector.must_name(&reading)?;
        selector.must_match(&reading, "source", "`wellspring show` lists those that are declared")?;
    }
    if standings.is_empty() && !selector.selects_everything() && !reading.has_errors() {
        return Err(Failure::usage("no source matches; `wellspring show` lists those that are declared"));
    }
    if common.format == Format::Json {
        answer::write_json(&json!({ "format_version": 1, "at": here.now, "sources": standings }));
    } else {
        answer::write(&render::status(&standings, here.now, &answer::look_of_rows(common)));
    }
    Ok(Exit::Invalid.when(reading.has_errors()))
}

/// What the state knows of a unit.
#[derive(Default)]
struct Known {
    inventory: Inventory,
    runs: BTreeMap<SourceName, LastRun>,
    quarantined: BTreeMap<SourceName, Quarantined>,
}

impl Known {
    async fn of(unit: &Unit, state: Option<&State>) -> Result<Self, Failure> {
        let Some(state) = state else { return Ok(Self::default()) };
        Ok(Self {
            inventory: state.inventory(unit).await?,
            runs: state.last_runs(unit).await?,
            quarantined: state.quarantined(unit).await?,
        })
    }

    fn standings(&self, unit: &DesiredUnit, selector: &Selector, here: Here<'_>) -> Vec<Standing> {
        let of = (unit.label(), &unit.unit);
        let declared = unit.sources.iter().map(|source| {
            let owned = self.inventory.owned.get(&source.name);
            let state = render::state_of(
                Some(source),
                owned.map(|owned| &**owned),
                self.quarantined.contains_key(&source.name),
            );
            let since = owned.and_then(|owned| owned.applied.sync_since);
            Standing::of_declared(of, source, state, since, self.last(&source.name), here)
        });
        let is_declared = |name: &SourceName| unit.sources.iter().any(|source| source.name == *name);
        let undeclared =
            self.inventory.owned.iter().filter(|(name, _)| !is_declared(name)).map(|(name, owned)| {
                let state = render::state_of(None, Some(owned), self.quarantined.contains_key(name));
                Standing::of_undeclared(of, (name, owned), state, self.last(name))
            });
        let chosen = |standing: &Standing| selector.source(unit, &standing.source, &standing.name);
        declared.chain(undeclared).filter(chosen).collect()
    }

    /// The last sync, if one was ever sent, and when the last good one ended.
    fn last(&self, name: &SourceName) -> (Option<LastSync>, Option<Timestamp>) {
        let Some(run) = self.runs.get(name) else { return (None, None) };
        let sent = !matches!(run.outcome, RunOutcome::Skipped | RunOutcome::Rewound);
        let last = sent.then(|| LastSync {
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: run.outcome.as_str(),
            records: run.records,
        });
        (last, run.last_success)
    }
}
