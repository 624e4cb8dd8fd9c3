//! The names of keys that hold secrets.

use crate::words::{WordList, Words};
use std::sync::LazyLock;

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
struct KeyName {
    name: &'static str,
    rank: Rank,
    whole: WholeKey,
}

/// Position in which a suffix matches.
///
/// `End`: at the end of any key. `Word`: only as a separate word, so that `pass` does not match
/// `bypass`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WholeKey {
    End,
    Word,
}

use Rank::{Certain, Likely, Perhaps};
use WholeKey::{End, Word};

/// The names of secrets.
const NAMES: [(Rank, WholeKey, Words); 6] = [
    (
        Certain,
        End,
        Words(
            "contrasena password passwd pwd passphrase passcode motdepasse sharedaccesssignature credential
            token authorization credentials dbpass userpass sqlpass smtppass mailpass ftppass ldappass
            sshpass pgpass proxypass secret passwort kennwort apikey accesskey privatekey secretkey",
        ),
    ),
    (Certain, Word, Words("creds pass pw")),
    (
        Likely,
        End,
        Words(
            "totpseed otpseed passwordhash webhookurl hookurl apikeys accesskeys accountkey storagekey
            sharedkey subscriptionkey encryptionkey decryptionkey signingkey consumerkey masterkey sshkey
            hmackey aeskey rsakey jwtkey saskey authkey appkey applicationkey licensekey sessionkey
            functionkey functionskey ingestionkey integrationkey deploykey adminkey writekey securitykey
            webhookkey",
        ),
    ),
    (Likely, Word, Words("cookie bearer passwords secrets cookies jwt")),
    (Perhaps, End, Words("userinfo")),
    (
        Perhaps,
        Word,
        Words(
            "keytab signature sig auth webhook hook authentication pin login otp tokens keys sas pat pfx key",
        ),
    ),
];

/// [`NAMES`] by their last letter, the highest rank first.
static BY_LAST_LETTER: LazyLock<[Vec<KeyName>; 26]> = LazyLock::new(|| {
    let mut index = [const { Vec::new() }; 26];
    for (rank, whole, names) in NAMES {
        for name in names.iter() {
            let last = name.bytes().last().unwrap_or(b'a');
            index[usize::from(last - b'a')].push(KeyName { name, rank, whole });
        }
    }
    index
});

/// Suffix words that do not change the meaning: `password_base64`, `DB_PASS_2`.
static QUALIFIERS: WordList = LazyLock::new(|| {
    Words(
        "content contents value text string base64 b64 hex plain plaintext raw literal old new current previous
        primary secondary prod ro",
    )
    .iter()
    .collect()
});

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
    let last = key.as_bytes().last()?.to_ascii_lowercase();
    let names = BY_LAST_LETTER.get(usize::from(last.checked_sub(b'a')?))?;
    if ends(key, "publickey", false) {
        return None;
    }
    names.iter().find(|of| ends(key, of.name, of.whole == Word)).map(|of| of.rank)
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
