//! The local platform: the Data API over real connectors.
