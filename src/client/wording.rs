//! Readable messages for errors of the TLS and HTTP libraries.

/// Describes a failed TLS handshake.
pub(super) fn tls(text: &str) -> String {
    let has = |word: &str| text.contains(word);
    let plain = if has("InvalidContentType") {
        "the server does not use TLS; check the port, or use http:// on a network you trust"
    } else if has("UnknownIssuer") {
        "the server's certificate is not signed by a CA that this host trusts"
    } else if has("not valid for name") || has("NotValidForName") {
        "the server's certificate is for another host name"
    } else if has("Expired") || has("expired") {
        "the server's certificate has expired"
    } else if has("NotValidYet") || has("not valid yet") {
        "the server's certificate is not valid yet; check this host's clock"
    } else {
        return format!("TLS: {text}");
    };
    format!("TLS: {plain}")
}

/// Describes an invalid or missing HTTP response.
pub(super) fn http(text: &str) -> Option<&'static str> {
    let has = |word: &str| text.contains(word);
    if has("invalid HTTP version") || has("invalid HTTP header") || has("invalid HTTP status") {
        Some("the server does not use HTTP; check the port, and whether it needs https://")
    } else if has("connection closed before message completed") || has("unexpected EOF") {
        Some("the server closed the connection before it responded")
    } else if has("onnection reset by peer") {
        Some("the server reset the connection")
    } else {
        None
    }
}
