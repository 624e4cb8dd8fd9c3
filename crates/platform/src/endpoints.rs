//! The six endpoints of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::PlatformError;
use super::connectors::{self, ConnectorContext, OpenedSource, ReadError, Stop, catch_panic};
use super::definition::{SourceSpec, SyncOptions, WorkspaceKey, kind_and_config, scope, source_ids};
use super::platform_core::{PlatformCore, SyncInProgress};
use super::registry::{Connected, RegisteredSource};
use super::response::ApiResponse;
use super::sync::{self, SyncOutcome, now};
use wellspring_sensitive::masked;

/// Maximum duration of a test or a schema request.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(60);

type BodyFields = Map<String, Value>;
/// Connects the valid sources of a request and reports the others in `errors`.
pub(super) async fn connect(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let Some(Value::Array(sources)) = fields.get("sources") else {
        return Err(ApiResponse::unprocessable("\"sources\" must be an array of sources"));
    };
    if sources.is_empty() {
        return Err(ApiResponse::unprocessable("\"sources\" is empty: nothing to connect"));
    }
    let mut definitions = Vec::new();
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for source in sources {
        match parse_source(source, &core.reach, &mut names) {
            Ok(definition) => definitions.push(definition),
            Err((name, message)) => errors.push(json!({ "name": name, "message": message })),
        }
    }
    if definitions.is_empty() {
        let message = format!("none of the {} sources can be connected", errors.len());
        return Err(ApiResponse::unprocessable(message)
            .with_data(json!({ "connected_sources": [], "errors": errors })));
    }
    let connected = on_storage(core, move |core| {
        let ids = match core.catalogue.connect(&workspace, &definitions, core.on_conflict, &now())? {
            Connected::All(ids) => ids,
            Connected::NameTaken(name) => return Ok(Err(name)),
        };
        let row = |(id, source): (String, &SourceSpec)| {
            let SourceSpec { name, kind, .. } = source;
            json!({ "id": id, "source_id": id, "name": name, "type": kind, "status": "connected" })
        };
        Ok(Ok(ids.into_iter().zip(&definitions).map(row).collect::<Vec<_>>()))
    })
    .await?
    .map_err(|name| {
        let message = format!("the name \"{name}\" is taken; nothing was connected");
        errors.push(json!({ "name": name, "message": "the name is taken" }));
        ApiResponse::conflict(message, json!({ "connected_sources": [], "errors": errors }))
    })?;
    let mut message = format!("connected {}", sources_of(connected.len()));
    if !errors.is_empty() {
        message.push_str(&format!("; {} could not be connected", sources_of(errors.len())));
    }
    Ok(ApiResponse::success(message, json!({ "connected_sources": connected, "errors": errors })))
}

/// Lists the sources of a workspace and scope with masked secrets.
pub(super) async fn list(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let sources = on_storage(core, move |core| core.catalogue.list(&workspace)).await?;
    let rows: Vec<_> = sources.iter().map(list_row).collect();
    Ok(ApiResponse::success(sources_of(rows.len()), rows.into()))
}

/// Syncs the given sources, or all; failures do not affect other sources.
pub(super) async fn sync(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let options = SyncOptions::read(fields.get("sync_options")).map_err(ApiResponse::unprocessable)?;
    let ids = named_or_all(core, &workspace, fields).await?;
    let mut tasks = JoinSet::new();
    for (place, id) in ids.into_iter().enumerate() {
        let (core, workspace, options) = (Arc::clone(core), workspace.clone(), options.clone());
        tasks.spawn(async move { (place, sync_one(core, workspace, id, options).await) });
    }
    let mut outcomes = BTreeMap::new();
    while let Some(task) = tasks.join_next().await {
        let (place, outcome) = task.map_err(|_| internal_error())?;
        outcomes.insert(place, outcome?);
    }
    Ok(sync_answer(outcomes.into_values()))
}

