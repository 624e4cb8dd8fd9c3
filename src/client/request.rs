//! URLs and bodies of requests.

use crate::model::{ExposedConfig, Metadata, ResolvedSource, Scope, SourceId, SourceName, WorkspaceId};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Map, Value};

use super::base_url::BaseUrl;
use super::error::Endpoint;

/// Returns the URL of an endpoint.
///
/// Workspace id and query values are percent-encoded, so that no id can address another endpoint or
/// workspace.
pub(super) fn url(
    base: &BaseUrl,
    workspace: &WorkspaceId,
    endpoint: Endpoint,
    query: &[(&str, &str)],
) -> Url {
    let mut url = base.url().clone();
    let base_path = url.path().trim_end_matches('/').to_owned();
    let path = match endpoint {
        Endpoint::AccountList => "list".to_owned(),
        _ => format!("{}/{endpoint}", percent_encoded(workspace.as_str())),
    };
    url.set_path(&format!("{base_path}/api/v1/data/{path}"));
    let values: Vec<String> =
        query.iter().map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
    url.set_query(if values.is_empty() { None } else { Some(values.join("&")) }.as_deref());
    url
}

/// Encodes everything but letters, digits and `-._~` as `%XX`.
///
/// A URL library would silently drop tabs and line breaks, and so address something else.
pub(super) fn percent_encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

#[derive(Serialize)]
pub(super) struct ConnectBody<'a> {
    pub(super) scope: &'a Scope,
    pub(super) sources: Vec<SourceBody<'a>>,
}

/// One source of `connect`.
#[derive(Serialize)]
pub(super) struct SourceBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a SourceName,
    connection_config: ExposedConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

impl<'a> From<&'a ResolvedSource> for SourceBody<'a> {
    fn from(source: &'a ResolvedSource) -> Self {
        Self {
            kind: source.kind(),
            name: source.name(),
            connection_config: source.expose_connection_config(),
            metadata: source.metadata(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CleanupBody<'a> {
    pub(super) scope: &'a Scope,
    pub(super) source_ids: &'a [SourceId],
}

#[derive(Serialize)]
pub(super) struct SyncBody<'a> {
    pub(super) scope: &'a Scope,
    pub(super) source_ids: &'a [SourceId],
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) sync_options: &'a Map<String, Value>,
}

#[derive(Serialize)]
pub(super) struct TestConnectionBody<'a> {
    pub(super) source_config: SourceConfig<'a>,
}

#[derive(Serialize)]
pub(super) struct SourceConfig<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    connection_config: ExposedConfig<'a>,
}

impl<'a> From<&'a ResolvedSource> for SourceConfig<'a> {
    fn from(source: &'a ResolvedSource) -> Self {
        Self { kind: source.kind(), connection_config: source.expose_connection_config() }
    }
}

/// Body of a `test-connection` that only shows whether the endpoint exists.
///
/// Contains a type without a configuration, so that no secret is sent.
#[derive(Serialize)]
pub(super) struct ProbeConnectionTest<'a> {
    source_config: EmptyConfig<'a>,
}

#[derive(Serialize)]
struct EmptyConfig<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    connection_config: Map<String, Value>,
}

impl<'a> ProbeConnectionTest<'a> {
    pub(super) fn of_type(kind: &'a str) -> Self {
        Self { source_config: EmptyConfig { kind, connection_config: Map::new() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path_of(workspace: &str) -> String {
        let base = BaseUrl::parse("https://h/org/user").unwrap();
        let workspace = WorkspaceId::parse(workspace).unwrap();
        url(&base, &workspace, Endpoint::List, &[("scope", "a b&c")]).to_string()
    }

    #[test]
    fn a_workspace_id_is_one_segment_whatever_stands_in_it() {
        for (id, segment) in [
            ("ws_1c04de", "ws_1c04de"),
            ("a/b", "a%2Fb"),
            ("../x", "..%2Fx"),
            ("%2e%2e", "%252e%252e"),
            ("a?b#c", "a%3Fb%23c"),
            ("a\tb\nc", "a%09b%0Ac"),
            ("a\\b", "a%5Cb"),
            ("é", "%C3%A9"),
        ] {
            let expected = format!("https://h/org/user/api/v1/data/{segment}/list?scope=a%20b%26c");
            assert_eq!(path_of(id), expected, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn no_two_workspace_ids_share_a_path(a in ".{1,12}", b in ".{1,12}") {
            prop_assume!(a != b && ![".", ".."].contains(&&*a) && ![".", ".."].contains(&&*b));
            prop_assert_ne!(path_of(&a), path_of(&b));
            prop_assert_eq!(path_of(&a).matches('/').count(), 9);
        }
    }
}
