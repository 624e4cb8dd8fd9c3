//! Endpoints of both dialects by their paths, below any prefix.
//!
//! `data/WORKSPACE/ENDPOINT` is the contract; `data/ENDPOINT` and the other paths belong to the account that the
//! prefix names.

use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::definition::parse_name;
use super::response::ApiResponse;

/// The dialects that this platform speaks, in the header of every response.
pub(super) const DIALECTS: (&str, &str) = ("wellspring-dialects", "contract, account");

/// Name of the account of a path without `/jarvispy/ORGANIZATION/USER`.
const OWN_ACCOUNT: &str = ".";

/// An endpoint with the workspace or account that it concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// An endpoint of the contract.
    Workspace(String, WorkspaceEndpoint),
    /// An endpoint of the account dialect.
    Account(String, AccountEndpoint),
}

/// The endpoints of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkspaceEndpoint {
    List,
    Schema,
    Connect,
    Sync,
    Cleanup,
    TestConnection,
}

/// The endpoints of the account dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountEndpoint {
    List,
    Connect,
    Cleanup,
    InferSchema,
    Refresh,
    Preview,
    DemoSources,
    ListFiles,
    ListOntologies,
    SaveOntology,
    ExportOntology,
    McpMessages,
}

impl Route {
    pub(super) fn parse(path: &str) -> Result<Self, ApiResponse> {
        let parts: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let (prefix, area, word) = match parts.as_slice() {
            [prefix @ .., "api", "v1", "data", "files", word] => (prefix, Area::Files, *word),
            [.., "api", "v1", "data", workspace, word] => {
                let endpoint = WorkspaceEndpoint::parse(word).ok_or_else(not_found)?;
                return Ok(Self::Workspace(workspace_id(workspace)?, endpoint));
            }
            [prefix @ .., "api", "v1", "data", word] => (prefix, Area::Data, *word),
            [prefix @ .., "api", "v1", "ontologies", word] => (prefix, Area::Ontologies, *word),
            [prefix @ .., "mcp", word] => (prefix, Area::Mcp, *word),
            parts => {
                let start = parts.windows(2).position(|pair| pair == ["api", "v1"]);
                return Err(start.map_or_else(not_found, |start| not_served(&parts[start + 2..].join("/"))));
            }
        };
        let endpoint = AccountEndpoint::parse(area, word).ok_or_else(|| unknown(area, word))?;
        Ok(Self::Account(account(prefix)?, endpoint))
    }

    pub(super) fn method(&self) -> Method {
        match self {
            Self::Workspace(_, WorkspaceEndpoint::List | WorkspaceEndpoint::Schema)
            | Self::Account(
                _,
                AccountEndpoint::List
                | AccountEndpoint::DemoSources
                | AccountEndpoint::ListFiles
                | AccountEndpoint::ListOntologies,
            ) => Method::GET,
            _ => Method::POST,
        }
    }
}

/// The folder of an endpoint of the account dialect.
#[derive(Clone, Copy)]
enum Area {
    Data,
    Files,
    Ontologies,
    Mcp,
}

impl WorkspaceEndpoint {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "list" => Self::List,
            "schema" => Self::Schema,
            "connect" => Self::Connect,
            "sync" => Self::Sync,
            "cleanup" => Self::Cleanup,
            "test-connection" => Self::TestConnection,
            _ => return None,
        })
    }
}

impl AccountEndpoint {
    fn parse(area: Area, word: &str) -> Option<Self> {
        Some(match (area, word) {
            (Area::Data, "list") => Self::List,
            (Area::Data, "connect") => Self::Connect,
            (Area::Data, "cleanup") => Self::Cleanup,
            (Area::Data, "infer-schema") => Self::InferSchema,
            (Area::Data, "refresh") => Self::Refresh,
            (Area::Data, "preview") => Self::Preview,
            (Area::Data, "demo-sources") => Self::DemoSources,
            (Area::Files, "list") => Self::ListFiles,
            (Area::Ontologies, "list") => Self::ListOntologies,
            (Area::Ontologies, "save") => Self::SaveOntology,
            (Area::Ontologies, "export-ontology") => Self::ExportOntology,
            (Area::Mcp, "messages") => Self::McpMessages,
            _ => return None,
        })
    }
}

