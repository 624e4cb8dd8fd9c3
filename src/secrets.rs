//! References to resolved configuration and keyed fingerprints.
