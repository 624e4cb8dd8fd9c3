//! `refresh`: connects to every table of the account again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::database::DISK;
use super::listed_rows;
use super::rows::AccountRow;
use crate::connectors::{self, OpenedSource};
use crate::endpoints::{internal_error, on_storage, with_timeout};
use crate::platform_core::PlatformCore;
use crate::response::ApiResponse;

/// Tests every row; removes those whose file cannot be read, and reports all that failed.
///
/// The platform removes rows too, also those that others connected.
pub(super) async fn refresh(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    if fields.get("group_filter").is_some_and(|filter| !filter.is_null()) {
        let message = "the local platform does not support \"group_filter\"; leave it out to refresh all";
        return Err(ApiResponse::refused(StatusCode::NOT_IMPLEMENTED, message));
    }
    let rows = on_storage(core, {
        let account = account.clone();
        move |core| core.catalogue.account_rows(&account)
    });
    let mut tests = JoinSet::new();
    for (place, row) in rows.await?.into_iter().enumerate() {
        let core = Arc::clone(core);
        tests.spawn(async move { (place, failure(&core, row).await) });
    }
    let mut failed = BTreeMap::new();
    while let Some(test) = tests.join_next().await {
        let (place, failure) = test.map_err(|_| internal_error())?;
        if let Some(failure) = failure? {
            failed.insert(place, failure);
        }
    }
    let is_file = |row: &AccountRow| row.listed.host.split('/').next() == Some(DISK);
    let gone: Vec<_> =
        failed.values().filter(|(row, _)| is_file(row)).map(|(row, _)| row.id.clone()).collect();
    on_storage(core, {
        let account = account.clone();
        move |core| core.catalogue.remove_account_rows(&account, Some(&gone))
    })
    .await?;
    let failed: Vec<_> = failed.values().map(|(row, message)| shown(row, message)).collect();
    let message = match failed.len() {
        0 => "all data sources can be reached".to_owned(),
        count => format!("{count} of the data sources cannot be reached"),
    };
    let listed = listed_rows(core, account).await?;
    Ok(ApiResponse::success(message, listed.into()).with_field("failed_datasources", failed.into()))
}

/// Returns the row with the reason if its source cannot be read.
async fn failure(
    core: &Arc<PlatformCore>,
    row: AccountRow,
) -> Result<Option<(AccountRow, String)>, ApiResponse> {
    let (connector, config, reach) = (row.connector.clone(), row.config.clone(), core.reach.clone());
    let tested = with_timeout(core, move || {
        let OpenedSource { connector, .. } = connectors::open(&connector, &config, &reach)?;
        connector.test()
    });
    Ok(tested.await?.err().map(|failure| (row, failure.into_message())))
}

/// Returns a failed row without its bind annotation, which contains credentials.
fn shown(row: &AccountRow, message: &str) -> Value {
    let listed = &row.listed;
    json!({
        "id": row.id, "datasource_type": listed.datasource_type, "host": listed.host,
        "table_name": listed.table_name, "error": message,
    })
}
