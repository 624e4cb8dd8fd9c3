//! OpenAPI 3.1 description of the endpoints.
//!
//! Contains only what the endpoints guarantee; `tests/openapi.py` checks this with an API tester.

mod accounts;
mod sources;

use serde_json::{Map, Value, json};

use super::definition::MAX_NAME_LEN;

pub(super) fn document() -> String {
    let mut schemas = answers();
    schemas.extend(sources::schemas());
    schemas.extend(accounts::schemas());
    let mut paths = paths();
    if let (Value::Object(paths), Value::Object(accounts)) = (&mut paths, accounts::paths()) {
        paths.extend(accounts);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Data API, as implemented by the local platform of Wellspring",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
            "description":
                "Connects, lists, syncs, tests and removes the data sources of a workspace, or, without a workspace \
                 in the path, those of an account. Every answer is an envelope of `status`, `message` and `data`. \
                 Unknown fields are ignored. The paths may follow below any prefix, such as \
                 `/jarvispy/my-org/my-user`, which names the account.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
    .to_string()
}

fn paths() -> Value {
    let scope = || {
        json!({ "name": "scope", "in": "query", "schema": refer("Word"),
                           "description": "The scope of the sources; `user` when left out." })
    };
    let id = json!({ "name": "source_id", "in": "query", "required": true,
                     "schema": { "type": "string", "minLength": 1 } });
    let endpoint = |method: &str, operation: Value| {
        json!({
            "parameters": [{ "name": "workspace_id", "in": "path", "required": true, "schema": refer("WorkspaceId") }],
            method: operation,
        })
    };
    json!({
        "/data/{workspace_id}/connect": endpoint("post", json!({
            "operationId": "connect",
            "summary": "Connect data sources",
            "description": "The good sources of a call are connected together, the others are named in `errors`. \
                            A name that is taken gets the new definition and keeps its id, or is refused with 409 \
                            when the platform was started so.",
            "requestBody": body("ConnectRequest"),
            "responses": responses(&[(200, "Connected"), (409, "Conflict"), (422, "NotConnected")], BODY,
                                   &linked("/data/connected_sources/0/id")),
        })),
        "/data/{workspace_id}/list": endpoint("get", json!({
            "operationId": "list",
            "summary": "List data sources",
            "description": "All sources of the workspace and scope, by name; secrets are shown as `***`.",
            "parameters": [scope()],
            "responses": responses(&[(200, "Listed"), (422, "Refused")], QUERY, &json!({})),
        })),
        "/data/{workspace_id}/sync": endpoint("post", json!({
            "operationId": "sync",
            "summary": "Sync data sources",
            "description": "Reads the named sources, or all, into the platform's storage. What fails keeps the rows \
                            it had and does not keep the others from it.",
            "requestBody": body("SyncRequest"),
            "responses": responses(&[(200, "Synced"), (404, "NotSynced"), (422, "Refused")], BODY, &json!({})),
        })),
        "/data/{workspace_id}/cleanup": endpoint("post", json!({
            "operationId": "cleanup",
            "summary": "Remove data sources",
            "description": "Removes the named sources, or all, with their rows. What is gone already is no error.",
            "requestBody": body("CleanupRequest"),
            "responses": responses(&[(200, "CleanedUp"), (422, "Refused")], BODY, &json!({})),
        })),
        "/data/{workspace_id}/test-connection": endpoint("post", json!({
            "operationId": "test-connection",
            "summary": "Test a connection",
            "description": "Really connects and reads something. A test that failed is answered with 200 and \
                            `\"status\": \"error\"`.",
            "requestBody": body("TestRequest"),
            "responses": responses(&[(200, "Tested"), (422, "Refused")], BODY, &json!({})),
        })),
        "/data/{workspace_id}/schema": endpoint("get", json!({
            "operationId": "schema",
            "summary": "Tables and columns of a data source",
            "description": "As they are at the source now. A source that cannot be read is answered with 200 and \
                            `\"status\": \"error\"`.",
            "parameters": [id, scope()],
            "responses": responses(&[(200, "Described"), (404, "Refused"), (422, "Refused")], QUERY, &json!({})),
        })),
    })
}

/// Possible responses of every request, and of those with a body.
const QUERY: &[(u16, &str)] =
    &[(400, "Refused"), (401, "Refused"), (405, "Refused"), (500, "Refused"), (503, "Refused")];
const BODY: &[(u16, &str)] = &[
    (400, "Refused"),
    (401, "Refused"),
    (405, "Refused"),
    (408, "Refused"),
    (413, "Refused"),
    (500, "Refused"),
    (503, "Refused"),
];

fn responses(own: &[(u16, &str)], usual: &[(u16, &str)], links: &Value) -> Value {
    let mut responses = Map::new();
    for (code, schema) in own.iter().chain(usual) {
        let mut response = json!({
            "description": meaning(*code),
            "content": { "application/json": { "schema": refer(schema) } },
        });
        if *code == 200 && links.as_object().is_some_and(|links| !links.is_empty()) {
            response["links"] = links.clone();
        }
        responses.insert(code.to_string(), response);
    }
    responses.into()
}

fn meaning(code: u16) -> &'static str {
    match code {
        200 => "Carried out; `status` contains the result",
        400 => "The body is not JSON, or the path or the query makes no sense",
        401 => "The bearer token is missing or wrong",
        404 => "No source has this id, or none of these",
        405 => "Another method is meant; `Allow` names it",
        408 => "The body did not come in time",
        409 => "A name is taken, and taken names are refused",
        413 => "The body is too large",
        422 => "Invalid fields; the message names them",
        503 => "Too many calls at one time; come again after `Retry-After`",
        _ => "The platform failed",
    }
}

