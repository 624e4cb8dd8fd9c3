//! Reads the directory once, consistently.
