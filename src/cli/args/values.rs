//! Parsers for values of options.

use crate::model::Limit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Port of `run --listen` without an address.
const DEFAULT_PORT: u16 = 9780;

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

/// Parses PORT, :PORT or HOST:PORT; a port alone listens on the loopback address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bare = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return bare.parse().map(local).map_err(|_| "a port is a number from 0 to 65535".to_owned());
    }
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("the port is missing; write [{ip}]:{DEFAULT_PORT}"),
        Ok(ip) => format!("the port is missing; write {ip}:{DEFAULT_PORT}"),
        Err(_) => {
            format!("not an address; write PORT or IP:PORT, such as {DEFAULT_PORT} or 0.0.0.0:{DEFAULT_PORT}")
        }
    })
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
    limit.ok_or_else(|| "neither a number nor a percentage such as 30%".to_owned())
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
