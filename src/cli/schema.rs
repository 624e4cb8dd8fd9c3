//! `wellspring schema WS/SOURCE`: tables and columns of a source on the platform.

use super::args::{Common, Format, SchemaArgs, Selection};
use super::select::Selector;
use super::workplace::{Access, Workplace};
use super::{Exit, Failure, answer};
use crate::model::{SourceId, Unit};
use crate::remote::Schema;
use crate::render::escape;
use serde_json::json;

pub(super) async fn run(common: &Common, args: &SchemaArgs) -> Result<Exit, Failure> {
    let source = args.source.as_str();
    if !source.contains('/') {
        return Err(Failure::usage(&format!("{source:?} names no source; write WORKSPACE/SOURCE")));
    }
    let selector = Selector::new(&Selection { source: vec![source.to_owned()], ..Selection::default() })?;
    let place = Workplace::open(common, Access::Read).await?;
    let schema = find(&place, &selector, source).await;
    place.close().await;
    let schema = schema?;
    if common.format == Format::Json {
        answer::write_json(&json!({ "format_version": 1, "source": source, "tables": schema.tables }));
    } else {
        answer::write(&text(&schema));
    }
    Ok(Exit::Done)
}

async fn find(place: &Workplace, selector: &Selector, source: &str) -> Result<Schema, Failure> {
    for task in place.tasks(selector)? {
        let desired = &task.desired.open();
        let declared =
            desired.sources.iter().find(|source| selector.source(desired, &source.key, &source.name));
        let Some(declared) = declared else { continue };
        let rows = place.reader.list(&desired.unit).await?;
        let ids: Vec<&SourceId> =
            rows.iter().filter(|row| row.name == declared.name).filter_map(|row| row.id.as_ref()).collect();
        return match ids.as_slice() {
            [id] => schema(place, &desired.unit, id).await,
            [] => Err(failed(format!("{source} is not connected; run `wellspring apply` first"))),
            _ => Err(failed(format!("the platform has several sources called {:?}", declared.name))),
        };
    }
    selector.must_match(&place.reading, "declared source", "`wellspring show` lists them")?;
    Err(Failure::usage(&format!("no declared source matches `{source}`; `wellspring show` lists them")))
}

async fn schema(place: &Workplace, unit: &Unit, id: &SourceId) -> Result<Schema, Failure> {
    Ok(place.reader.schema(unit, id).await?)
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

fn failed(message: String) -> Failure {
    Failure { exit: Exit::Failed, message }
}
