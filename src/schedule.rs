//! When a source is due, and which due sources share one call.