/// Returns the account that a prefix names.
fn account(prefix: &[&str]) -> Result<String, ApiResponse> {
    let [.., "jarvispy", organization, user] = prefix else { return Ok(OWN_ACCOUNT.to_owned()) };
    Ok(format!("{}/{}", name("organization", organization)?, name("user", user)?))
}

fn workspace_id(part: &str) -> Result<String, ApiResponse> {
    name("workspace_id", part)
}

/// Decodes and validates one segment of a path.
fn name(what: &str, part: &str) -> Result<String, ApiResponse> {
    let bad = |message: String| ApiResponse::refused(StatusCode::BAD_REQUEST, message);
    let name = percent_decode_str(part).decode_utf8().map_err(|_| bad(format!("\"{what}\" is not UTF-8")))?;
    if matches!(name.as_ref(), "." | "..") {
        return Err(bad(format!("\"{what}\" cannot be \"{name}\"")));
    }
    parse_name(what, &name).map_err(bad)
}

fn unknown(area: Area, word: &str) -> ApiResponse {
    match area {
        Area::Data if !matches!(word, "list-sheets" | "all-pairs-join") => not_found(),
        Area::Data => not_served(&format!("data/{word}")),
        Area::Files => not_served(&format!("data/files/{word}")),
        Area::Ontologies => not_served(&format!("ontologies/{word}")),
        Area::Mcp => not_found(),
    }
}

fn not_found() -> ApiResponse {
    ApiResponse::refused(StatusCode::NOT_FOUND, "there is no such endpoint")
}

/// Returns the response to calls of the vendor's clients that concern more than data sources.
fn not_served(endpoint: &str) -> ApiResponse {
    let message =
        format!("the local platform has no {endpoint}; /openapi.json lists the endpoints that it has");
    ApiResponse::refused(StatusCode::NOT_IMPLEMENTED, message)
}

#[cfg(test)]
mod tests {
    use super::{AccountEndpoint, Route, WorkspaceEndpoint};

    #[test]
    fn a_path_has_one_meaning_in_one_dialect() {
        let route = |path: &str| Route::parse(path).expect("a route");
        let own = |endpoint| Route::Account(".".into(), endpoint);
        assert_eq!(route("/api/v1/data/list"), own(AccountEndpoint::List));
        assert_eq!(route("/api/v1/data/files/list"), own(AccountEndpoint::ListFiles));
        assert_eq!(route("/any/api/v1/data/connect/"), own(AccountEndpoint::Connect));
        assert_eq!(route("/mcp/messages"), own(AccountEndpoint::McpMessages));
        let ana = |endpoint| Route::Account("acme/ana".into(), endpoint);
        assert_eq!(route("/jarvispy/acme/ana/api/v1/data/list"), ana(AccountEndpoint::List));
        assert_eq!(route("/jarvispy/acme/%61na/mcp/messages"), ana(AccountEndpoint::McpMessages));
        let workspace = |name: &str, endpoint| Route::Workspace(name.into(), endpoint);
        assert_eq!(route("/api/v1/data/ws/list"), workspace("ws", WorkspaceEndpoint::List));
        assert_eq!(
            route("/jarvispy/acme/ana/api/v1/data/list/connect"),
            workspace("list", WorkspaceEndpoint::Connect)
        );
        for unknown in
            ["/api/v1/data/ws/nothing", "/api/v1/concepts/p/list", "/jarvispy/../x/api/v1/data/list"]
        {
            assert!(Route::parse(unknown).is_err(), "{unknown}");
        }
    }
}
