//! Trees, rows and memories to plans, and through the guard.
#![expect(clippy::unwrap_used, reason = "tests")]

mod plan {
    mod case;
    mod cases;
}
