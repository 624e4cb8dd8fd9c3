//! File system events to look again.
