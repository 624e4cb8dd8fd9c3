//! The account dialect: the data sources of an account, one row for each table.
//!
//! Invariant: rows of accounts and sources of workspaces never see each other. Only release 0.2.10 of the SDK sends
//! the `database` object of this dialect to a workspace, whose sources it then becomes.
//!
//! ```text
//! database ──▶ tables ──▶ listed ──▶ rows   the registry of accounts
//!              │          └ bind, address
//!              └─▶ connectors
//! ```

mod address;
mod bind;
mod connect;
mod database;
mod listed;
mod mcp;
mod ontologies;
mod preview;
mod refresh;
mod rows;
mod tables;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub(super) use connect::connect_in_workspace;

use super::definition::text_or_number;
use super::endpoints::on_storage;
use super::platform_core::PlatformCore;
use super::response::ApiResponse;
use super::route::AccountEndpoint;

/// Answers a request to an account.
pub(super) async fn answer(
    core: &Arc<PlatformCore>,
    account: String,
    endpoint: AccountEndpoint,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    match endpoint {
        AccountEndpoint::List => {
            let rows = listed_rows(core, account).await?;
            Ok(ApiResponse::success(rows_of(rows.len()), rows.into()))
        }
        AccountEndpoint::Connect => connect::connect(core, account, fields).await,
        AccountEndpoint::Cleanup => cleanup(core, account, fields).await,
        AccountEndpoint::InferSchema => connect::infer_schema(core, fields).await,
        AccountEndpoint::Refresh => refresh::refresh(core, account, fields).await,
        AccountEndpoint::Preview => preview::preview(core, account, fields).await,
        AccountEndpoint::DemoSources => Ok(ApiResponse::success("no demo sources", json!([]))),
        AccountEndpoint::ListFiles => Ok(ApiResponse::success("files are not listed", json!([]))),
        AccountEndpoint::ListOntologies => ontologies::list(core, account).await,
        AccountEndpoint::SaveOntology => ontologies::save(core, account, fields).await,
        AccountEndpoint::ExportOntology => ontologies::export(core, account, fields).await,
        AccountEndpoint::McpMessages => Ok(ApiResponse::plain(mcp::answer(core, account, fields).await)),
    }
}

/// Returns the rows of an account as clients see them, with credentials in plain text.
async fn listed_rows(core: &Arc<PlatformCore>, account: String) -> Result<Vec<Value>, ApiResponse> {
    let rows = on_storage(core, move |core| core.catalogue.account_rows(&account)).await?;
    Ok(rows.iter().map(rows::AccountRow::shown).collect())
}

/// Removes the named rows, or all if `source_ids` is null or missing; unknown ids are no error.
async fn cleanup(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let ids = match fields.get("source_ids") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => {
            let ids = items.iter().map(text_or_number).collect::<Option<Vec<_>>>();
            Some(ids.ok_or_else(|| {
                ApiResponse::unprocessable("\"source_ids\" must hold texts or numbers only")
            })?)
        }
        Some(_) => return Err(ApiResponse::unprocessable("\"source_ids\" must be an array of ids")),
    };
    let removed =
        on_storage(core, move |core| core.catalogue.remove_account_rows(&account, ids.as_deref())).await?;
    Ok(ApiResponse::success(format!("removed {}", rows_of(removed)), json!({ "deleted_count": removed })))
}

fn rows_of(count: usize) -> String {
    if count == 1 { "1 data source".into() } else { format!("{count} data sources") }
}
