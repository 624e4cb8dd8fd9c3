//! A source with its secrets in place, on its way to the platform and nowhere else.

use super::SourceName;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// A source ready to be sent. Its config cannot be printed or serialised by accident; it is wiped
/// from memory when dropped as far as `serde_json` permits.
pub struct ResolvedSource {
    name: SourceName,
    kind: String,
    connection_config: SecretBox<Exposed>,
    metadata: serde_json::Map<String, serde_json::Value>,
    secrets: Vec<SecretString>,
}

/// `connection_config` with secrets in it.
struct Exposed(serde_json::Value);

impl secrecy::zeroize::Zeroize for Exposed {
    fn zeroize(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites every text in `value`; keys and numbers stay.
pub(crate) fn wipe(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => secrecy::zeroize::Zeroize::zeroize(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(wipe),
        serde_json::Value::Object(entries) => entries.values_mut().for_each(wipe),
        _ => {}
    }
}

impl ResolvedSource {
    /// Joins the parts. `metadata` carries our stamp where one is sent.
    #[must_use]
    pub fn new(
        name: SourceName,
        kind: String,
        connection_config: serde_json::Value,
        metadata: serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        let connection_config = SecretBox::new(Box::new(Exposed(connection_config)));
        Self { name, kind, connection_config, metadata, secrets: Vec::new() }
    }

    /// The same source, told which of its texts are secrets: what each reference resolved to. A
    /// platform's message that repeats one of them is not shown.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<SecretString>) -> Self {
        Self { secrets, ..self }
    }

    /// What each reference resolved to, as far as it was told.
    #[must_use]
    pub fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }

    /// The contract's `name`.
    #[must_use]
    pub fn name(&self) -> &SourceName {
        &self.name
    }

    /// The contract's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The contract's `metadata`.
    #[must_use]
    pub fn metadata(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.metadata
    }

    /// The contract's `connection_config`, secrets in place. For the body of a request only.
    #[must_use]
    pub fn expose_connection_config(&self) -> &serde_json::Value {
        &self.connection_config.expose_secret().0
    }
}
