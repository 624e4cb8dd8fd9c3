//! One pass over one workspace.
