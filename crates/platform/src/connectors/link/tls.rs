//! TLS with a server, as strict as the source requires.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::super::ReadError;
use super::super::server::{Pems, SERVER_IS_VERSION_1, Safety, Server, connect_error};
use super::Stream;

/// PostgreSQL's SSLRequest message.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Negotiates TLS with a PostgreSQL server.
pub(super) async fn negotiate(mut stream: TcpStream, server: &Server) -> Result<Box<dyn Stream>, ReadError> {
    let broken = |error: std::io::Error| server.server_error(&connect_error(&error));
    stream.write_all(&REQUEST).await.map_err(broken)?;
    match stream.read_u8().await.map_err(broken)? {
        b'S' => {}
        b'N' if server.safety == Safety::Prefer => return Ok(Box::new(stream)),
        b'N' => return Err(tls_error(server, "the server does not offer it")),
        _ => return Err(server.server_error("this is no PostgreSQL server: it answers in another protocol")),
    }
    let (connector, name) = connector(server)?;
    let connected = connector.connect(name, stream).await;
    Ok(Box::new(connected.map_err(|error| tls_error(server, &error.to_string()))?))
}

/// Returns the TLS configuration and the expected server name.
pub(super) fn connector(server: &Server) -> Result<(TlsConnector, ServerName<'static>), ReadError> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| tls_error(server, "the host is no name that a certificate could bear"))?;
    Ok((TlsConnector::from(Arc::new(config(server)?)), name))
}

fn tls_error(server: &Server, reason: &str) -> ReadError {
    server.server_error(&format!("no secure connection (TLS): {reason}"))
}

fn config(server: &Server) -> Result<ClientConfig, ReadError> {
    let failed = |error: Error| tls_error(server, &error.to_string());
    let Pems { root, client_identity: own } = server.pems()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let inner = match server.safety {
        Safety::VerifyCa | Safety::VerifyFull => {
            let roots = Arc::new(roots(server, root.as_deref())?);
            let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some(built.map_err(|error| tls_error(server, &error.to_string()))?)
        }
        _ => None,
    };
    let verifier =
        Verifier { inner, names: server.safety == Safety::VerifyFull, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((certificate, key)) = own else { return Ok(config.with_no_client_auth()) };
    let unfit = |what: &str| tls_error(server, &format!("\"{what}\" holds no PEM that can be read"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| unfit("sslcert"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unfit("sslkey"))?;
    let key = provider.key_provider.load_private_key(key).map_err(failed)?;
    // The server checks whether certificate and key match.
    let own = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    Ok(config.with_client_cert_resolver(Arc::new(own)))
}

/// Returns the given CA certificates, or those of the system.
fn roots(server: &Server, given: Option<&[u8]>) -> Result<RootCertStore, ReadError> {
    let mut roots = RootCertStore::empty();
    let Some(given) = given else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(given) {
        let certificate =
            certificate.map_err(|_| tls_error(server, "\"sslrootcert\" holds no PEM that can be read"))?;
        roots.add(certificate).map_err(|error| tls_error(server, &format!("\"sslrootcert\": {error}")))?;
    }
    Ok(roots)
}

/// Verifies a server's certificate as strictly as required.
#[derive(Debug)]
struct Verifier {
    /// `None` disables verification.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// True if the certificate must match the host name.
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        if is_version_1(certificate) {
            return Err(Error::General(SERVER_IS_VERSION_1.to_owned()));
        }
        match inner.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.inner.is_none() && is_version_1(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The certificate is not verified, so its signature does not matter either.
        if self.inner.is_none() && is_version_1(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns true for a version 1 certificate.
///
/// Version 1 begins with the serial number, later versions with their version.
fn is_version_1(certificate: &[u8]) -> bool {
    let inner = |der: &[u8]| -> Option<usize> {
        let length = usize::from(*der.get(1)?);
        (*der.first()? == 0x30).then_some(if length < 0x80 { 2 } else { 2 + (length & 0x7f) })
    };
    let body = inner(certificate).and_then(|start| certificate.get(start..));
    let first = body.and_then(|body| body.get(inner(body)?));
    first == Some(&0x02)
}
