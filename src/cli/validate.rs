//! `wellspring validate`: checks the files offline.

use super::args::{Common, Format, ValidateArgs};
use super::{CommandError, Exit, context, output};
use crate::config::{self, Severity};
use crate::load::LoadedConfig;
use crate::report;
use crate::secrets::{Resolver, Secrets};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn run(common: &Common, args: &ValidateArgs) -> Result<Exit, CommandError> {
    let settings = context::resolve(common)?;
    let mut reading = context::read(&settings)?;
    reading.warn_unused();
    reading.warn_ended_suspensions(
        jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::system()).date(),
    );
    let missing =
        if args.secrets { missing_secrets(&reading, &Arc::new(settings.secrets())) } else { Vec::new() };
    match common.format {
        Format::Json => {
            output::write_json(&json!({ "errors": reading.diagnostics, "missing_secrets": missing }));
        }
        Format::Github => output::print(&annotations(&reading)),
        _ => {
            context::print_diagnostics(common, &reading);
            for line in &missing {
                note!("error: {}", report::escape::terminal(line));
            }
            if !common.quiet() {
                output::print(&summary(&reading, missing.len()));
            }
        }
    }
    Ok(Exit::Invalid.when(reading.has_errors() || !missing.is_empty()))
}

fn summary(reading: &LoadedConfig, missing: usize) -> String {
    let files = report::humanize::count(reading.file_count(), "file");
    if reading.has_errors() {
        let errors = reading.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        let wrong = errors.map(|error| &error.file).collect::<BTreeSet<_>>().len();
        let errors = report::humanize::count(reading.error_count(), "error");
        return format!("{errors} in {wrong} of {files}; nothing was contacted.");
    }
    let warnings = match reading.diagnostics.len() {
        0 => String::new(),
        warnings => format!(", {}", report::humanize::count(warnings, "warning")),
    };
    let errors = match missing {
        0 => "no errors".to_owned(),
        missing => format!("{} with a missing secret", report::humanize::count(missing, "source")),
    };
    let sources = reading.desired.workspaces.iter().map(|workspace| workspace.count).sum();
    let sources = report::humanize::count(sources, "source");
    let workspaces = report::humanize::count(reading.desired.workspaces.len(), "workspace");
    format!("{files}: {sources} in {workspaces}, {errors}{warnings}.")
}

fn missing_secrets(reading: &LoadedConfig, secrets: &Arc<Secrets>) -> Vec<String> {
    let mut without = Vec::new();
    for workspace in reading.desired.open_workspaces() {
        let mut resolver = Resolver::new(Arc::clone(secrets), &workspace.names());
        for source in &workspace.sources {
            if let Err(missing) = resolver.resolve(&source.definition) {
                without.push(format!("{}: {}: {missing}", source.at, source.key));
            }
        }
    }
    without
}

fn annotations(reading: &LoadedConfig) -> String {
    use report::escape::{annotation, annotation_property};
    let line = |found: &config::Diagnostic| {
        let help = found.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        format!(
            "::{} file={},line={},col={},title={}::{}\n",
            match found.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            annotation_property(&found.file),
            found.line,
            found.column,
            annotation_property(&found.code.to_string()),
            annotation(&format!("{}{help}", found.message)),
        )
    };
    reading.diagnostics.iter().map(line).collect()
}
