//! `wellspring schema WS/SOURCE`: tables and columns of a source on the platform.

use super::args::{Common, Format, SchemaArgs, Selection};
use super::context::{AccessMode, CommandContext};
use super::progress::Progress;
use super::select::Selector;
use super::{CommandError, Exit, output};
use crate::client::Schema;
use crate::model::{SourceId, WorkspaceRef};
use crate::report::escape;
use serde_json::json;

pub(super) async fn run(common: &Common, args: &SchemaArgs) -> Result<Exit, CommandError> {
    let source = args.source.as_str();
    if !source.contains('/') {
        return Err(CommandError::usage(&format!("{source:?} names no source; write WORKSPACE/SOURCE")));
    }
    let selector = Selector::new(&Selection { source: vec![source.to_owned()], ..Selection::default() })?;
    let place = CommandContext::open(common, AccessMode::Read).await?;
    let ticking = Progress::activity(common, "reading the schema").tick();
    let schema = find(&place, &selector, source).await;
    drop(ticking);
    place.close().await;
    let schema = schema?;
    if common.format == Format::Json {
        output::write_json(&json!({ "format_version": 1, "source": source, "tables": schema.tables }));
    } else {
        output::print(&text(&schema));
    }
    Ok(Exit::Success)
}

async fn find(place: &CommandContext, selector: &Selector, source: &str) -> Result<Schema, CommandError> {
    for task in place.tasks(selector)? {
        let desired = &task.desired.open();
        let declared =
            desired.sources.iter().find(|source| selector.source(desired, &source.key, &source.name));
        let Some(declared) = declared else { continue };
        if desired.workspace().account().is_some() {
            let resolution = place.settings.secrets().resolve(&declared.definition, &desired.names());
            let resolution = resolution.map_err(|missing| CommandError {
                exit: Exit::Invalid,
                message: format!("{source}: {missing}; an account's schema needs it"),
            })?;
            let resolved = resolution.into_source(declared.name.clone());
            return Ok(place.reader.infer_schema(&desired.unit, &resolved).await?);
        }
        let rows = place.reader.list(&desired.unit).await?;
        let ids: Vec<&SourceId> =
            rows.iter().filter(|row| row.name == declared.name).filter_map(|row| row.id.as_ref()).collect();
        return match ids.as_slice() {
            [id] => schema(place, &desired.unit, id).await,
            [] => Err(failed(format!("{source} is not connected; run `wellspring apply` first"))),
            _ => Err(failed(format!(
                "the platform has several sources called {:?}; remove all but one of them there",
                declared.name
            ))),
        };
    }
    selector.require_matches(&place.reading, "declared source", "`wellspring show` lists them")?;
    Err(CommandError::usage(&format!("no declared source matches `{source}`; `wellspring show` lists them")))
}

async fn schema(
    place: &CommandContext,
    workspace: &WorkspaceRef,
    id: &SourceId,
) -> Result<Schema, CommandError> {
    Ok(place.reader.schema(workspace, id).await?)
}

fn text(schema: &Schema) -> String {
    let mut out = String::new();
    for table in &schema.tables {
        out.push_str(&format!("{}\n", escape::terminal_line(&table.name)));
        let width = table.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0).min(40);
        for column in &table.columns {
            let name = escape::terminal_line(&column.name);
            out.push_str(&format!("  {name:width$}  {}\n", escape::terminal_line(&column.kind)));
        }
    }
    out
}

fn failed(message: String) -> CommandError {
    CommandError { exit: Exit::Failed, message }
}
