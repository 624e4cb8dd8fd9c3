//! The Data API client.
