//! `wellspring fmt`: the files' one look.

use super::args::{Common, FmtArgs, Format};
use super::{Exit, Failure, answer, files, workplace};
use crate::{manifest, render, tree};
use serde_json::json;
use std::sync::Arc;

pub(super) fn run(common: &Common, args: &FmtArgs) -> Result<Exit, Failure> {
    let settings = workplace::resolve(common, args.path.as_ref())?;
    let tree = tree::read(&settings.root).map_err(|error| Failure::invalid(&error))?;
    let mut changed: Vec<Arc<str>> = Vec::new();
    let mut left: Vec<Arc<str>> = Vec::new();
    for file in &tree.files {
        let text = file.text.as_ref().and_then(|text| text.as_deref().ok());
        match (text.and_then(manifest::format), text) {
            (Some(formatted), Some(text)) if formatted != text => {
                if !args.check {
                    files::replace(&tree.root.join(&*file.path), &formatted)?;
                }
                changed.push(Arc::clone(&file.path));
            }
            (Some(_), Some(_)) => {}
            _ => left.push(Arc::clone(&file.path)),
        }
    }
    if common.format == Format::Json {
        answer::write_json(&json!({ "format_version": 1, "changed": changed, "left_as_is": left }));
    } else {
        let word = if args.check { "would change" } else { "changed" };
        for file in &changed {
            answer::write(&format!("{word}  {}", render::escape::terminal(file)));
        }
    }
    for file in &left {
        let file = render::escape::terminal(file);
        eprintln!("{file}: left as it is, because it has errors; `wellspring validate` tells them");
    }
    Ok(Exit::Invalid.when(!left.is_empty()).or(Exit::Failed.when(args.check && !changed.is_empty())))
}
