//! Suggestions for options of other tools that have another name here.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Options of other tools, with the name or command here.
const SYNONYMS: [(&str, &str); 21] = [
    ("--json", "use `--format json`"),
    ("-o", "use `--format json` or `--format markdown`; `plan -o FILE` saves a plan"),
    ("--output", "use `--format json` or `--format markdown`; `plan -o FILE` saves a plan"),
    ("--dry-run", "use `wellspring plan`, or `wellspring run --dry-run`"),
    ("-n", "use `wellspring plan`, or `wellspring run --dry-run`"),
    ("--auto-approve", "use `--yes`"),
    ("-f", "name the project directory with `-C DIR`; `apply PLANFILE` applies a saved plan"),
    ("--file", "name the project directory with `-C DIR`; `apply PLANFILE` applies a saved plan"),
    ("--directory", "use `-C DIR`"),
    ("--chdir", "use `-C DIR`"),
    ("--target", "name the workspace or source itself: WORKSPACE/SOURCE"),
    ("--all", "without names, every workspace is meant"),
    ("-a", "without names, every workspace is meant"),
    (
        "--token",
        "set the environment variable PMTX_TOKEN; a token in the arguments is visible to other users",
    ),
    (
        "--api-key",
        "set the environment variable PMTX_TOKEN; a token in the arguments is visible to other users",
    ),
    ("--host", "use `--url https://HOST/PATH`"),
    ("--port", "use `--listen PORT`"),
    ("-p", "use `--listen PORT`"),
    ("--debug", "use `-vv`"),
    ("--delete", "use `--prune`"),
    ("--destroy", "write `sources = {}` in the workspace's file, and apply with `--prune`"),
];

/// Replaces clap's suggestion if there is a better one.
pub(super) fn improve(mut error: Error, command: &Command) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = argument.split('=').next().unwrap_or_default();
    let known = SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, hint)| (*hint).to_owned());
    let command_with_it = || {
        let option = name.strip_prefix("--")?;
        let has = |verb: &&Command| verb.get_arguments().any(|arg| arg.get_long() == Some(option));
        let verbs: Vec<&str> = command.get_subcommands().filter(has).map(Command::get_name).collect();
        if verbs.is_empty() {
            None
        } else {
            Some(format!("`{name}` is an option of `{}`", verbs.join("`, `")))
        }
    };
    if let Some(hint) = known.or_else(command_with_it) {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    } else if error.get(ContextKind::SuggestedArg).is_none() {
        // clap would suggest to pass the argument as a value, which is never intended.
        error.remove(ContextKind::Suggested);
    }
    error
}
