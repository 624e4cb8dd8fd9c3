//! Flags, environment and files to settings, resolved once.
