//! Parsers for values of options.

use crate::model::Limit;
use crate::settings::{DEFAULT_PORT, address};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Optional value of `run --listen`: an address, or a project directory.
#[derive(Debug, Clone)]
pub(super) enum DirOrAddress {
    Dir(PathBuf),
    Address(SocketAddr),
}

impl DirOrAddress {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Address(address) => *address,
            Self::Dir(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
        }
    }

    pub(super) fn dir(&self) -> Option<PathBuf> {
        match self {
            Self::Address(_) => None,
            Self::Dir(dir) => Some(dir.clone()),
        }
    }
}

impl FromStr for DirOrAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match address(text) {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) if Path::new(text).is_dir() => Ok(Self::Dir(text.into())),
            Err(why) => Err(why),
        }
    }
}

/// Parses the name of the file to save a plan in, where other programs take a format.
pub(super) fn plan_file(text: &str) -> Result<PathBuf, String> {
    if matches!(text, "json" | "markdown" | "github" | "human" | "text" | "yaml" | "wide") {
        return Err(format!(
            "this option saves the plan in a file; use `--format json` for another format, or write ./{text}"
        ));
    }
    Ok(text.into())
}

/// Parses HOST=ADDRESS.
pub(super) fn stand_in(text: &str) -> Result<(String, SocketAddr), String> {
    let (host, at) =
        text.split_once('=').ok_or("write HOST=ADDRESS, such as db.example.com=127.0.0.1:5433")?;
    if host.is_empty() || host.contains([':', '/', '@']) {
        return Err(
            "the host is a bare name as in the source's configuration, without port or https://".into()
        );
    }
    Ok((host.to_owned(), address(at).map_err(|why| format!("\"{at}\": {why}"))?))
}

/// Parses a number or a percentage.
pub(in crate::cli) fn limit(text: &str) -> Result<Limit, String> {
    let limit = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Limit::Percent),
        None => text.parse().ok().map(Limit::Count),
    };
    limit.ok_or_else(|| "write a number, or a percentage from 0% to 100%".to_owned())
}

/// Parses a number of entries.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "write a whole number from 1, such as 30".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_host() {
        for text in ["9000", ":9000", "localhost:9000", "127.0.0.1:9000"] {
            assert_eq!(address(text), Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9000))), "{text}");
        }
        assert_eq!(address("0.0.0.0:1").unwrap().port(), 1);
        for (text, why) in [
            ("70000", "0 to 65535"),
            ("10.0.0.1", "10.0.0.1:9780"),
            ("::1", "[::1]:9780"),
            ("", "not an address"),
            ("example.com:80", "not an address"),
        ] {
            assert!(address(text).unwrap_err().contains(why), "{text}");
        }
    }
}
