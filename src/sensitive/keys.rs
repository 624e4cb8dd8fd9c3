//! The names of keys that hold secrets.

/// Likelihood that the value of a key with this name is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A secret only if the value looks like one: `auth`, `key`.
    Perhaps,
    /// A secret unless the value is clearly something else: `signing_key`.
    Likely,
    /// Always a secret: `password`.
    Certain,
}

/// Suffix of a key's name, in lower case, letters only.
struct Name(&'static str, Rank, Whole);

/// Position in which a suffix matches.
///
/// `End`: at the end of any key. `Word`: only as a separate word, so that `pass` does not match
/// `bypass`.
#[derive(PartialEq, Eq)]
enum Whole {
    End,
    Word,
}

use Rank::{Certain, Likely, Perhaps};
use Whole::{End, Word};

const D: &[Name] = &[Name("password", Certain, End), Name("passwd", Certain, End), Name("pwd", Certain, End)];
const E: &[Name] = &[
    Name("passphrase", Certain, End),
    Name("passcode", Certain, End),
    Name("cookie", Likely, Word),
    Name("signature", Perhaps, Word),
    Name("sharedaccesssignature", Certain, End),
];
const G: &[Name] = &[Name("sig", Perhaps, Word)];
const H: &[Name] = &[Name("auth", Perhaps, Word)];
const K: &[Name] = &[Name("webhook", Perhaps, Word), Name("hook", Perhaps, Word)];
const L: &[Name] =
    &[Name("credential", Certain, End), Name("webhookurl", Likely, End), Name("hookurl", Likely, End)];
const N: &[Name] = &[
    Name("token", Certain, End),
    Name("authorization", Certain, End),
    Name("authentication", Perhaps, Word),
    Name("pin", Perhaps, Word),
];
const P: &[Name] = &[Name("otp", Perhaps, Word)];
const R: &[Name] = &[Name("bearer", Likely, Word)];
const S: &[Name] = &[
    Name("credentials", Certain, End),
    Name("creds", Certain, Word),
    Name("pass", Certain, Word),
    Name("dbpass", Certain, End),
    Name("userpass", Certain, End),
    Name("sqlpass", Certain, End),
    Name("smtppass", Certain, End),
    Name("mailpass", Certain, End),
    Name("ftppass", Certain, End),
    Name("ldappass", Certain, End),
    Name("sshpass", Certain, End),
    Name("pgpass", Certain, End),
    Name("proxypass", Certain, End),
    Name("passwords", Likely, Word),
    Name("secrets", Likely, Word),
    Name("apikeys", Likely, End),
    Name("accesskeys", Likely, End),
    Name("cookies", Likely, Word),
    Name("tokens", Perhaps, Word),
    Name("keys", Perhaps, Word),
    Name("sas", Perhaps, Word),
];
const T: &[Name] = &[Name("secret", Certain, End), Name("jwt", Likely, Word), Name("pat", Perhaps, Word)];
const Y: &[Name] = &[
    Name("apikey", Certain, End),
    Name("accesskey", Certain, End),
    Name("privatekey", Certain, End),
    Name("secretkey", Certain, End),
    Name("accountkey", Likely, End),
    Name("storagekey", Likely, End),
    Name("sharedkey", Likely, End),
    Name("subscriptionkey", Likely, End),
    Name("encryptionkey", Likely, End),
    Name("decryptionkey", Likely, End),
    Name("signingkey", Likely, End),
    Name("consumerkey", Likely, End),
    Name("masterkey", Likely, End),
    Name("sshkey", Likely, End),
    Name("hmackey", Likely, End),
    Name("aeskey", Likely, End),
    Name("rsakey", Likely, End),
    Name("jwtkey", Likely, End),
    Name("saskey", Likely, End),
    Name("authkey", Likely, End),
    Name("appkey", Likely, End),
    Name("applicationkey", Likely, End),
    Name("licensekey", Likely, End),
    Name("sessionkey", Likely, End),
    Name("functionkey", Likely, End),
    Name("functionskey", Likely, End),
    Name("ingestionkey", Likely, End),
    Name("integrationkey", Likely, End),
    Name("deploykey", Likely, End),
    Name("adminkey", Likely, End),
    Name("writekey", Likely, End),
    Name("securitykey", Likely, End),
    Name("webhookkey", Likely, End),
    Name("key", Perhaps, Word),
];

/// Suffix words that do not change the meaning: `password_base64`, `DB_PASS_2`.
const QUALIFIERS: [&str; 18] = [
    "value",
    "text",
    "string",
    "base64",
    "b64",
    "hex",
    "plain",
    "plaintext",
    "raw",
    "literal",
    "old",
    "new",
    "current",
    "previous",
    "primary",
    "secondary",
    "prod",
    "ro",
];

/// Returns the rank of a key's name; `None` for nearly every key.
#[must_use]
pub fn rank(key: &str) -> Option<Rank> {
    let key = key.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let of_whole = ranked(key);
    of_whole.or_else(|| {
        let rest = without_qualifier(key)?;
        // A key that consists only of `old` or `2` has no rank.
        ranked(rest).or_else(|| ranked(without_qualifier(rest)?))
    })
}

fn ranked(key: &str) -> Option<Rank> {
    let names = match key.as_bytes().last()?.to_ascii_lowercase() {
        b'd' => D,
        b'e' => E,
        b'g' => G,
        b'h' => H,
        b'k' => K,
        b'l' => L,
        b'n' => N,
        b'p' => P,
        b'r' => R,
        b's' => S,
        b't' => T,
        b'y' => Y,
        _ => return None,
    };
    if ends(key, "publickey", false) {
        return None;
    }
    names.iter().find(|Name(name, _, whole)| ends(key, name, *whole == Word)).map(|Name(_, rank, _)| *rank)
}

/// Returns true if the letters and digits of `key` end in `name`.
///
/// With `word`, the match must be a separate word.
fn ends(key: &str, name: &str, word: bool) -> bool {
    let bytes = key.as_bytes();
    let mut at = bytes.len();
    for wanted in name.bytes().rev() {
        loop {
            let Some(before) = at.checked_sub(1) else { return false };
            at = before;
            // Separators may occur between the letters of a long name, but not in a short word.
            if bytes[at].is_ascii_alphanumeric() || word {
                break;
            }
        }
        if bytes[at].to_ascii_lowercase() != wanted {
            return false;
        }
    }
    !word || at == 0 || begins_word(bytes[at - 1], bytes[at])
}

/// Returns true at a word boundary: `db_pass`, `dbPass`, `db2pass`.
fn begins_word(before: u8, first: u8) -> bool {
    !before.is_ascii_alphabetic() || before.is_ascii_lowercase() && first.is_ascii_uppercase()
}

/// Removes the last word or number of the key if it is a qualifier.
fn without_qualifier(key: &str) -> Option<&str> {
    let bytes = key.as_bytes();
    let mut start = key.len();
    while start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        start -= 1;
        if start > 0 && begins_word(bytes[start - 1], bytes[start]) && !bytes[start].is_ascii_digit() {
            break;
        }
    }
    let word = &key[start..];
    let digits = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = QUALIFIERS.iter().any(|known| word.eq_ignore_ascii_case(known));
    let cut = match known || digits.is_empty() {
        true => start,
        false if digits.len() < word.len() => start + digits.len(),
        false => return None,
    };
    let rest = key[..cut].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    (!rest.is_empty()).then_some(rest)
}

/// Returns the last word of a key without qualifiers, in lower case.
pub(super) fn last_word(key: &str) -> String {
    let mut key = key.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    while ranked(key).is_none() {
        match without_qualifier(key) {
            Some(rest) => key = rest,
            None => break,
        }
    }
    let bytes = key.as_bytes();
    let mut start = key.len();
    while start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        start -= 1;
        if start > 0 && begins_word(bytes[start - 1], bytes[start]) {
            break;
        }
    }
    key[start..].to_ascii_lowercase()
}
