//! Text forms that only secrets have, and forms that are never secrets.

use std::ops::Range;

/// Prefix of a secret, with the minimum number and kind of characters after it.
struct SecretShape(&'static str, usize, fn(u8) -> bool);

const SHAPES: [SecretShape; 47] = [
    SecretShape("AKIA", 16, upper),
    SecretShape("ASIA", 16, upper),
    SecretShape("ghp_", 20, alnum),
    SecretShape("gho_", 20, alnum),
    SecretShape("ghu_", 20, alnum),
    SecretShape("ghs_", 20, alnum),
    SecretShape("ghr_", 20, alnum),
    SecretShape("github_pat_", 20, word),
    SecretShape("glpat-", 10, token),
    SecretShape("gldt-", 10, token),
    SecretShape("glrt-", 10, token),
    SecretShape("glsa_", 16, word),
    SecretShape("xoxb-", 10, token),
    SecretShape("xoxa-", 10, token),
    SecretShape("xoxp-", 10, token),
    SecretShape("xoxr-", 10, token),
    SecretShape("xoxs-", 10, token),
    SecretShape("xapp-", 10, token),
    SecretShape("sk_live_", 10, word),
    SecretShape("sk_test_", 10, word),
    SecretShape("rk_live_", 10, word),
    SecretShape("whsec_", 10, token),
    SecretShape("sk-ant-", 10, token),
    SecretShape("sk-proj-", 10, token),
    SecretShape("sk-", 32, alnum),
    SecretShape("AIza", 20, token),
    SecretShape("ya29.", 16, token),
    SecretShape("npm_", 16, alnum),
    SecretShape("pypi-", 16, token),
    SecretShape("dapi", 16, alnum),
    SecretShape("dckr_pat_", 10, token),
    SecretShape("dop_v1_", 16, alnum),
    SecretShape("hvs.", 16, token),
    SecretShape("hvb.", 16, token),
    SecretShape("SG.", 20, dotted),
    SecretShape("shpat_", 16, alnum),
    SecretShape("shpss_", 16, alnum),
    SecretShape("lin_api_", 16, alnum),
    SecretShape("ATATT3", 16, token),
    SecretShape("NRAK-", 16, alnum),
    SecretShape("PMAK-", 16, token),
    SecretShape("hf_", 20, alnum),
    SecretShape("tskey-", 10, token),
    SecretShape("rubygems_", 16, alnum),
    SecretShape("AGE-SECRET-KEY-", 16, upper),
    SecretShape("EAAC", 32, alnum),
    SecretShape("eyJ", 20, dotted),
];

/// Returns the byte ranges of all texts in one of these forms.
pub(super) fn shapes(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut past = 0;
    bytes.iter().enumerate().filter_map(move |(at, first)| {
        if at < past || !may_start_shape(*first) || at > 0 && bytes[at - 1].is_ascii_alphanumeric() {
            return None;
        }
        let found = SHAPES.iter().find_map(|SecretShape(start, least, permitted)| {
            let rest = bytes[at..].strip_prefix(start.as_bytes())?;
            let length = rest.iter().take_while(|byte| permitted(**byte)).count();
            let part = &rest[..length];
            let whole = match *start {
                "AKIA" | "ASIA" => length == *least,
                "eyJ" => part.split(|byte| *byte == b'.').filter(|part| part.len() > 3).count() >= 3,
                _ => length >= *least && part.iter().any(u8::is_ascii_digit),
            };
            whole.then_some(at..at + start.len() + length)
        })?;
        past = found.end;
        Some(found)
    })
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
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    digits && letters > 1 && !named
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
    const FAMILIES: [&str; 26] = [
        "scram",
        "oauth",
        "sha",
        "md5",
        "caching_sha2",
        "x509",
        "x-",
        "aws",
        "azure",
        "gcp",
        "google",
        "iam",
        "ldap",
        "kerberos",
        "saml",
        "mysql_native",
        "mongodb",
        "ed25519",
        "hmac",
        "digest",
        "cram",
        "ntlm",
        "tls",
        "jwt",
        "s3v4",
        "sigv4",
    ];
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
