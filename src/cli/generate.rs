//! Commands about the program itself, such as `help`, `version` and `man`.

use super::args::{self, Cli, Common, Format, SchemaOf};
use super::{CommandError, Exit, explain, output};
use crate::config;
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Sections of the manual page that are not generated from the arguments.
const SECTIONS: &[u8] = include_bytes!("manual/sections.roff");

/// `help [NAME]`: prints the help of the program, a command or an error code.
pub(super) fn help(common: &Common, of: Option<&str>) -> Result<Exit, CommandError> {
    let mut command = args::with_short_help();
    let Some(name) = of else {
        output::record_write_error(command.print_long_help());
        return Ok(Exit::Success);
    };
    if let Some(verb) = command.find_subcommand_mut(name) {
        output::record_write_error(verb.print_help());
        return Ok(Exit::Success);
    }
    if config::explain(name).is_some() {
        return explain::run(common, Some(name));
    }
    let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let hint = config::nearest(name, known).map_or_else(
        || "`wellspring help` lists the commands".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(CommandError::usage(&format!("no command is called `{name}`; {hint}")))
}

pub(super) fn version(common: &Common) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    match common.format {
        Format::Json => output::write_json(&json!({ "format_version": 1, "version": version })),
        _ => output::print(&format!("wellspring {version}")),
    }
    Exit::Success
}

pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wellspring", &mut script);
    output::print(&String::from_utf8_lossy(&script));
    Exit::Success
}

pub(super) fn man(out: Option<&Path>) -> Result<Exit, CommandError> {
    if let Some(dir) = out {
        let written = std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .and_then(|()| OpenOptions::new().append(true).open(dir.join("wellspring.1")))
            .and_then(|mut page| page.write_all(SECTIONS));
        return written.map(|()| Exit::Success).map_err(|error| CommandError {
            exit: Exit::Failed,
            message: format!("cannot write the manual pages to {}: {error}", dir.display()),
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    page.extend_from_slice(SECTIONS);
    output::print(&String::from_utf8_lossy(&page));
    Ok(Exit::Success)
}

pub(super) fn json_schema(of: SchemaOf) -> Exit {
    output::print(match of {
        SchemaOf::Workspace => config::WORKSPACE_SCHEMA,
        SchemaOf::Settings => config::SETTINGS_SCHEMA,
    });
    Exit::Success
}
