//! Tests of the files and their diagnostics.

mod bad;
mod cases;
mod documented;
mod format;
mod known;
mod mutations;
