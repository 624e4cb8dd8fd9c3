//! Normalised address of the platform.

use reqwest::Url;
use std::fmt;
use thiserror::Error;

/// Base URL of the Data API, without a trailing slash and without `/api/v1`.
///
/// Equivalent spellings compare equal, so the state uses it as the platform's key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    text: String,
    url: Url,
    loopback: bool,
}

/// A text that is not a usable base URL.
///
/// Never contains the text, which may include credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBaseUrl {
    #[error("the platform's URL cannot be used: not a complete URL; write https://HOST/PATH")]
    NotAUrl,
    #[error("the platform's URL cannot be used: the scheme must be https:// or http://")]
    Scheme,
    #[error(
        "the platform's URL cannot be used: it contains a user name or password; pass the token in PMTX_TOKEN"
    )]
    Credentials,
    #[error(
        "the platform's URL cannot be used: it contains a query or a fragment; remove the part from `?` or `#` on"
    )]
    QueryOrFragment,
}

impl BaseUrl {
    /// Parses a base URL, with or without `/api/v1` or `/api/v1/data` and trailing slashes.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidBaseUrl::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidBaseUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBaseUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::QueryOrFragment);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidBaseUrl::NotAUrl)?;
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let trimmed = url.as_str().trim_end_matches('/');
        let trimmed = trimmed.strip_suffix("/api/v1/data").unwrap_or(trimmed);
        let text = trimmed.strip_suffix("/api/v1").unwrap_or(trimmed).trim_end_matches('/').to_owned();
        let url = Url::parse(&text).map_err(|_| InvalidBaseUrl::NotAUrl)?;
        Ok(Self { text, url, loopback })
    }

    /// Returns the URL without a trailing slash and without `/api/v1`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns scheme, host and port: `https://HOST`.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns true if the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns true if the address is this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_one_key() {
        for text in [
            "https://px.example.com/jarvispy/org/user",
            "https://px.example.com/jarvispy/org/user/",
            "https://px.example.com/jarvispy/org/user/api/v1",
            "https://px.example.com/jarvispy/org/user/api/v1//",
            "https://px.example.com/jarvispy/org/user/api/v1/data/",
            " HTTPS://PX.example.com:443/jarvispy/org/user ",
        ] {
            assert_eq!(
                BaseUrl::parse(text).unwrap().as_str(),
                "https://px.example.com/jarvispy/org/user",
                "{text}"
            );
        }
        assert_eq!(BaseUrl::parse("http://127.0.0.1:80/").unwrap().as_str(), "http://127.0.0.1");
        assert_eq!(BaseUrl::parse("https://h/api/v1").unwrap().as_str(), "https://h");
    }

    #[test]
    fn what_is_not_a_plain_address_is_refused() {
        for (text, why) in [
            ("", InvalidBaseUrl::NotAUrl),
            ("px.example.com/jarvispy", InvalidBaseUrl::NotAUrl),
            ("ftp://px.example.com", InvalidBaseUrl::Scheme),
            ("https://me:pass@px.example.com", InvalidBaseUrl::Credentials),
            ("https://px.example.com/?token=1", InvalidBaseUrl::QueryOrFragment),
            ("https://px.example.com/#a", InvalidBaseUrl::QueryOrFragment),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn loopback_is_an_address_not_a_name_that_looks_like_one() {
        for (text, loopback) in [
            ("http://localhost:1", true),
            ("http://127.8.0.1", true),
            ("http://[::1]:80", true),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://192.168.0.1", false),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
