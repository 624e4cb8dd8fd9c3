//! Keyed fingerprints: reveal that a value changed, but not the value.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroize;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{fmt, io};

/// HMAC-SHA-256 of a value under a [`FingerprintKey`], truncated to 128 bits.
///
/// Displayed as hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

/// Fingerprint key, created once per state directory.
///
/// Without the key, a fingerprint does not help to guess a value.
pub struct FingerprintKey {
    id: String,
    /// HMAC state after the key and the common prefix; wiped on drop.
    hmac: Box<Hmac<Sha256>>,
    /// GMAC key for long texts that are not secret; wiped on drop.
    gmac: LessSafeKey,
}

impl FingerprintKey {
    /// Creates a key from 32 random bytes; its id is derived from them.
    #[must_use]
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let id =
            Sha256::new().chain_update(b"wellspring fingerprint key id\0").chain_update(bytes).finalize();
        let id = hex::encode(&id[..8]);
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let keyed = Hmac::<Sha256>::new_from_slice(&bytes).expect("HMAC takes a key of any length");
        let mut quick = Sha256::new().chain_update(b"wellspring text key\0").chain_update(bytes).finalize();
        #[expect(clippy::expect_used, reason = "AES-128 takes any 16 bytes")]
        let key = UnboundKey::new(&AES_128_GCM, &quick[..16]).expect("AES-128 takes any 16 bytes");
        quick.zeroize();
        bytes.zeroize();
        Self { id, hmac: Box::new(keyed.chain_update(b"wellspring value v1\0")), gmac: LessSafeKey::new(key) }
    }

    /// Returns the id of the key, which is stored with every fingerprint.
    ///
    /// A fingerprint under another key counts as *unknown*.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the fingerprint of a value as JSON.
    ///
    /// Equal values have equal fingerprints if their keys are sorted, as in `serde_json` values and sorted
    /// maps.
    #[must_use]
    pub fn fingerprint(&self, value: &(impl Serialize + ?Sized)) -> Fingerprint {
        let mut taking = HmacWriter(Hmac::clone(&self.hmac));
        // Keys are strings and hashing cannot fail, so neither can this.
        let _ = serde_json::to_writer(&mut taking, value);
        Fingerprint::from(taking.0)
    }

    /// Returns the fingerprint of a long text that is not secret.
    ///
    /// Takes a twelfth of the time (measured with 28 KB). Equal texts of one kind have equal fingerprints,
    /// and collisions cannot be found without the key. This is a GMAC; its nonce is the kind and so repeats
    /// for every text. That is safe because the authors of the texts never see the tag.
    #[must_use]
    pub fn fingerprint_text(&self, kind: [u8; NONCE_LEN], text: &[u8]) -> Fingerprint {
        let nonce = Nonce::assume_unique_for_key(kind);
        let tag = self.gmac.seal_in_place_separate_tag(nonce, Aad::from(text), &mut []);
        #[expect(clippy::expect_used, reason = "a text in memory is shorter than the cipher's bound")]
        let tag = tag.expect("a text in memory is shorter than the cipher's bound");
        let mut first = [0; 16];
        first.copy_from_slice(&tag.as_ref()[..16]);
        Fingerprint(first)
    }

    /// Like [`FingerprintKey::fingerprint`], faster for larger values that are not secret.
    #[must_use]
    pub fn fingerprint_public(&self, value: &(impl Serialize + ?Sized)) -> Fingerprint {
        let mut text = Vec::with_capacity(1024);
        // Cannot fail, as above.
        let _ = serde_json::to_writer(&mut text, value);
        Fingerprint::from(Hmac::clone(&self.hmac).chain_update(text))
    }
}

/// Hashes each piece as it is written, so that no secret is kept in memory.
struct HmacWriter(Hmac<Sha256>);

impl io::Write for HmacWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Hmac<Sha256>> for Fingerprint {
    fn from(mac: Hmac<Sha256>) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Self(first)
    }
}

impl Fingerprint {
    /// Parses the form written by [`Display`](fmt::Display).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns true if `text` is this fingerprint in hex.
    #[must_use]
    pub fn eq_hex(&self, text: &str) -> bool {
        Self::parse(text).as_ref() == Some(self)
    }

    fn with_hex<T>(&self, tell: impl FnOnce(&str) -> T) -> T {
        let mut text = [0; 32];
        // Cannot fail: the text has two digits for each byte.
        let _ = hex::encode_to_slice(self.0, &mut text);
        tell(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Display for Fingerprint {
    /// Writes 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_hex(|text| f.pad(text))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_hex(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Fingerprint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fingerprint")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Fingerprint, E> {
                Fingerprint::parse(text).ok_or_else(|| E::custom("not a fingerprint"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fingerprint_is_what_it_was_in_every_version() {
        let key = FingerprintKey::new([7; 32]);
        let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(b"wellspring value v1\0[1,{\"a\":\"b\"}]");
        let expected = hex::encode(&mac.finalize().into_bytes()[..16]);
        let fingerprint = key.fingerprint(&json!([1, {"a": "b"}]));
        assert_eq!(fingerprint.to_string(), expected);
        assert_eq!(key.fingerprint_public(&json!([1, {"a": "b"}])), fingerprint);
        assert_eq!(serde_json::to_value(fingerprint).unwrap(), json!(expected));
        assert_eq!(serde_json::from_value::<Fingerprint>(json!(expected)).unwrap(), fingerprint);
        assert!(fingerprint.eq_hex(&expected) && !fingerprint.eq_hex(&expected.to_uppercase()));
        assert_eq!(Fingerprint::parse("é"), None);
    }

    #[test]
    fn equal_texts_of_a_kind_and_key_agree_and_no_others() {
        let (key, other) = (FingerprintKey::new([7; 32]), FingerprintKey::new([8; 32]));
        let text = "a list of sources ".repeat(2_000).into_bytes();
        let was = key.fingerprint_text([0; NONCE_LEN], &text);
        assert_eq!(was, FingerprintKey::new([7; 32]).fingerprint_text([0; NONCE_LEN], &text));
        assert_ne!(was, other.fingerprint_text([0; NONCE_LEN], &text));
        assert_ne!(was, key.fingerprint_text([1; NONCE_LEN], &text));
        for at in [0, 17, 20_000, text.len() - 1] {
            let mut another = text.clone();
            another[at] ^= 1;
            assert_ne!(was, key.fingerprint_text([0; NONCE_LEN], &another), "{at}");
        }
        assert_ne!(was, key.fingerprint_text([0; NONCE_LEN], &text[1..]));
        assert_ne!(was, key.fingerprint_text([0; NONCE_LEN], &[&text[..], b"\0"].concat()));
        assert_ne!(key.fingerprint_text([0; NONCE_LEN], b""), key.fingerprint_text([0; NONCE_LEN], b"\0"));
    }
}
