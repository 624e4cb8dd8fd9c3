//! First messages between a driver and its server.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// PostgreSQL settings that are forwarded to the server.
///
/// Others are dropped: the driver takes `options` from this process's environment.
const SETTINGS: [&[u8]; 6] =
    [b"user", b"database", b"application_name", b"client_encoding", b"DateStyle", b"TimeZone"];
/// Bytes of the message's length and protocol version.
const HEADER_BYTES: usize = 8;
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Forwards a PostgreSQL driver's startup message with user and session settings.
pub(super) async fn forward_startup(
    driver: &mut (impl AsyncRead + Unpin),
    server: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut length = [0; 4];
    driver.read_exact(&mut length).await?;
    let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(HEADER_BYTES..=MAX_MESSAGE_BYTES).contains(&size) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; size - length.len()];
    driver.read_exact(&mut message).await?;
    server.write_all(&filter_settings(&message)).await?;
    server.flush().await
}

/// Returns the message with only the forwarded settings.
fn filter_settings(message: &[u8]) -> Vec<u8> {
    let (version, settings) = message.split_at(4);
    let mut kept = version.to_vec();
    let mut words = settings.split(|byte| *byte == 0);
    while let (Some(name), Some(value)) = (words.next().filter(|name| !name.is_empty()), words.next()) {
        if SETTINGS.contains(&name) {
            for word in [name, value] {
                kept.extend_from_slice(word);
                kept.push(0);
            }
        }
    }
    kept.push(0);
    let length = u32::try_from(kept.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &kept].concat()
}

/// TLS bit in the second capability byte of a MySQL server and driver.
const MYSQL_TLS: u8 = 0x08;
/// Length of the driver's login message before TLS.
const MYSQL_REQUEST: usize = 32;

/// Negotiates TLS with a MySQL server, without the driver's participation.
pub(super) async fn secure_mysql(
    driver: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut server: TcpStream,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut greeting = packet(&mut server).await?;
    let offers = offers_tls(&mut greeting).ok_or_else(|| io::Error::other("the server does not greet"))?;
    if *offers & MYSQL_TLS == 0 {
        return Err(io::Error::other("the server does not offer it"));
    }
    *offers &= !MYSQL_TLS;
    send(driver, 0, &greeting).await?;
    let mut login = packet(driver).await?;
    let request = login.get_mut(..MYSQL_REQUEST).ok_or(ErrorKind::InvalidData)?;
    request[1] |= MYSQL_TLS;
    send(&mut server, 1, request).await?;
    let mut server = connector.connect(name, server).await?;
    send(&mut server, 2, &login).await?;
    Ok(server)
}

/// Returns the byte of a greeting that contains the TLS bit.
fn offers_tls(greeting: &mut [u8]) -> Option<&mut u8> {
    // Protocol, version and NUL; then connection id, salt and NUL.
    let version = greeting.get(1..)?.iter().position(|byte| *byte == 0)?;
    greeting.get_mut(1 + version + 1 + 4 + 8 + 1 + 1)
}

async fn packet(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let size = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    if size > MAX_MESSAGE_BYTES {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut content = vec![0; size];
    from.read_exact(&mut content).await?;
    Ok(content)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), number: u8, content: &[u8]) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| ErrorKind::InvalidData)?.to_le_bytes();
    to.write_all(&[&[size[0], size[1], size[2], number], content].concat()).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::filter_settings;

    #[test]
    fn only_known_settings_reach_the_server() {
        let message = b"\0\x03\0\0user\0ann\0options\0-c statement_timeout=1\0TimeZone\0UTC\0\0";
        assert_eq!(filter_settings(message), b"\0\0\0\x1f\0\x03\0\0user\0ann\0TimeZone\0UTC\0\0");
    }
}