/// Links from a source to its sync, schema and cleanup.
fn linked(pointer: &str) -> Value {
    let id = format!("$response.body#{pointer}");
    let workspace = ("workspace_id", "$request.path.workspace_id");
    let by_body = |operation: &str| {
        json!({ "operationId": operation, "parameters": { workspace.0: workspace.1 },
                "requestBody": { "source_ids": [id] } })
    };
    json!({
        "schema": { "operationId": "schema", "parameters": { workspace.0: workspace.1, "source_id": id } },
        "sync": by_body("sync"),
        "cleanup": by_body("cleanup"),
    })
}

fn body(schema: &str) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": refer(schema) } } })
}

fn refer(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// Schema of an object with exactly these properties.
///
/// Those in `optional` may be missing.
fn object(properties: &Value, optional: &[&str]) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    let required: Vec<_> = required.into_iter().filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn envelope(statuses: &[&str], data: &Value) -> Value {
    object(&json!({ "status": { "enum": statuses }, "message": { "type": "string" }, "data": data }), &[])
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn list_of(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn answers() -> Map<String, Value> {
    let moment = || json!({ "type": "string", "format": "date-time" });
    let optional_text = || json!({ "type": ["string", "null"] });
    let refused = list_of(&object(&json!({ "name": optional_text(), "message": text() }), &[]));
    let connected = object(
        &json!({ "id": text(), "source_id": text(), "name": text(), "type": text(), "status": { "const": "connected" } }),
        &[],
    );
    let last_sync = object(
        &json!({
            "started_at": moment(), "finished_at": moment(), "incremental": { "type": "boolean" },
            "status": { "enum": ["success", "error"] }, "records_processed": count(), "message": text(),
        }),
        &["message"],
    );
    let row = object(
        &json!({
            "id": text(), "name": text(), "type": text(), "scope": text(), "connection_config": { "type": "object" },
            "metadata": { "type": "object" }, "created_at": moment(), "updated_at": moment(),
            "last_sync": { "anyOf": [{ "type": "null" }, last_sync] },
        }),
        &[],
    );
    let synced = object(
        &json!({
            "records_processed": count(),
            "sources": list_of(&object(
                &json!({
                    "id": text(), "name": text(), "records_processed": count(), "rows_stored": count(),
                    "message": text(),
                }),
                &["message"],
            )),
            "errors": list_of(&object(
                &json!({ "id": text(), "name": optional_text(), "message": text() }), &[],
            )),
        }),
        &[],
    );
    let column = object(
        &json!({ "name": text(), "type": text(), "nullable": { "type": "boolean" }, "primary_key": { "type": "boolean" } }),
        &["nullable", "primary_key"],
    );
    let table = object(
        &json!({ "name": text(), "type": { "enum": ["table", "view"] }, "columns": list_of(&column) }),
        &[],
    );
    let described = object(&json!({ "source_id": text(), "name": text(), "tables": list_of(&table) }), &[]);
    let nothing = json!({ "type": "null" });
    let none = |errors: &Value| {
        object(&json!({ "connected_sources": { "type": "array", "maxItems": 0 }, "errors": errors }), &[])
    };
    let answers = json!({
        "Connected": envelope(&["success"], &object(
            &json!({ "connected_sources": list_of(&connected), "errors": refused }), &[],
        )),
        "NotConnected": envelope(&["error"], &json!({ "anyOf": [nothing, none(&refused)] })),
        "Conflict": envelope(&["conflict"], &none(&refused)),
        "Listed": envelope(&["success"], &list_of(&row)),
        "Synced": envelope(&["success", "error"], &synced),
        "NotSynced": envelope(&["error"], &synced),
        "CleanedUp": envelope(&["success"], &object(
            &json!({ "deleted_count": count(), "not_found": count() }), &[],
        )),
        "Tested": envelope(&["success", "error"], &object(&json!({ "type": text() }), &[])),
        "Described": { "anyOf": [envelope(&["success"], &described), envelope(&["error"], &nothing)] },
        "Refused": envelope(&["error"], &nothing),
    });
    let mut schemas = answers.as_object().cloned().unwrap_or_default();
    schemas.extend(requests());
    schemas
}

fn requests() -> Map<String, Value> {
    // Non-blank text without control characters.
    let word = r"[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*";
    let scope = json!({ "anyOf": [refer("Word"), { "type": "null" }], "default": "user" });
    let ids = json!({
        "type": ["array", "null"], "items": { "type": "string" },
        "description": "The sources that are meant; all of them when left out or empty.",
    });
    let options = json!({
        "type": ["object", "null"],
        "properties": {
            "incremental": { "type": ["boolean", "null"], "description": "Take only what is new." },
            "batch_size": { "type": ["integer", "null"], "minimum": 1,
                            "description": "Rows that are written together; 100,000 at most." },
            "cursor": { "anyOf": [refer("Word"), { "type": "null" }],
                        "description": "Column or field by which new records are found." },
        },
    });
    let requests = json!({
        "WorkspaceId": { "type": "string", "maxLength": MAX_NAME_LEN, "pattern": format!(r"^(?!(\.\.?|files)$){word}$") },
        "Word": { "type": "string", "maxLength": MAX_NAME_LEN, "pattern": format!("^{word}$") },
        "ConnectRequest": {
            "type": "object",
            "required": ["sources"],
            "properties": {
                "scope": scope,
                "sources": {
                    "type": "array", "minItems": 1, "contains": refer("Source"),
                    "items": { "anyOf": [refer("Source"), { "description": "Named in `errors`." }] },
                },
            },
        },
        "SyncRequest": {
            "type": "object",
            "properties": { "scope": scope, "source_ids": ids, "sync_options": options },
        },
        "CleanupRequest": { "type": "object", "properties": { "scope": scope, "source_ids": ids } },
        "TestRequest": {
            "type": "object",
            "required": ["source_config"],
            "properties": { "source_config": refer("SourceConfig") },
        },
    });
    requests.as_object().cloned().unwrap_or_default()
}
