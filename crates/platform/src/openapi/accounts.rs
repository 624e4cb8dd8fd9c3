//! The account dialect in the description.
//!
//! Fields that are answered with 501 are left out.

use serde_json::{Map, Value, json};

use super::{BODY, QUERY, body, count, envelope, list_of, object, refer, responses, text};

pub(super) fn paths() -> Value {
    let post = |id: &str, summary: &str, description: &str, request: &str, own: &[(u16, &str)]| {
        json!({ "post": {
            "operationId": id,
            "summary": summary,
            "description": description,
            "requestBody": body(request),
            "responses": responses(own, BODY, &json!({})),
        } })
    };
    let get = |id: &str, summary: &str, answer: &str| {
        json!({ "get": {
            "operationId": id,
            "summary": summary,
            "responses": responses(&[(200, answer)], QUERY, &json!({})),
        } })
    };
    let refused = (422, "Refused");
    let mut messages = post(
        "account-mcp",
        "Use the data sources as tools",
        "One message of the Model Context Protocol by JSON-RPC: `initialize`, `tools/list` and `tools/call`.",
        "Message",
        &[(200, "Message"), refused],
    );
    messages["servers"] = json!([{ "url": "/" }]);
    json!({
        "/data/list": get("account-list", "List the data sources of the account", "AccountRows"),
        "/data/connect": post(
            "account-connect",
            "Connect a database to the account",
            "Connects, and adds a row for each of `tables`, or for every table. A connection that fails is a success \
             with `connectionStatus` false. `query`, `catalog`, `selectedColumns` and `ignoreColumns` are answered \
             with 501.",
            "DatabaseRequest",
            &[(200, "AccountConnected"), (409, "AccountConflict"), refused],
        ),
        "/data/cleanup": post(
            "account-cleanup",
            "Remove data sources of the account",
            "Removes the named rows, or all if `source_ids` is null or missing. What is gone already is no error.",
            "AccountCleanupRequest",
            &[(200, "AccountCleanedUp"), refused],
        ),
        "/data/infer-schema": post(
            "account-infer-schema",
            "Annotations of a database's tables",
            "Connects and stores nothing.",
            "InferRequest",
            &[(200, "Inferred"), refused],
        ),
        "/data/refresh": post(
            "account-refresh",
            "Connect to every data source of the account again",
            "Removes the rows whose file cannot be read, and names all that failed.",
            "Anything",
            &[(200, "Refreshed"), refused],
        ),
        "/data/preview": post(
            "account-preview",
            "First rows of a data source",
            "Reads a table of the list, named by its bind annotation.",
            "PreviewRequest",
            &[(200, "Previewed"), (404, "Refused"), refused],
        ),
        "/data/demo-sources": get("account-demo-sources", "List the demo sources: none", "Nothing"),
        "/data/files/list": get("account-files", "List uploaded files: none", "Nothing"),
        "/ontologies/list": get("account-ontologies", "List the ontologies, which have only a name", "Ontologies"),
        "/ontologies/save": post(
            "account-save-ontology",
            "Create or rename an ontology",
            "Keeps name and description only.",
            "OntologyRequest",
            &[(200, "OntologySaved"), (404, "Refused"), refused],
        ),
        "/ontologies/export-ontology": post(
            "account-export-ontology",
            "Export an ontology",
            "Returns the table with its name; there are no others.",
            "ExportRequest",
            &[(200, "Exported"), (404, "Refused"), refused],
        ),
        "/mcp/messages": messages,
    })
}

pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = requests();
    schemas.extend(answers());
    schemas
}

