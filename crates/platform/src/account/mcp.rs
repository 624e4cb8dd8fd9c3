//! `mcp/messages`: three tools over the rows of an account, by JSON-RPC.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{listed_rows, preview};
use crate::endpoints::on_storage;
use crate::platform_core::PlatformCore;
use crate::response::ApiResponse;

/// Version of the protocol that is spoken.
const PROTOCOL: &str = "2024-11-05";
/// Error codes of JSON-RPC.
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;

/// A tool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    List,
    Preview,
    Delete,
}

const TOOLS: [Tool; 3] = [Tool::List, Tool::Preview, Tool::Delete];

/// Code and message of a failed call.
type CallError = (i64, String);

/// Answers one message.
pub(super) async fn answer(core: &Arc<PlatformCore>, account: String, message: &Map<String, Value>) -> Value {
    let empty = Map::new();
    let params = message.get("params").and_then(Value::as_object).unwrap_or(&empty);
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    let result = match method {
        "initialize" => Ok(json!({
            "protocolVersion": PROTOCOL,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "wellspring-local-platform", "version": env!("CARGO_PKG_VERSION") },
            "instructions": "A local platform for tests, with the data sources of one account.",
        })),
        "ping" | "notifications/initialized" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": TOOLS.map(Tool::described) })),
        "tools/call" => call(core, account, params).await,
        _ => Err((METHOD_NOT_FOUND, "the local platform has no such method".to_owned())),
    };
    let id = message.get("id").unwrap_or(&Value::Null);
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::List => "list_data_sources",
            Self::Preview => "preview_data_source",
            Self::Delete => "delete_data_source",
        }
    }

    fn described(self) -> Value {
        let bind = json!({ "type": "string", "description": "The bind annotation of a listed data source" });
        let (description, properties, required) = match self {
            Self::List => ("List the connected data sources", json!({}), json!([])),
            Self::Preview => (
                "Read the first rows of a data source",
                json!({ "bind_annotation": bind, "limit": { "type": "integer", "minimum": 1 } }),
                json!(["bind_annotation"]),
            ),
            Self::Delete => {
                ("Disconnect a data source", json!({ "bind_annotation": bind }), json!(["bind_annotation"]))
            }
        };
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": self.name(), "description": description, "inputSchema": schema })
    }
}

async fn call(
    core: &Arc<PlatformCore>,
    account: String,
    params: &Map<String, Value>,
) -> Result<Value, CallError> {
    let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
    let tool = TOOLS.into_iter().find(|tool| tool.name() == name);
    let tool = tool.ok_or_else(|| (INVALID_PARAMS, "the local platform has no such tool".to_owned()))?;
    let empty = Map::new();
    let arguments = params.get("arguments").and_then(Value::as_object).unwrap_or(&empty);
    let failed = |response: ApiResponse| (INTERNAL_ERROR, response.into_message());
    let found = match tool {
        Tool::List => listed_rows(core, account).await.map_err(failed)?.into(),
        Tool::Preview => preview::preview(core, account, arguments)
            .await
            .and_then(ApiResponse::into_data)
            .map_err(failed)?,
        Tool::Delete => delete(core, account, arguments).await?,
    };
    Ok(json!({ "content": [{ "type": "text", "text": found.to_string() }] }))
}

async fn delete(
    core: &Arc<PlatformCore>,
    account: String,
    arguments: &Map<String, Value>,
) -> Result<Value, CallError> {
    let failed = |response: ApiResponse| (INTERNAL_ERROR, response.into_message());
    let annotation = arguments.get("bind_annotation").and_then(Value::as_str);
    let annotation =
        annotation.ok_or_else(|| (INVALID_PARAMS, "\"bind_annotation\" must be a text".to_owned()))?;
    let row = preview::with_bind(core, account.clone(), annotation.to_owned()).await.map_err(failed)?;
    let row = row.ok_or_else(|| {
        (INVALID_PARAMS, "no data source of this account has this bind annotation".to_owned())
    })?;
    let removed = on_storage(core, move |core| core.catalogue.remove_account_rows(&account, Some(&[row.id])));
    Ok(json!({ "deleted_count": removed.await.map_err(failed)? }))
}
