//! Parses the address of a page or of the local platform, from the command line or the host file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port of the status page if none is given.
pub const DEFAULT_PORT: u16 = 9780;

/// Parses PORT, :PORT or HOST:PORT; a port alone listens on the loopback address.
pub fn address(text: &str) -> Result<SocketAddr, String> {
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