fn requests() -> Map<String, Value> {
    let optional_text = || json!({ "type": ["string", "null"] });
    let texts = || json!({ "type": ["array", "null"], "items": { "type": "string", "minLength": 1 } });
    let database = json!({
        "type": "object",
        "required": ["databaseType"],
        "properties": {
            "databaseType": { "anyOf": [
                { "enum": ["postgresql", "mysql", "mariadb", "sqlite", "csv", "tsv", "json", "parquet", "api"] },
                refer("Word"),
            ] },
            "host": optional_text(),
            "port": { "type": "integer", "minimum": 0, "maximum": 65535, "description": "0 for the usual port." },
            "databaseName": optional_text(),
            "schema": optional_text(),
            "username": optional_text(),
            "password": optional_text(),
            "tables": texts(),
            "ignoreTables": texts(),
            "url": optional_text(),
            "options": { "type": ["object", "null"] },
        },
    });
    let flag = || json!({ "type": ["boolean", "null"] });
    let number = || json!({ "type": ["integer", "null"], "minimum": 0 });
    let project = json!({
        "type": "object",
        "required": ["name"],
        "properties": { "id": optional_text(), "name": refer("Word"), "description": optional_text() },
    });
    let requests = json!({
        "Database": database,
        "DatabaseRequest": {
            "type": "object", "required": ["database"], "properties": { "database": refer("Database") },
        },
        "InferRequest": {
            "type": "object",
            "required": ["database"],
            "properties": { "database": refer("Database"), "addBind": flag(), "addModel": flag() },
        },
        "AccountCleanupRequest": {
            "type": "object",
            "properties": {
                "source_ids": {
                    "type": ["array", "null"], "items": { "type": ["string", "number"] },
                    "description": "The rows that are meant; all of them when null or left out.",
                },
            },
        },
        "PreviewRequest": {
            "type": "object",
            "required": ["bind_annotation"],
            "properties": {
                "bind_annotation": { "type": "string" }, "limit": number(), "page": number(), "page_size": number(),
            },
        },
        "OntologyRequest": { "type": "object", "required": ["project"], "properties": { "project": project } },
        "ExportRequest": {
            "type": "object", "required": ["project_id"], "properties": { "project_id": { "type": "string" } },
        },
        "Anything": { "type": "object" },
        "Message": { "type": "object" },
    });
    requests.as_object().cloned().unwrap_or_default()
}

fn answers() -> Map<String, Value> {
    let row = object(
        &json!({
            "id": text(), "datasource_type": text(), "host": text(), "port": text(), "database_name": text(),
            "schema_name": text(), "table_name": text(), "predicate_placeholder": text(), "bind_annotation": text(),
        }),
        &[],
    );
    let failed = object(
        &json!({ "id": text(), "datasource_type": text(), "host": text(), "table_name": text(), "error": text() }),
        &[],
    );
    let mut refreshed = envelope(&["success"], &list_of(&refer("AccountRow")));
    refreshed["properties"]["failed_datasources"] = list_of(&failed);
    let nothing = json!({ "type": "null" });
    let ontology =
        object(&json!({ "id": text(), "name": text(), "description": { "type": ["string", "null"] } }), &[]);
    let inferred = object(&json!({ "binds": list_of(&text()), "models": list_of(&text()) }), &[]);
    let previewed = object(&json!({ "rows": list_of(&json!({ "type": "object" })), "page": count() }), &[]);
    let either =
        |data: &Value| json!({ "anyOf": [envelope(&["success"], data), envelope(&["error"], &nothing)] });
    let answers = json!({
        "AccountRow": row,
        "AccountRows": envelope(&["success"], &list_of(&refer("AccountRow"))),
        "AccountConnected": envelope(&["success"], &object(
            &json!({
                "connectionStatus": { "type": "boolean" }, "errorMessage": { "type": ["string", "null"] },
                "sources": list_of(&refer("AccountRow")),
            }),
            &[],
        )),
        "AccountConflict": envelope(&["conflict"], &nothing),
        "AccountCleanedUp": envelope(&["success"], &object(&json!({ "deleted_count": count() }), &[])),
        "Inferred": either(&inferred),
        "Refreshed": refreshed,
        "Previewed": either(&previewed),
        "Nothing": envelope(&["success"], &json!({ "type": "array", "maxItems": 0 })),
        "Ontologies": envelope(&["success"], &list_of(&ontology)),
        "OntologySaved": envelope(&["success"], &object(&json!({ "ontology_id": text() }), &[])),
        "Exported": envelope(&["success"], &object(&json!({ "tables": { "type": "object" } }), &[])),
    });
    answers.as_object().cloned().unwrap_or_default()
}
