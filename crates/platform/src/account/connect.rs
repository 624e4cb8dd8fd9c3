//! `connect` and `infer-schema`: both open the connection, and the first stores the tables found.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bind;
use super::database::Database;
use super::listed::{ListedTable, bind_annotation};
use super::rows::RowsConnected;
use super::tables::{self, Table};
use super::{listed_rows, rows_of};
use crate::connectors::ReadError;
use crate::definition::SourceSpec;
use crate::endpoints::{list_row, on_storage, with_timeout, workspace_key};
use crate::platform_core::PlatformCore;
use crate::registry::Connected;
use crate::response::ApiResponse;
use crate::sync::now;

/// Connects to a database and stores a row for each of its tables.
///
/// A failed connection is a success with `connectionStatus: false`, as on the platform.
pub(super) async fn connect(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let database = Arc::new(Database::read(fields)?);
    let tables = match discover(core, &database).await? {
        Ok(tables) => tables,
        Err(failure) => return Ok(not_connected(failure)),
    };
    let count = tables.len();
    let stored = on_storage(core, {
        let account = account.clone();
        move |core| {
            let rows = tables.into_iter().map(|table| (ListedTable::new(&database, &table), table));
            core.catalogue.connect_account_rows(&account, rows.collect(), core.on_address_conflict)
        }
    });
    if let RowsConnected::AddressTaken(table) = stored.await? {
        let message = format!("the table \"{table}\" is connected already; nothing was connected");
        return Ok(ApiResponse::conflict(message, Value::Null));
    }
    Ok(connected(count, listed_rows(core, account).await?))
}

/// Connects to a database and stores a source of a workspace for each of its tables.
///
/// Release 0.2.10 of the SDK names a workspace in the path.
pub(in super::super) async fn connect_in_workspace(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let tables = match discover(core, &Arc::new(Database::read(fields)?)).await? {
        Ok(tables) => tables,
        Err(failure) => return Ok(not_connected(failure)),
    };
    let count = tables.len();
    let stored = on_storage(core, move |core| {
        let definition = |Table { name, connector, config, .. }| SourceSpec {
            name,
            kind: connector.to_owned(),
            connection_config: config,
            metadata: json!({}),
        };
        let definitions: Vec<_> = tables.into_iter().map(definition).collect();
        Ok(match core.catalogue.connect(&workspace, &definitions, core.on_conflict, &now())? {
            Connected::All(_) => Ok(core.catalogue.list(&workspace)?),
            Connected::NameTaken(name) => Err(name),
        })
    });
    match stored.await? {
        Ok(sources) => Ok(connected(count, sources.iter().map(list_row).collect())),
        Err(name) => {
            let message = format!("the name \"{name}\" is taken; nothing was connected");
            Ok(ApiResponse::conflict(message, Value::Null))
        }
    }
}

/// Connects to a database and returns annotations of its tables; stores nothing.
pub(super) async fn infer_schema(
    core: &Arc<PlatformCore>,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let database = Arc::new(Database::read(fields)?);
    let wants = |name: &str, usual: bool| match fields.get(name) {
        None | Some(Value::Null) => Ok(usual),
        Some(Value::Bool(wanted)) => Ok(*wanted),
        Some(_) => Err(ApiResponse::unprocessable(format!("\"{name}\" must be true or false"))),
    };
    let (add_bind, add_model) = (wants("addBind", true)?, wants("addModel", false)?);
    let tables = match discover(core, &database).await? {
        Ok(tables) => tables,
        Err(failure) => return Ok(ApiResponse::failure(failure.into_message(), Value::Null)),
    };
    let (mut binds, mut models) = (Vec::new(), Vec::new());
    for table in &tables {
        let predicate = bind::predicate(&table.name);
        if add_bind {
            binds.push(bind_annotation(&database, &table.name, &predicate));
        }
        if add_model {
            models.push(bind::model(&predicate, &table.columns));
        }
    }
    Ok(ApiResponse::success(format!("{} tables", tables.len()), json!({ "binds": binds, "models": models })))
}

async fn discover(
    core: &Arc<PlatformCore>,
    database: &Arc<Database>,
) -> Result<Result<Vec<Table>, ReadError>, ApiResponse> {
    let (database, reach) = (Arc::clone(database), core.reach.clone());
    with_timeout(core, move || tables::discover(&database, &reach)).await
}

fn connected(count: usize, sources: Vec<Value>) -> ApiResponse {
    let mut data = json!({ "connectionStatus": true, "errorMessage": null });
    data["sources"] = sources.into();
    ApiResponse::success(format!("connected {}", rows_of(count)), data)
}

fn not_connected(failure: ReadError) -> ApiResponse {
    let data = json!({ "connectionStatus": false, "errorMessage": failure.into_message(), "sources": [] });
    ApiResponse::success("the connection failed; \"errorMessage\" has the reason", data)
}
