//! Starts the regular connection tests that are due, and reports changed results.

use super::Turn;
use crate::daemon::{Event, Tested};
use jiff::Timestamp;

impl Turn {
    /// Starts due tests.
    ///
    /// None while the platform refuses the token, and none in a dry run.
    pub(super) fn start_tests(&mut self, now: Timestamp) {
        let Some(hands) = &self.daemon.hands else { return };
        if self.board.is_paused() {
            return;
        }
        for due in self.probes.due(now, |unit| self.board.task(unit).map(|task| &task.desired)) {
            let planner = hands.reconciler.planner.clone();
            let broke_off = due.broke_off();
            let work = async move { Event::TestEnded(due.ask(&planner.reader, &planner.secrets).await) };
            self.beside(tokio::spawn(work), || Event::TestEnded(broke_off));
        }
    }

    /// Records a result; reports it once if it differs from the previous one.
    pub(super) fn tested(&mut self, tested: &Tested, now: Timestamp) {
        let unit = self.board.task(&tested.unit).map(|task| task.desired.open());
        let turn = self.probes.ended(tested, unit.as_deref(), now);
        self.daemon.publisher.tested(tested, now);
        let (Some(turn), Some(unit)) = (turn, unit) else { return };
        let name = format!("{}/{}", unit.label(), turn.key);
        match turn.up {
            true => self.daemon.voice.note(&format!("{name}: its connection works again")),
            false => {
                self.daemon.voice.warn(&format!("{name}: its connection test failed: {}", tested.message));
            }
        }
    }
}
