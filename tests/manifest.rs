//! Tests of the files and their diagnostics.
#![expect(clippy::unwrap_used, reason = "tests")]

mod manifest {
    mod bad;
    mod cases;
    mod documented;
    mod format;
    mod known;
    mod mutations;
}
