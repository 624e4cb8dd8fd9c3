//! The files people write, and what is said about them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod manifest {
    mod bad;
    mod cases;
    mod documented;
    mod format;
    mod known;
    mod mutations;
}
