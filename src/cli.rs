//! The command line: arguments, verbs, exit codes.