/// Removes the given sources, or all, with their rows; missing ones are no error.
pub(super) async fn cleanup(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let mut ids = named_or_all(core, &workspace, fields).await?;
    let asked = ids.len();
    let of = workspace.clone();
    let known = on_storage(core, move |core| core.catalogue.list(&of)).await?;
    let known: BTreeSet<_> = known.into_iter().map(|source| source.id).collect();
    ids.retain(|id| known.contains(id));
    // Fixed order, so that two cleanups cannot deadlock.
    ids.sort();
    // Stop running syncs, whose rows would be removed at once.
    for id in &ids {
        if let Some((_, stop)) = core.syncing().get(id).filter(|(of, _)| *of == workspace) {
            stop.send_replace(Some(Stop::Cleanup));
        }
    }
    let mut held = Vec::with_capacity(ids.len());
    for id in &ids {
        held.push(core.lock_source(id).await);
    }
    let removed = on_storage(core, move |core| {
        let _held = held;
        let removed = core.catalogue.remove(&workspace, &ids)?;
        for id in &removed {
            core.store.remove_rows(id)?;
        }
        Ok(removed.len())
    })
    .await?;
    let not_found = asked - removed;
    let mut message = format!("removed {}", sources_of(removed));
    if not_found > 0 {
        message.push_str(&format!("; {} were gone already", sources_of(not_found)));
    }
    Ok(ApiResponse::success(message, json!({ "deleted_count": removed, "not_found": not_found })))
}

/// Connects to a source, which need not be registered, and reads something.
pub(super) async fn test_connection(
    core: &Arc<PlatformCore>,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let config = fields
        .get("source_config")
        .ok_or_else(|| ApiResponse::unprocessable("\"source_config\" is missing"))?;
    let (kind, config) = kind_and_config(config).map_err(ApiResponse::unprocessable)?;
    let OpenedSource { connector, warning } = connectors::open(&kind, &config, &core.reach)?;
    Ok(match with_timeout(core, move || connector.test()).await? {
        Ok(message) => {
            let message = warning.map_or(message.clone(), |warning| format!("{message}; {warning}"));
            ApiResponse::success(message, json!({ "type": kind }))
        }
        Err(failure) => ApiResponse::failure(failure.into_message(), json!({ "type": kind })),
    })
}

/// Returns the current tables of a connected source.
pub(super) async fn schema(
    core: &Arc<PlatformCore>,
    workspace: String,
    fields: &BodyFields,
) -> Result<ApiResponse, ApiResponse> {
    let workspace = workspace_key(workspace, fields)?;
    let id = fields.get("source_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiResponse::unprocessable("\"source_id\" is missing"))?.to_owned();
    let found = on_storage(core, {
        let id = id.clone();
        move |core| core.catalogue.source(&workspace, &id)
    });
    let source = found.await?.ok_or_else(|| {
        ApiResponse::refused(StatusCode::NOT_FOUND, "there is no source with this id in this scope")
    })?;
    let OpenedSource { connector, .. } =
        connectors::open(&source.kind, &source.connection_config, &core.reach)?;
    Ok(match with_timeout(core, move || connector.schema()).await? {
        Ok(tables) => ApiResponse::success(
            format!("{} tables", tables.len()),
            json!({ "source_id": id, "name": source.name, "tables": tables }),
        ),
        Err(failure) => ApiResponse::failure(failure.into_message(), Value::Null),
    })
}

pub(super) fn workspace_key(workspace: String, fields: &BodyFields) -> Result<WorkspaceKey, ApiResponse> {
    Ok(WorkspaceKey { workspace, scope: scope(fields.get("scope")).map_err(ApiResponse::unprocessable)? })
}

/// Validates an element of `sources`; its server need not be reachable.
fn parse_source(
    source: &Value,
    reach: &ConnectorContext,
    names: &mut BTreeSet<String>,
) -> Result<SourceSpec, (Option<String>, String)> {
    let definition = SourceSpec::read(source)?;
    let refused = |message| (Some(definition.name.clone()), message);
    connectors::open(&definition.kind, &definition.connection_config, reach)
        .map_err(|unfit| refused(unfit.into_message()))?;
    if !names.insert(definition.name.clone()) {
        return Err(refused("the name is given to two sources of this call".into()));
    }
    Ok(definition)
}

pub(super) fn list_row(source: &RegisteredSource) -> Value {
    json!({
        "id": source.id,
        "name": source.name,
        "type": source.kind,
        "scope": source.scope,
        "connection_config": masked(&source.connection_config),
        "metadata": source.metadata,
        "created_at": source.created_at,
        "updated_at": source.updated_at,
        "last_sync": source.last_sync,
    })
}

