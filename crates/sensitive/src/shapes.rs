//! Text forms that only secrets have, and forms that are never secrets.

use super::scan::NextByte;
use super::words::Words;
use Class::{Alnum, Dotted, Token, Upper, Word};
use std::ops::Range;

/// Prefix of a secret, with the minimum number and kind of characters after it.
struct SecretShape(&'static str, usize, Class);

/// Kind of the characters in a form.
#[derive(Clone, Copy)]
enum Class {
    Upper,
    Alnum,
    Word,
    Token,
    Dotted,
}

const SHAPES: [SecretShape; 47] = [
    SecretShape("AKIA", 16, Upper),
    SecretShape("ASIA", 16, Upper),
    SecretShape("ghp_", 20, Alnum),
    SecretShape("gho_", 20, Alnum),
    SecretShape("ghu_", 20, Alnum),
    SecretShape("ghs_", 20, Alnum),
    SecretShape("ghr_", 20, Alnum),
    SecretShape("github_pat_", 20, Word),
    SecretShape("glpat-", 10, Token),
    SecretShape("gldt-", 10, Token),
    SecretShape("glrt-", 10, Token),
    SecretShape("glsa_", 16, Word),
    SecretShape("xoxb-", 10, Token),
    SecretShape("xoxa-", 10, Token),
    SecretShape("xoxp-", 10, Token),
    SecretShape("xoxr-", 10, Token),
    SecretShape("xoxs-", 10, Token),
    SecretShape("xapp-", 10, Token),
    SecretShape("sk_live_", 10, Word),
    SecretShape("sk_test_", 10, Word),
    SecretShape("rk_live_", 10, Word),
    SecretShape("whsec_", 10, Token),
    SecretShape("sk-ant-", 10, Token),
    SecretShape("sk-proj-", 10, Token),
    SecretShape("sk-", 32, Alnum),
    SecretShape("AIza", 20, Token),
    SecretShape("ya29.", 16, Token),
    SecretShape("npm_", 16, Alnum),
    SecretShape("pypi-", 16, Token),
    SecretShape("dapi", 16, Alnum),
    SecretShape("dckr_pat_", 10, Token),
    SecretShape("dop_v1_", 16, Alnum),
    SecretShape("hvs.", 16, Token),
    SecretShape("hvb.", 16, Token),
    SecretShape("SG.", 20, Dotted),
    SecretShape("shpat_", 16, Alnum),
    SecretShape("shpss_", 16, Alnum),
    SecretShape("lin_api_", 16, Alnum),
    SecretShape("ATATT3", 16, Token),
    SecretShape("NRAK-", 16, Alnum),
    SecretShape("PMAK-", 16, Token),
    SecretShape("hf_", 20, Alnum),
    SecretShape("tskey-", 10, Token),
    SecretShape("rubygems_", 16, Alnum),
    SecretShape("AGE-SECRET-KEY-", 16, Upper),
    SecretShape("EAAC", 32, Alnum),
    SecretShape("eyJ", 20, Dotted),
];

/// Returns the byte ranges of all texts in one of these forms.
pub(super) fn shapes(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut scans = Scans::default();
    let mut past = 0;
    bytes.iter().enumerate().filter_map(move |(at, first)| {
        if at < past || !may_start_shape(*first) || at > 0 && bytes[at - 1].is_ascii_alphanumeric() {
            return None;
        }
        let found = SHAPES.iter().find_map(|SecretShape(start, least, class)| {
            bytes[at..].strip_prefix(start.as_bytes())?;
            let from = at + start.len();
            let end = scans.runs[*class as usize].at(bytes, from);
            let whole = match *start {
                "AKIA" | "ASIA" => end - from == *least,
                "eyJ" => scans.is_token_of_parts(bytes, from..end),
                _ => end - from >= *least && scans.digit.at(bytes, from) < end,
            };
            whole.then_some(at..end)
        })?;
        past = found.end;
        Some(found)
    })
}

/// Maximum number of parts in a signed or encrypted token.
const MAX_PARTS: usize = 5;

/// Remembered searches in one text.
struct Scans {
    /// For each [`Class`].
    runs: [NextByte; 5],
    digit: NextByte,
    /// For each part of a token, the dot after it.
    dots: [NextByte; MAX_PARTS],
}

impl Default for Scans {
    fn default() -> Self {
        Self {
            runs: [upper, alnum, word, token, dotted].map(|class| NextByte::new(class, false)),
            digit: NextByte::new(|byte| byte.is_ascii_digit(), true),
            dots: [(); MAX_PARTS].map(|()| NextByte::new(|byte| byte == b'.', true)),
        }
    }
}

impl Scans {
    /// Returns true if the range has at least three parts of some length, separated by dots.
    fn is_token_of_parts(&mut self, bytes: &[u8], range: Range<usize>) -> bool {
        let mut long_parts = 0;
        let mut from = range.start;
        for dot in &mut self.dots {
            let end = dot.at(bytes, from).min(range.end);
            long_parts += usize::from(end - from > 3);
            if end == range.end {
                break;
            }
            from = end + 1;
        }
        long_parts >= 3
    }
}

/// Returns true if a form begins with this byte.
pub(super) fn may_start_shape(byte: u8) -> bool {
    matches!(
        byte,
        b'A' | b'E' | b'N' | b'P' | b'S' | b'd' | b'e' | b'g' | b'h' | b'l' | b'n' | b'p' | b'r' | b's'..=b't' | b'w'..=b'y'
    )
}

/// Returns the byte ranges of the PEM private keys in the text.
pub(super) fn private_keys(text: &str) -> impl Iterator<Item = Range<usize>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut past = 0;
    text.match_indices(BEGIN).filter_map(move |(at, _)| {
        if at < past {
            return None;
        }
        let title = text[at + BEGIN.len()..].split("-----").next()?;
        let of_key = title.ends_with("PRIVATE KEY") || title.ends_with("PRIVATE KEY BLOCK");
        if title.len() > 40 || !of_key {
            return None;
        }
        past = text[at..].find("-----END").map_or(text.len(), |end| at + end);
        Some(at..past)
    })
}

