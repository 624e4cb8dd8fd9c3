//! Starts the regular connection tests that are due, and reports changed results.

use super::EventLoop;
use crate::daemon::{Event, TestEnded};
use jiff::Timestamp;

impl EventLoop {
    /// Starts due tests.
    ///
    /// None while the platform refuses the token, and none in a dry run.
    pub(super) fn start_tests(&mut self, now: Timestamp) {
        let Some(hands) = &self.daemon.write_access else { return };
        if self.scheduler.is_paused() {
            return;
        }
        for due in self
            .connection_tests
            .take_due(now, |workspace| self.scheduler.task(workspace).map(|task| &task.desired))
        {
            let planner = hands.reconciler.planner.clone();
            let broke_off = due.aborted_result();
            let work = async move { Event::TestEnded(due.run(&planner.reader, &planner.secrets).await) };
            self.spawn(tokio::spawn(work), || Event::TestEnded(broke_off));
        }
    }

    /// Records a result; reports it once if it differs from the previous one.
    pub(super) fn on_test_ended(&mut self, tested: &TestEnded, now: Timestamp) {
        let workspace = self.scheduler.task(&tested.workspace).map(|task| task.desired.open());
        let turn = self.connection_tests.finish_test(tested, workspace.as_deref(), now);
        self.daemon.publisher.test_ended(tested, now);
        let (Some(turn), Some(workspace)) = (turn, workspace) else { return };
        let name = format!("{}/{}", workspace.label(), turn.key);
        if turn.is_reachable {
            self.daemon.reporter.info(&format!("{name}: its connection works again"));
        } else {
            self.daemon.reporter.warning(&format!("{name}: its connection test failed: {}", tested.message));
        }
    }
}
