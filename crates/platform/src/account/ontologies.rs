//! Ontologies, of which only id, name and description are kept; enough for clients that create one first.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::rows::Ontology;
use crate::definition::parse_name;
use crate::endpoints::on_storage;
use crate::platform_core::PlatformCore;
use crate::response::ApiResponse;

pub(super) async fn list(core: &Arc<PlatformCore>, account: String) -> Result<ApiResponse, ApiResponse> {
    let ontologies = on_storage(core, move |core| core.catalogue.ontologies(&account)).await?;
    let shown: Vec<_> = ontologies.iter().map(shown).collect();
    Ok(ApiResponse::success(format!("{} ontologies", shown.len()), shown.into()))
}

/// Creates the ontology in `project`, or changes it if it has an id.
pub(super) async fn save(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let Some(Value::Object(project)) = fields.get("project") else {
        return Err(ApiResponse::unprocessable("\"project\" must be an object"));
    };
    let name = parse_name("project.name", text(project, "name")?.unwrap_or_default());
    let name = name.map_err(ApiResponse::unprocessable)?;
    let (id, description) = (text(project, "id")?, text(project, "description")?);
    let (id, description) = (id.map(str::to_owned), description.map(str::to_owned));
    let saved = on_storage(core, move |core| {
        core.catalogue.save_ontology(&account, id.as_deref(), &name, description.as_deref())
    });
    let id = saved.await?.ok_or_else(no_ontology)?;
    Ok(ApiResponse::success("the ontology is saved", json!({ "ontology_id": id })))
}

/// Returns the tables of an ontology, of which only the one with its name has a row.
pub(super) async fn export(
    core: &Arc<PlatformCore>,
    account: String,
    fields: &Map<String, Value>,
) -> Result<ApiResponse, ApiResponse> {
    let id = text(fields, "project_id")?;
    let id = id.ok_or_else(|| ApiResponse::unprocessable("\"project_id\" is missing"))?.to_owned();
    let ontologies = on_storage(core, move |core| core.catalogue.ontologies(&account)).await?;
    let found = ontologies.iter().find(|ontology| ontology.id == id).ok_or_else(no_ontology)?;
    let tables = json!({ "tables": { "ontologies_local": { "data": [shown(found)] } } });
    Ok(ApiResponse::success("exported the ontology", tables))
}

fn shown(ontology: &Ontology) -> Value {
    json!({ "id": ontology.id, "name": ontology.name, "description": ontology.description })
}

/// Returns a text, if the field exists.
fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<Option<&'f str>, ApiResponse> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiResponse::unprocessable(format!("\"{name}\" must be a text"))),
    }
}

fn no_ontology() -> ApiResponse {
    ApiResponse::refused(StatusCode::NOT_FOUND, "there is no ontology with this id in this account")
}
