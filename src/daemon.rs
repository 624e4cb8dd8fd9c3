//! The one loop: events in, passes out.
