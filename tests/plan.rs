//! Tests of planner and guard.
#![expect(clippy::unwrap_used, reason = "tests")]

mod plan {
    mod case;
    mod cases;
    mod mutations;
    mod properties;
    mod recovery;
}
