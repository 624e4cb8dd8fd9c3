//! `preview`: the first rows of a connected table.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::bind;
use super::rows::AccountRow;
use crate::connectors::{
    self, ConnectorContext, OpenedSource, ReadError, ReadOptions, RowSink, Stop, WriteMode,
};
use crate::definition::whole;
use crate::endpoints::{on_storage, with_timeout};
use crate::platform_core::PlatformCore;
use crate::response::ApiResponse;

/// Rows of a preview if the request has no number.
const USUAL_ROWS: u64 = 10;
/// Maximum number of rows that a preview reads, because the previous pages are read too; later ones are empty.
const MAX_ROWS: u64 = 10_000;
/// Maximum size of the rows of a preview in bytes, which are held in memory.
const MAX_BYTES: usize = 8 << 20;

/// Fields that need more than reading the first rows.
const NOT_SERVED: [&str; 3] = ["order_by", "search_term", "column_filters"];

/// Reads the first rows of the table with this bind annotation.
pub(super) async fn preview(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    if let Some(name) =
        NOT_SERVED.iter().find(|name| fields.get(**name).is_some_and(|value| !value.is_null()))
    {
        let message = format!("the local platform does not support \"{name}\" in previews; leave it out");
        return Err(ApiResponse::refused(StatusCode::NOT_IMPLEMENTED, message));
    }
    let Some(Value::String(annotation)) = fields.get("bind_annotation") else {
        return Err(ApiResponse::unprocessable("\"bind_annotation\" must be a text"));
    };
    let number = |name: &str, usual: u64| match fields.get(name) {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => whole(value)
            .ok_or_else(|| ApiResponse::unprocessable(format!("\"{name}\" must be a whole number"))),
    };
    let (limit, page) = (number("limit", USUAL_ROWS)?, number("page", 1)?);
    let size = Some(number("page_size", 0)?).filter(|size| *size > 0).unwrap_or(limit);
    let skip = page.saturating_sub(1).saturating_mul(size);
    let size = size.min(MAX_ROWS.saturating_sub(skip));
    let row = with_bind(core, account, annotation.clone()).await?.ok_or_else(|| {
        let message = "no data source of this account has this bind annotation; connect it first";
        ApiResponse::refused(StatusCode::NOT_FOUND, message)
    })?;
    let stop = watch::Sender::new(None);
    let reach = core.reach.with_limits(stop.subscribe());
    let read = with_timeout(core, move || read(&row, skip, size, &reach)).await;
    // Ends a read that outlasts the response, so that it does not keep its worker.
    stop.send_replace(Some(Stop::CallerLeft));
    Ok(match read? {
        Ok(rows) => {
            ApiResponse::success(format!("{} rows", rows.len()), json!({ "rows": rows, "page": page }))
        }
        Err(failure) => ApiResponse::failure(failure.into_message(), Value::Null),
    })
}

/// Returns the row of an account with this bind annotation.
pub(super) async fn with_bind(
    core: &Arc<PlatformCore>,
    account: String,
    annotation: String,
) -> Result<Option<AccountRow>, ApiResponse> {
    on_storage(core, move |core| {
        let rows = core.catalogue.account_rows(&account)?;
        Ok(rows.into_iter().find(|row| bind::is_same(&row.listed.bind_annotation, &annotation)))
    })
    .await
}

fn read(row: &AccountRow, skip: u64, size: u64, reach: &ConnectorContext) -> Result<Vec<Value>, ReadError> {
    let OpenedSource { connector, .. } = connectors::open(&row.connector, &row.config, reach)?;
    let options =
        ReadOptions { incremental: false, since: None, cursor: None, batch_size: 1000, last_position: None };
    let mut first = FirstRows { skip, size, bytes: 0, rows: Vec::new() };
    if size == 0 {
        return Ok(first.rows);
    }
    match connector.read(&options, &mut first) {
        Err(failure) if !first.is_full() => Err(failure),
        _ => Ok(first.rows),
    }
}

/// Keeps some rows and ends the read after the last of them.
struct FirstRows {
    skip: u64,
    size: u64,
    bytes: usize,
    rows: Vec<Value>,
}

impl FirstRows {
    fn is_full(&self) -> bool {
        self.rows.len() as u64 >= self.size || self.bytes >= MAX_BYTES
    }
}

impl RowSink for FirstRows {
    fn begin_table(&mut self, _: &str, _: WriteMode) -> Result<(), ReadError> {
        Ok(())
    }

    fn push_row(&mut self, row: &str, _: Option<&str>) -> Result<(), ReadError> {
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.is_full() {
            self.bytes += row.len();
            self.rows.push(serde_json::from_str(row).unwrap_or(Value::Null));
        }
        if self.is_full() { Err(ReadError::new("enough rows for a preview")) } else { Ok(()) }
    }

    fn remove_row(&mut self, _: &str) -> Result<(), ReadError> {
        Ok(())
    }

    fn add_note(&mut self, _: String) {}
}