/// Returns true for generated keys: letters and digits mixed in one long run.
pub(super) fn is_random(text: &str) -> bool {
    const LEAST: usize = 12;
    let usable = |byte: u8| token(byte) || b"+/=.~%:".contains(&byte);
    text.len() >= LEAST
        && text.bytes().all(usable)
        && text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| run.len() >= LEAST && mixed(run))
}

/// Returns true for a likely secret in a query's `key`, `sig` or `code`.
pub(super) fn is_random_in_query(text: &str) -> bool {
    text.len() >= 8 && mixed(text) && !text.contains('/')
}

/// Returns true for mixed letters and digits, except a word followed by a number.
fn mixed(text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    digits && letters > 1 && !is_numbered_word(text)
}

/// Returns true for a word in lower case, with or without a number after it.
pub(super) fn is_numbered_word(text: &str) -> bool {
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-')
}

/// Returns true for a numeric code, such as a PIN.
pub(super) fn is_code(text: &str) -> bool {
    (4..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true for ordinary values of a secret's key that are not secrets.
///
/// Examples: a path, the name of a resource, a plain word.
pub(super) fn is_ordinary(text: &str) -> bool {
    const MAX_WORD_LEN: usize = 32;
    let is_word = text.len() <= MAX_WORD_LEN
        && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b' '));
    is_word || is_path(text) || ["arn:", "urn:", "alias/", "projects/"].iter().any(|is| text.starts_with(is))
}

fn is_path(text: &str) -> bool {
    const BEGINS: [&str; 6] = ["/", "./", "../", "~/", "file:", "@/"];
    const ENDS: [&str; 14] = [
        ".pem", ".key", ".jks", ".p12", ".pfx", ".crt", ".cer", ".pub", ".ppk", ".json", ".txt", ".keytab",
        ".der", ".asc",
    ];
    let drive = text.as_bytes().get(1) == Some(&b':') && text.as_bytes().get(2) == Some(&b'\\');
    let plain = !text.contains([' ', '=', '\n', '?']);
    plain
        && (drive || BEGINS.iter().any(|is| text.starts_with(is)) || ENDS.iter().any(|is| text.ends_with(is)))
}

/// Returns true for an authentication method: `scram`, `SCRAM-SHA-256`, `oauth2`.
pub(super) fn is_method(text: &str) -> bool {
    const FAMILIES: Words = Words(
        "scram oauth sha md5 caching_sha2 x509 x- aws azure gcp google iam ldap kerberos saml mysql_native
        mongodb ed25519 hmac digest cram ntlm tls jwt s3v4 sigv4",
    );
    let lower = text.to_ascii_lowercase();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let of_family = || {
        let plain = |byte: u8| token(byte) || byte == b'.';
        text.len() <= 40
            && digits <= 4
            && text.bytes().all(plain)
            && FAMILIES.iter().any(|is| lower.starts_with(is))
    };
    text.len() < 6 || digits == 0 && is_ordinary(text) || of_family() || is_path(text) || text.contains("://")
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn token(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    token(byte) || byte == b'.'
}
