//! Tests of planner and guard.

mod case;
mod cases;
mod mutations;
mod properties;
mod recovery;
