//! Whatever is in the files, reading them ends with a verdict.
