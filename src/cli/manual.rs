//! What the program tells of itself to other tools: `completions`, `man` and `json-schema`.

use super::args::{Cli, SchemaOf};
use super::{Exit, Failure, answer};
use crate::manifest;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wellspring", &mut script);
    answer::write(&String::from_utf8_lossy(&script));
    Exit::Done
}

pub(super) fn man(out: Option<&Path>) -> Result<Exit, Failure> {
    if let Some(dir) = out {
        let written =
            std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
        return written.map(|()| Exit::Done).map_err(|error| Failure {
            exit: Exit::Failed,
            message: format!("could not write the manual pages to {}: {error}", dir.display()),
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    answer::write(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

pub(super) fn json_schema(of: SchemaOf) -> Exit {
    answer::write(match of {
        SchemaOf::Workspace => manifest::WORKSPACE_SCHEMA,
        SchemaOf::Settings => manifest::SETTINGS_SCHEMA,
    });
    Exit::Done
}
