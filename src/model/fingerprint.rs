//! Keyed fingerprints: they tell that a value changed without telling the value.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// HMAC-SHA-256 of a value under a [`FingerprintKey`], 128 bits as hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// The key, made once per state directory. Without it a fingerprint does not help to guess a value.
pub struct FingerprintKey {
    id: String,
    key: SecretBox<[u8; 32]>,
}

impl FingerprintKey {
    /// Takes 32 random bytes. The key's id is derived from them.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let id = hex(&Sha256::new()
            .chain_update(b"wellspring fingerprint key id\0")
            .chain_update(bytes)
            .finalize()[..8]);
        Self { id, key: SecretBox::new(Box::new(bytes)) }
    }

    /// Tells keys apart; stored beside every fingerprint. A fingerprint under another key is *unknown*.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The fingerprint of a JSON value. Object keys are sorted by `serde_json`, so equal values agree.
    #[must_use]
    pub fn of(&self, value: &serde_json::Value) -> Fingerprint {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).expect("HMAC takes a key of any length");
        mac.update(b"wellspring value v1\0");
        mac.update(value.to_string().as_bytes());
        Fingerprint(hex(&mac.finalize().into_bytes()[..16]))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| DIGITS[usize::from(half)]).collect()
}

impl Fingerprint {
    /// As hex.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
