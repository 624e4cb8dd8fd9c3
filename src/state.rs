//! The state store: inventory, intents, runs, journal.
