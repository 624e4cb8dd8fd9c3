//! Tests of the Data API client against misbehaving platforms and networks.

mod answers;
mod requests;
mod secrecy;
mod wire;

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wellspring::client::{ApiReader, ApiWriter, Backoff, BaseUrl, ClientConfig, Token};
use wellspring::model::{
    ConfigValue, Definition, NonEmpty, ResolvedSource, Scope, SortedMap, SourceId, SourceName, WorkspaceId,
    WorkspaceRef,
};
use wellspring_testkit::Platform;

/// Returns settings with minimal retry delays.
fn settings(url: &str, token: &str) -> ClientConfig {
    let token: ::secrecy::SecretString = token.to_owned().into();
    with_token(url, Arc::new(move || Ok(token.clone())))
}

fn with_token(url: &str, token: Token) -> ClientConfig {
    ClientConfig {
        backoff: Backoff {
            base: Duration::from_micros(10),
            max_wait: Duration::from_micros(100),
            retries: 3,
            max_total_wait: Duration::from_secs(2),
        },
        requests_per_second: None,
        ..ClientConfig::new(BaseUrl::parse(url).unwrap(), token)
    }
}

fn writer(platform: &Platform) -> ApiWriter {
    writer_at(&platform.url(), platform)
}

/// Creates a writer for a URL that leads to `platform` indirectly.
fn writer_at(url: &str, platform: &Platform) -> ApiWriter {
    ApiWriter::new(&ApiReader::new(settings(url, &platform.token())).unwrap())
}

fn workspace_ref() -> WorkspaceRef {
    WorkspaceRef { workspace: workspace_id(), scope: Scope::default() }
}

fn workspace_id() -> WorkspaceId {
    WorkspaceId::parse("ws").unwrap()
}

fn source(name: &str, config: Value) -> ResolvedSource {
    described(name, config, serde_json::Map::new())
}

fn described(name: &str, config: Value, metadata: serde_json::Map<String, Value>) -> ResolvedSource {
    let Value::Object(config) = config else { panic!("an object") };
    let definition =
        Definition { kind: "database".into(), connection_config: table(config), metadata: metadata.into() };
    ResolvedSource::new(SourceName::parse(name).unwrap(), Arc::new(definition), Vec::new())
}

/// Converts a value without secrets to its declared form.
fn declared(value: Value) -> ConfigValue {
    match value {
        Value::Null => panic!("no file declares that"),
        Value::Bool(value) => ConfigValue::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => ConfigValue::Integer(number),
            None => ConfigValue::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => ConfigValue::String(text),
        Value::Array(items) => ConfigValue::Array(items.into_iter().map(declared).collect()),
        Value::Object(entries) => ConfigValue::Table(table(entries)),
    }
}

fn table(entries: serde_json::Map<String, Value>) -> SortedMap<ConfigValue> {
    entries.into_iter().map(|(key, value)| (key, declared(value))).collect()
}

fn id(value: Value) -> SourceId {
    SourceId::try_from(value).unwrap()
}

fn one(value: Value) -> NonEmpty<SourceId> {
    NonEmpty::one(id(value))
}

fn options() -> serde_json::Map<String, Value> {
    json!({"incremental": true}).as_object().unwrap().clone()
}
