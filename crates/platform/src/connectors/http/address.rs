//! URLs of the first page and of following pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use super::super::{ConfigError, ConfigFields, ReadError};

/// Characters encoded in parameter values: all but unreserved ones (RFC 3986).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Names such as `page[number]` and `$skip` stay as APIs document them.
const NAME: &AsciiSet = &VALUE.remove(b'[').remove(b']').remove(b'$').remove(b':').remove(b'@').remove(b'/');

/// Returns the configured URL; keeps the spelling of its query.
pub(super) fn address(fields: ConfigFields<'_>) -> Result<Url, ConfigError> {
    let base = fields
        .first_text(&["base_url", "url"])?
        .ok_or_else(|| ConfigError::new("\"base_url\" is missing: the address of the API"))?;
    let mut url = Url::parse(base)
        .map_err(|_| ConfigError::new("\"base_url\" is no address; it looks like https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(ConfigError::new("\"base_url\" must start with https:// or http://"));
    }
    url.set_fragment(None);
    if let Some(path) = fields.first_text(&["path", "endpoint"])? {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let joined = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
        if let Some(query) = query {
            let both = match url.query() {
                Some(first) if !first.is_empty() => format!("{first}&{query}"),
                _ => query.to_owned(),
            };
            url.set_query(Some(&both));
        }
    }
    Ok(url)
}

/// Sets a query parameter, replacing one of the same name.
///
/// The others keep their spelling: some servers distinguish `%20` from `+`, and `flag` from
/// `flag=`.
pub(super) fn set(url: &mut Url, name: &str, value: &str) {
    let own = format!("{}={}", utf8_percent_encode(name, NAME), utf8_percent_encode(value, VALUE));
    let query = url.query().unwrap_or_default();
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !is_named(pair, name)).collect();
    if query.is_empty() {
        pairs.clear();
    }
    pairs.push(&own);
    let query = pairs.join("&");
    url.set_query(Some(&query));
}

fn is_named(pair: &str, name: &str) -> bool {
    let written = pair.split('=').next().unwrap_or_default().replace('+', " ");
    percent_decode_str(&written).decode_utf8_lossy() == name
}

/// Resolves `link` on `page`, on the server of `base` and with its user.
pub(super) fn follow(page: &Url, base: &Url, link: &str) -> Result<Url, ReadError> {
    let mut url = page
        .join(link.trim())
        .map_err(|_| ReadError::new("the next page has no address that makes sense"))?;
    url.set_fragment(None);
    // APIs behind a TLS proxy often put http:// into their links.
    if base.scheme() == "https" && url.scheme() == "http" && url.host() == base.host() && url.port().is_none()
    {
        let _ = url.set_scheme("https");
        let _ = url.set_port(base.port());
    }
    if url.origin() != base.origin() {
        let origin = super::reasons::plain(&url.origin().ascii_serialization());
        return Err(ReadError::new(format!(
            "the next page is on another server ({origin}); credentials are not sent there"
        )));
    }
    let _ = url.set_username(base.username());
    let _ = url.set_password(base.password());
    Ok(url)
}

/// Returns the target of `rel="next"` in the `Link` headers.
pub(super) fn next_link<'h>(headers: impl Iterator<Item = &'h [u8]>) -> Option<String> {
    let lines: Vec<_> = headers.map(String::from_utf8_lossy).collect();
    let list = lines.join(", ");
    let mut rest = list.as_str();
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = unquoted(after, &[',']).unwrap_or(after.len());
        let mut params = &after[..end];
        rest = &after[end..];
        while !params.is_empty() {
            let end = unquoted(params, &[';']).unwrap_or(params.len());
            let is_next = params[..end].split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(target.to_owned());
            }
            params = params.get(end + 1..).unwrap_or_default();
        }
    }
    None
}

/// Returns the position of the first of these characters outside quotes.
fn unquoted(text: &str, wanted: &[char]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.find(|sign: char| {
        let found = !quoted && wanted.contains(&sign);
        quoted ^= sign == '"' && !escaped;
        escaped = sign == '\\' && quoted && !escaped;
        found
    })
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{follow, next_link, set};

    #[test]
    fn the_next_page_is_found_in_link_headers() {
        let check = |lines: &[&str], target: Option<&str>| {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(next_link(lines).as_deref(), target);
        };
        check(&["<https://a/?p=2>; rel=\"next\", <https://a/?p=9>; rel=\"last\""], Some("https://a/?p=2"));
        check(&["<https://a/?p=1>; rel=\"prev\", <https://a/?p=3>; rel=\"next\""], Some("https://a/?p=3"));
        check(&["<a>; title=\"x\"; rel=next"], Some("a"));
        check(&["<https://a/?p=9>; rel=\"last\""], None);
        check(&["<broken"], None);
        check(&["<a>; rel=self", "<b>; REL=\"next last\""], Some("b"));
        check(
            &["<a>; title=\"1, 2; rel=next <c>\"; rel=self, <b>; title=\"\\\", <c>\"; rel=next"],
            Some("b"),
        );
        check(&["<a>; rel=self; title=\"\u{e9}\"", "<b>; rel=next"], Some("b"));
    }

    #[test]
    fn a_parameter_leaves_the_text_of_the_others() {
        for (query, name, value, expected) in [
            ("?q=a%20b&flag&tags[]=x", "page", "2", "q=a%20b&flag&tags[]=x&page=2"),
            ("?page=1&q=a+b&page=7", "page", "2", "q=a+b&page=2"),
            ("?p%61ge=1&empty=", "page", "2", "empty=&page=2"),
            ("?a=1&&b", "page", "2", "a=1&&b&page=2"),
            ("?", "page[number]", "2", "page[number]=2"),
            ("", "since", "2026-01-02T03:04:05+01:00", "since=2026-01-02T03%3A04%3A05%2B01%3A00"),
        ] {
            let mut url = Url::parse(&format!("http://h/x{query}")).unwrap();
            set(&mut url, name, value);
            assert_eq!(url.query(), Some(expected), "{query}");
        }
    }

    #[test]
    fn a_link_stays_on_the_server_of_the_source() {
        let base = Url::parse("https://u:p@h:8443/v1/x").unwrap();
        let page = Url::parse("https://h:8443/v1/x?page=1").unwrap();
        let to = |link: &str| follow(&page, &base, link).map(|url| url.to_string());
        assert_eq!(to("?page=2").unwrap(), "https://u:p@h:8443/v1/x?page=2");
        assert_eq!(to("/v1/y#top").unwrap(), "https://u:p@h:8443/v1/y");
        assert_eq!(to("http://h/v1/x?page=2").unwrap(), "https://u:p@h:8443/v1/x?page=2");
        for other in ["https://h/x", "http://h:8080/x", "https://other:8443/x", "//other/x", "ftp://h/x"] {
            assert!(to(other).is_err(), "{other}");
        }
    }
}