async fn named_or_all(
    core: &Arc<PlatformCore>,
    workspace: &WorkspaceKey,
    fields: &BodyFields,
) -> Result<Vec<String>, ApiResponse> {
    if let Some(ids) = source_ids(fields.get("source_ids")).map_err(ApiResponse::unprocessable)? {
        return Ok(ids);
    }
    let workspace = workspace.clone();
    let sources = on_storage(core, move |core| core.catalogue.list(&workspace)).await?;
    Ok(sources.into_iter().map(|source| source.id).collect())
}

async fn sync_one(
    core: Arc<PlatformCore>,
    workspace: WorkspaceKey,
    id: String,
    options: SyncOptions,
) -> Result<SyncOutcome, ApiResponse> {
    // Lock the source first: waiting for a source must not block a worker.
    let held = core.lock_source(&id).await;
    let worker = Arc::clone(&core.workers).acquire_owned().await.map_err(|_| internal_error())?;
    let syncing = SyncInProgress::begin(&core, &workspace, &id);
    let reach = core.reach.with_limits(syncing.stop.subscribe());
    on_storage(&core, {
        let (workspace, id) = (workspace.clone(), id.clone());
        move |core| {
            // Held until the work ends, even if the client has disconnected.
            let _held = (held, worker);
            sync::sync(core, &workspace, &id, &options, &reach)
        }
    })
    .await
}

fn sync_answer(outcomes: impl Iterator<Item = SyncOutcome>) -> ApiResponse {
    let (mut total, mut done, mut errors, mut gone) = (0, Vec::new(), Vec::new(), 0);
    for outcome in outcomes {
        match outcome {
            SyncOutcome::Done { source: RegisteredSource { id, name, .. }, written } => {
                total += written.records;
                let mut synced = json!({
                    "id": id, "name": name,
                    "records_processed": written.records, "rows_stored": written.stored,
                });
                if !written.notes.is_empty() {
                    synced["message"] = written.notes.join("; ").into();
                }
                done.push(synced);
            }
            SyncOutcome::Failed { source: RegisteredSource { id, name, .. }, message } => {
                errors.push(json!({ "id": id, "name": name, "message": message }));
            }
            SyncOutcome::Gone { id } => {
                gone += 1;
                errors.push(json!({ "id": id, "name": null, "message": "there is no source with this id" }));
            }
        }
    }
    let (synced, failed) = (done.len(), errors.len());
    let data = json!({ "records_processed": total, "sources": done, "errors": errors });
    let message = format!("synced {} with {total} records", sources_of(synced));
    match (synced, failed) {
        (_, 0) => ApiResponse::success(message, data),
        (0, _) if failed == gone => {
            ApiResponse::refused(StatusCode::NOT_FOUND, "there is no source with these ids").with_data(data)
        }
        (0, _) => ApiResponse::failure(format!("{} could not be synced", sources_of(failed)), data),
        _ => ApiResponse::success(format!("{message}; {} could not be synced", sources_of(failed)), data),
    }
}

fn sources_of(count: usize) -> String {
    if count == 1 { "1 source".into() } else { format!("{count} sources") }
}

/// Runs blocking work on a separate thread.
pub(super) async fn on_storage<T: Send + 'static>(
    core: &Arc<PlatformCore>,
    work: impl FnOnce(&PlatformCore) -> Result<T, PlatformError> + Send + 'static,
) -> Result<T, ApiResponse> {
    let core = Arc::clone(core);
    let done = tokio::task::spawn_blocking(move || work(&core)).await;
    Ok(done.map_err(|_| internal_error())??)
}

/// Runs a test or schema request with a time limit.
///
/// A file system or server may never respond.
pub(super) async fn with_timeout<T: Send + 'static>(
    core: &Arc<PlatformCore>,
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<Result<T, ReadError>, ApiResponse> {
    let workers = Arc::clone(&core.workers);
    let looking = async {
        let worker = workers.acquire_owned().await.map_err(|_| internal_error())?;
        let done = tokio::task::spawn_blocking(move || {
            let _worker = worker;
            catch_panic(work)
        });
        done.await.map_err(|_| internal_error())
    };
    tokio::time::timeout(INSPECT_TIMEOUT, looking)
        .await
        .unwrap_or_else(|_| Ok(Err(ReadError::timed_out(INSPECT_TIMEOUT))))
}

/// Response for a panic, which is a bug in this program.
pub(super) fn internal_error() -> ApiResponse {
    ApiResponse::refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error in this call; please report this bug",
    )
}
