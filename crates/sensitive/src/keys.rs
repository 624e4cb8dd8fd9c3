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
struct KeyName(&'static str, Rank, WholeKey);

/// Position in which a suffix matches.
///
/// `End`: at the end of any key. `Word`: only as a separate word, so that `pass` does not match
/// `bypass`.
#[derive(PartialEq, Eq)]
enum WholeKey {
    End,
    Word,
}

use Rank::{Certain, Likely, Perhaps};
use WholeKey::{End, Word};

const A: &[KeyName] = &[KeyName("contrasena", Certain, End)];
const B: &[KeyName] = &[KeyName("keytab", Perhaps, Word)];
const D: &[KeyName] = &[
    KeyName("password", Certain, End),
    KeyName("passwd", Certain, End),
    KeyName("pwd", Certain, End),
    KeyName("totpseed", Likely, End),
    KeyName("otpseed", Likely, End),
];
const E: &[KeyName] = &[
    KeyName("passphrase", Certain, End),
    KeyName("passcode", Certain, End),
    KeyName("cookie", Likely, Word),
    KeyName("signature", Perhaps, Word),
    KeyName("motdepasse", Certain, End),
    KeyName("sharedaccesssignature", Certain, End),
];
const G: &[KeyName] = &[KeyName("sig", Perhaps, Word)];
const H: &[KeyName] = &[KeyName("auth", Perhaps, Word), KeyName("passwordhash", Likely, End)];
const K: &[KeyName] = &[KeyName("webhook", Perhaps, Word), KeyName("hook", Perhaps, Word)];
const L: &[KeyName] = &[
    KeyName("credential", Certain, End),
    KeyName("webhookurl", Likely, End),
    KeyName("hookurl", Likely, End),
];
const N: &[KeyName] = &[
    KeyName("token", Certain, End),
    KeyName("authorization", Certain, End),
    KeyName("authentication", Perhaps, Word),
    KeyName("pin", Perhaps, Word),
    KeyName("login", Perhaps, Word),
];
const O: &[KeyName] = &[KeyName("userinfo", Perhaps, End)];
const P: &[KeyName] = &[KeyName("otp", Perhaps, Word)];
const R: &[KeyName] = &[KeyName("bearer", Likely, Word)];
const S: &[KeyName] = &[
    KeyName("credentials", Certain, End),
    KeyName("creds", Certain, Word),
    KeyName("pass", Certain, Word),
    KeyName("dbpass", Certain, End),
    KeyName("userpass", Certain, End),
    KeyName("sqlpass", Certain, End),
    KeyName("smtppass", Certain, End),
    KeyName("mailpass", Certain, End),
    KeyName("ftppass", Certain, End),
    KeyName("ldappass", Certain, End),
    KeyName("sshpass", Certain, End),
    KeyName("pgpass", Certain, End),
    KeyName("proxypass", Certain, End),
    KeyName("passwords", Likely, Word),
    KeyName("secrets", Likely, Word),
    KeyName("apikeys", Likely, End),
    KeyName("accesskeys", Likely, End),
    KeyName("cookies", Likely, Word),
    KeyName("tokens", Perhaps, Word),
    KeyName("keys", Perhaps, Word),
    KeyName("sas", Perhaps, Word),
];
const T: &[KeyName] = &[
    KeyName("secret", Certain, End),
    KeyName("jwt", Likely, Word),
    KeyName("pat", Perhaps, Word),
    KeyName("passwort", Certain, End),
    KeyName("kennwort", Certain, End),
];
const W: &[KeyName] = &[KeyName("pw", Certain, Word)];
const X: &[KeyName] = &[KeyName("pfx", Perhaps, Word)];
const Y: &[KeyName] = &[
    KeyName("apikey", Certain, End),
    KeyName("accesskey", Certain, End),
    KeyName("privatekey", Certain, End),
    KeyName("secretkey", Certain, End),
    KeyName("accountkey", Likely, End),
    KeyName("storagekey", Likely, End),
    KeyName("sharedkey", Likely, End),
    KeyName("subscriptionkey", Likely, End),
    KeyName("encryptionkey", Likely, End),
    KeyName("decryptionkey", Likely, End),
    KeyName("signingkey", Likely, End),
    KeyName("consumerkey", Likely, End),
    KeyName("masterkey", Likely, End),
    KeyName("sshkey", Likely, End),
    KeyName("hmackey", Likely, End),
    KeyName("aeskey", Likely, End),
    KeyName("rsakey", Likely, End),
    KeyName("jwtkey", Likely, End),
    KeyName("saskey", Likely, End),
    KeyName("authkey", Likely, End),
    KeyName("appkey", Likely, End),
    KeyName("applicationkey", Likely, End),
    KeyName("licensekey", Likely, End),
    KeyName("sessionkey", Likely, End),
    KeyName("functionkey", Likely, End),
    KeyName("functionskey", Likely, End),
    KeyName("ingestionkey", Likely, End),
    KeyName("integrationkey", Likely, End),
    KeyName("deploykey", Likely, End),
    KeyName("adminkey", Likely, End),
    KeyName("writekey", Likely, End),
    KeyName("securitykey", Likely, End),
    KeyName("webhookkey", Likely, End),
    KeyName("key", Perhaps, Word),
];

/// Suffix words that do not change the meaning: `password_base64`, `DB_PASS_2`.
const QUALIFIERS: [&str; 20] = [
    "content",
    "contents",
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
    // Hadoop puts the account after the name: `fs.azure.account.key.ACCOUNT.dfs.core.windows.net`.
    if key.contains(".account.key.") {
        return Some(Certain);
    }
    let of_whole = ranked(key);
    of_whole.or_else(|| {
        let rest = without_qualifier(key)?;
        // A key that consists only of `old` or `2` has no rank.
        ranked(rest).or_else(|| ranked(without_qualifier(rest)?))
    })
}

fn ranked(key: &str) -> Option<Rank> {
    let names = match key.as_bytes().last()?.to_ascii_lowercase() {
        b'a' => A,
        b'b' => B,
        b'd' => D,
        b'e' => E,
        b'g' => G,
        b'h' => H,
        b'k' => K,
        b'l' => L,
        b'n' => N,
        b'o' => O,
        b'p' => P,
        b'r' => R,
        b's' => S,
        b't' => T,
        b'w' => W,
        b'x' => X,
        b'y' => Y,
        _ => return None,
    };
    if ends(key, "publickey", false) {
        return None;
    }
    names
        .iter()
        .find(|KeyName(name, _, whole)| ends(key, name, *whole == Word))
        .map(|KeyName(_, rank, _)| *rank)
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
    !word || at == 0 || is_word_boundary(bytes[at - 1], bytes[at])
}

/// Returns true at a word boundary: `db_pass`, `dbPass`, `db2pass`.
fn is_word_boundary(before: u8, first: u8) -> bool {
    !before.is_ascii_alphabetic() || before.is_ascii_lowercase() && first.is_ascii_uppercase()
}

/// Removes the last word or number of the key if it is a qualifier.
fn without_qualifier(key: &str) -> Option<&str> {
    let bytes = key.as_bytes();
    let mut start = key.len();
    while start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        start -= 1;
        if start > 0 && is_word_boundary(bytes[start - 1], bytes[start]) && !bytes[start].is_ascii_digit() {
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
        if start > 0 && is_word_boundary(bytes[start - 1], bytes[start]) {
            break;
        }
    }
    key[start..].to_ascii_lowercase()
}
