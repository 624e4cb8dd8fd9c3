//! `wellspring fmt`: formats files.

use super::args::{Common, FmtArgs, Format};
use super::{CommandError, Exit, context, files, output};
use crate::report::escape;
use crate::{config, tree};
use serde_json::json;
use similar::TextDiff;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file to format: its display name, path and contents, or why it is unreadable.
struct FormatInput {
    name: String,
    path: PathBuf,
    text: Result<String, String>,
}

pub(super) fn run(common: &Common, args: &FmtArgs) -> Result<Exit, CommandError> {
    if let [file] = args.files.as_slice()
        && file == Path::new("-")
    {
        return filter(common, args);
    }
    let inputs = if args.files.is_empty() { project(common)? } else { named(&args.files)? };
    let writes = !args.check && !args.diff;
    let mut changed: Vec<String> = Vec::new();
    let mut skipped: Vec<(String, String)> = Vec::new();
    let mut diffs = String::new();
    for FormatInput { name, path, text } in inputs {
        let formatted = text.and_then(|text| match config::format(&text) {
            Some(formatted) => Ok((text, formatted)),
            None => Err("the file has errors, which `wellspring validate` shows".to_owned()),
        });
        match formatted {
            Ok((text, formatted)) if text != formatted => {
                if writes {
                    files::replace(&path, &formatted)?;
                }
                diffs.push_str(&diff(&name, &text, &formatted));
                changed.push(name);
            }
            Ok(_) => {}
            Err(why) => skipped.push((name, why)),
        }
    }
    if common.format == Format::Json {
        let left: Vec<&String> = skipped.iter().map(|(name, _)| name).collect();
        output::write_json(&json!({ "format_version": 1, "changed": changed, "left_as_is": left }));
    } else if args.diff {
        output::print(&diffs);
    } else {
        let word = if writes { "changed" } else { "would change" };
        for file in &changed {
            output::print(&format!("{word}  {}", escape::terminal(file)));
        }
    }
    for (file, why) in &skipped {
        note!("{}: not formatted: {why}", escape::terminal(file));
    }
    Ok(Exit::Invalid.when(!skipped.is_empty()).or(Exit::Failed.when(args.check && !changed.is_empty())))
}

fn project(common: &Common) -> Result<Vec<FormatInput>, CommandError> {
    let settings = context::resolve(common)?;
    let tree = tree::read(&settings.root).map_err(|error| CommandError::invalid(&error))?;
    let inputs = tree.files.iter().filter_map(|file| {
        let text = file.text.as_ref()?;
        let text = text.as_ref().map(ToString::to_string).map_err(ToString::to_string);
        Some(FormatInput { name: file.path.to_string(), path: tree.root.join(&*file.path), text })
    });
    Ok(inputs.collect())
}

fn named(paths: &[PathBuf]) -> Result<Vec<FormatInput>, CommandError> {
    let input = |path: &PathBuf| {
        let name = path.display().to_string();
        if path.is_dir() {
            return Err(CommandError::usage(&format!(
                "{name} is a directory; name one directory alone, or files only"
            )));
        }
        if !path.exists() {
            return Err(CommandError::usage(&format!("{name} does not exist")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read the file: {error}"));
        Ok(FormatInput { name, path: path.clone(), text })
    };
    paths.iter().map(input).collect()
}

/// `fmt -`: formats stdin to stdout, for editors.
fn filter(common: &Common, args: &FmtArgs) -> Result<Exit, CommandError> {
    if common.format == Format::Json {
        return Err(CommandError::usage("`fmt -` prints the formatted text; it has no JSON"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| CommandError {
        exit: Exit::Failed,
        message: format!("cannot read stdin: {error}"),
    })?;
    let Some(formatted) = config::format(&text) else {
        let message = "stdin was not formatted, because it is not valid TOML";
        return Err(CommandError { exit: Exit::Invalid, message: message.to_owned() });
    };
    if args.diff {
        output::print(&diff("stdin", &text, &formatted));
    } else if !args.check {
        output::print(&formatted);
    }
    Ok(Exit::Failed.when(args.check && text != formatted))
}

/// Returns a unified diff with escaped control characters.
///
/// Empty if nothing changes.
fn diff(name: &str, before: &str, after: &str) -> String {
    let (old, new) = (format!("a/{name}"), format!("b/{name}"));
    let diff = TextDiff::from_lines(before, after).unified_diff().header(&old, &new).to_string();
    diff.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => escape::terminal_line(line) + "\n",
            None => escape::terminal_line(line),
        })
        .collect()
}
