//! Tests with certificates of X.509 version 1, which have no extensions.
//!
//! `openssl x509 -req` creates such certificates.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::databases::{BOTH, Database, Engine};
use super::harness::House;

fn run(folder: &Path, line: &str) {
    let made = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Creates a TLS server with a certificate of version 1.
fn acceptor(folder: &Path) -> TlsAcceptor {
    run(
        folder,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
    );
    run(folder, "x509 -req -in request.pem -signkey key.pem -days 2 -out version1.pem");
    let certificate = CertificateDer::from_pem_file(folder.join("version1.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let own = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(own));
    TlsAcceptor::from(Arc::new(config))
}

/// Starts a TLS proxy in front of the real server.
async fn before(engine: Engine, port: u16, acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let passed = match engine {
                    Engine::Postgres => postgres(client, server, &acceptor).await,
                    Engine::MariaDb => mariadb(client, server, &acceptor).await,
                };
                drop(passed);
            });
        }
    });
    own
}

async fn postgres(
    mut client: TcpStream,
    mut server: TcpStream,
    acceptor: &TlsAcceptor,
) -> std::io::Result<()> {
    let mut request = [0; 8];
    client.read_exact(&mut request).await?;
    client.write_all(b"S").await?;
    copy_bidirectional(&mut acceptor.accept(client).await?, &mut server).await?;
    Ok(())
}

async fn mariadb(
    mut client: TcpStream,
    mut server: TcpStream,
    acceptor: &TlsAcceptor,
) -> std::io::Result<()> {
    let greeting = packet(&mut server).await?;
    client.write_all(&greeting).await?;
    packet(&mut client).await?;
    let mut client = acceptor.accept(client).await?;
    let mut login = packet(&mut client).await?;
    // The real server receives a login without TLS.
    login[3] = 1;
    login[5] &= !0x08;
    server.write_all(&login).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn packet(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet).await?;
    let size = usize::from(packet[0]) | usize::from(packet[1]) << 8;
    packet.resize(4 + size, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

#[tokio::test]
async fn a_certificate_of_version_1_is_taken_where_nothing_is_checked_and_else_named() {
    let house = House::new().await;
    let acceptor = acceptor(&house.data());
    for engine in BOTH {
        let database = Database::new(engine).await;
        database.sql("CREATE TABLE t (v int)").await;
        let real = u16::try_from(database.config(json!({}))["port"].as_u64().unwrap()).unwrap();
        let port = before(engine, real, acceptor.clone()).await;
        for (mode, works) in
            [("prefer", true), ("require", true), ("verify-ca", false), ("verify-full", false)]
        {
            let config =
                json!({ "port": port, "host": "localhost", "sslmode": mode, "sslrootcert": "version1.pem" });
            let (_, answer) = house.test(database.kind(), database.config(config)).await;
            let message = answer["message"].as_str().unwrap();
            let expected =
                if works { "read 1 tables" } else { "the server's certificate is of X.509 version 1" };
            assert!(message.contains(expected), "{engine:?} {mode}: {message}");
        }
    }
}
