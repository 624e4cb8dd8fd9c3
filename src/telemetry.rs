//! Logs: text or JSON.
