//! A database server: where it is, who comes, how safely; and what a person is told when it fails.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::file::Named;
use super::{Failure, Fields, Reach, Unfit};
use crate::platform::Hosts;

/// Resolving, connecting, TLS and logging in together.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// A certificate or key is small; what is larger is none.
const LARGEST_PEM: u64 = 1 << 20;

/// Certificates of this version have no extensions, so nothing says what they are for.
pub(super) const SERVER_IS_VERSION_1: &str =
    "the server's certificate is of X.509 version 1, which cannot be checked; make it anew as version 3";
/// How the driver of MySQL calls that.
const VERSION_1: &str = "UnsupportedCertVersion";

/// Everything that is needed to log in.
pub(super) struct Server {
    /// What people call the engine.
    pub(super) engine: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// Where that is, and may be: there, unless another server stands in for it.
    pub(super) place: (String, u16, Hosts),
    pub(super) database: String,
    pub(super) username: String,
    password: Option<SecretString>,
    pub(super) safety: Safety,
    root: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
}

/// How much TLS there must be, by PostgreSQL's words; MySQL's mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A certificate or key: as it is, or in a file of the data directory.
enum Pem {
    Text(SecretString),
    File(Named),
}

/// What there is of certificates and keys, read.
pub(super) struct Pems {
    pub(super) root: Option<Vec<u8>>,
    /// Our own certificate, and its key.
    pub(super) own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Server {
    /// `host`, `port`, `database`, `username`, `password`, or `url` for all of them; `sslmode` (or
    /// `ssl`, `tls`: true or false), `sslrootcert`, `sslcert`, `sslkey`. A field goes before its part of
    /// the URL.
    pub(super) fn read(
        fields: Fields<'_>,
        engine: &'static str,
        port: u16,
        reach: &Reach,
    ) -> Result<Self, Unfit> {
        let url = address(fields)?;
        let part =
            |take: fn(&Url) -> Option<String>| url.as_ref().and_then(take).filter(|text| !text.is_empty());
        let text = |names: &[&str], from_url: fn(&Url) -> Option<String>| -> Result<Option<String>, Unfit> {
            Ok(fields.first_text(names)?.map(str::to_owned).or_else(|| part(from_url)))
        };
        let missing = |name| Unfit::new(format!("\"{name}\" is missing"));
        let host = text(&["host", "hostname", "server"], |url| url.host_str().map(str::to_owned))?;
        let user = text(&["username", "user"], |url| decoded(url.username()))?;
        let database =
            text(&["database", "dbname", "db"], |url| decoded(url.path().trim_start_matches('/')))?;
        let port = match fields.whole("port")? {
            Some(given) => given,
            None => url.as_ref().and_then(Url::port).unwrap_or(port).into(),
        };
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| Unfit::new("\"port\" must be 1 to 65535"))?;
        // An IPv6 address stands in brackets within a URL only.
        let host = host.ok_or_else(|| missing("host"))?.trim_matches(['[', ']']).to_owned();
        if host.starts_with(['/', '@', '\0']) {
            return Err(Unfit::new(
                "\"host\" must be a name or an address; sockets of this host are not reached",
            ));
        }
        Ok(Self {
            engine,
            place: reach.place(&host, port),
            host,
            port,
            database: database.ok_or_else(|| missing("database"))?,
            username: user.ok_or_else(|| missing("username"))?,
            password: text(&["password"], |url| decoded(url.password()?))?.map(SecretString::from),
            safety: safety(fields, url.as_ref())?,
            root: pem(fields, &["sslrootcert", "ssl_ca", "ca_certificate"], reach)?,
            certificate: pem(fields, &["sslcert", "ssl_cert", "client_certificate"], reach)?,
            key: pem(fields, &["sslkey", "ssl_key", "client_key"], reach)?,
        })
    }

    /// The password; empty when there is none, so that nothing else is tried in its place.
    pub(super) fn password(&self) -> &str {
        self.password.as_ref().map_or("", |password| password.expose_secret())
    }

    /// The certificates and keys, as they are now.
    pub(super) fn pems(&self) -> Result<Pems, Failure> {
        let read = |pem: &Option<Pem>| pem.as_ref().map(Pem::read).transpose();
        let own = match (read(&self.certificate)?, read(&self.key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(self.wrong("\"sslcert\" and \"sslkey\" go together; one is missing")),
        };
        Ok(Pems { root: read(&self.root)?, own })
    }

    /// A failure with the name of the server.
    pub(super) fn wrong(&self, message: &str) -> Failure {
        let Self { engine, host, port, .. } = self;
        Failure::new(format!("{engine} at {host}:{port}: {message}"))
    }

    /// The same about a table, if it is about one.
    pub(super) fn wrong_at(&self, table: Option<&str>, message: &str) -> Failure {
        self.wrong(&table.map_or_else(|| message.to_owned(), |table| format!("table \"{table}\": {message}")))
    }

    /// What went wrong, by its cause. Nothing a server says can bring the password into it.
    pub(super) fn failed(&self, table: Option<&str>, error: &sqlx::Error) -> Failure {
        let said = match error {
            sqlx::Error::Io(error) if error.to_string().contains(VERSION_1) => {
                format!("no secure connection (TLS): {SERVER_IS_VERSION_1}")
            }
            sqlx::Error::Io(error) => unreached(error),
            sqlx::Error::Tls(cause) if cause.to_string().contains(VERSION_1) => {
                "no secure connection (TLS): \"sslcert\" is of X.509 version 1; make it anew as version 3"
                    .to_owned()
            }
            sqlx::Error::Tls(cause) => format!("no secure connection (TLS): {cause}"),
            sqlx::Error::Database(refusal) => self.refused(refusal.as_ref()),
            sqlx::Error::Protocol(said) if let Some(login) = unknown_login(said) => login,
            sqlx::Error::Protocol(said) => without_place(said).to_owned(),
            // The others are about the protocol, too: the other side speaks another one, or broke off.
            other => {
                let cause = other.source().map_or(String::new(), |cause| format!(": {cause}"));
                format!("{other}{cause}")
            }
        };
        let password = self.password();
        self.wrong_at(table, &if password.is_empty() { said } else { said.replace(password, "***") })
    }

    /// Whether only the version of the server's certificate is in the way, and nobody asked to check it.
    pub(super) fn is_unchecked_version_1(&self, error: &sqlx::Error) -> bool {
        matches!(self.safety, Safety::Prefer | Safety::Require)
            && matches!(error, sqlx::Error::Io(error) if error.to_string().contains(VERSION_1))
    }

    fn refused(&self, refusal: &dyn sqlx::error::DatabaseError) -> String {
        let Self { username, database, .. } = self;
        let message = refusal.message();
        // MySQL has numbers of its own; where its state is as telling, that one is asked.
        let number = refusal
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .map(sqlx::mysql::MySqlDatabaseError::number);
        match (refusal.code().as_deref(), number) {
            (Some("28P01" | "28000"), _) | (_, Some(1045 | 1698)) => {
                format!("the login of \"{username}\" was refused (authentication): {message}")
            }
            (Some("3D000"), _) | (_, Some(1049)) => format!("there is no database \"{database}\""),
            (Some("42501"), _) | (_, Some(1044 | 1142 | 1143)) => {
                format!("\"{username}\" may not do this: {message}")
            }
            (Some("57014"), _) => format!("it took too long or was cancelled there: {message}"),
            _ => message.to_owned(),
        }
    }
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        let named = match self {
            Self::Text(text) => return Ok(text.expose_secret().as_bytes().to_vec()),
            Self::File(named) => named,
        };
        let mut content = Vec::new();
        let file = named.open()?;
        file.take(LARGEST_PEM).read_to_end(&mut content).map_err(|error| named.unreadable(&error))?;
        Ok(content)
    }
}

fn address(fields: Fields<'_>) -> Result<Option<Url>, Unfit> {
    let Some(text) = fields.first_text(&["url", "uri", "connection_string", "dsn"])? else { return Ok(None) };
    // JDBC's addresses are the same behind their mark.
    let url = Url::parse(text.strip_prefix("jdbc:").unwrap_or(text));
    url.map(Some).map_err(|_| {
        Unfit::new("the address makes no sense; it looks like postgresql://user:password@host:5432/database")
    })
}

fn decoded(part: &str) -> Option<String> {
    percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Into::into)
}

fn safety(fields: Fields<'_>, url: Option<&Url>) -> Result<Safety, Unfit> {
    const MODES: [&str; 3] = ["sslmode", "ssl_mode", "ssl-mode"];
    for name in ["ssl", "tls"] {
        // Whoever asks for TLS plainly means one that keeps others out.
        if let Some(wanted) = fields.flag(name)? {
            return Ok(if wanted { Safety::VerifyFull } else { Safety::Disable });
        }
    }
    let of_url = url.and_then(|url| {
        url.query_pairs().find(|(name, _)| MODES.contains(&name.as_ref())).map(|(_, mode)| mode.into_owned())
    });
    let mode = fields.first_text(&MODES)?.map(str::to_owned).or(of_url);
    Ok(match mode.as_deref().map(|mode| mode.to_ascii_lowercase().replace('_', "-")).as_deref() {
        None | Some("prefer" | "preferred" | "allow") => Safety::Prefer,
        Some("disable" | "disabled") => Safety::Disable,
        Some("require" | "required") => Safety::Require,
        Some("verify-ca") => Safety::VerifyCa,
        Some("verify-full" | "verify-identity") => Safety::VerifyFull,
        Some(_) => {
            return Err(Unfit::new("\"sslmode\" must be disable, prefer, require, verify-ca or verify-full"));
        }
    })
}

fn pem(fields: Fields<'_>, names: &[&str], reach: &Reach) -> Result<Option<Pem>, Unfit> {
    Ok(match fields.first_text(names)? {
        None => None,
        Some(text) if text.contains("-----BEGIN ") => Some(Pem::Text(text.to_owned().into())),
        Some(_) => Some(Pem::File(Named::read(fields, names, reach)?)),
    })
}

/// A login that the driver does not know.
fn unknown_login(said: &str) -> Option<String> {
    let plugin = [
        "unknown authentication plugin",
        "unknown authentication method",
        "unsupported authentication method",
    ];
    let said = without_place(said);
    let (_, name) = plugin.iter().find_map(|known| said.split_once(known))?;
    let name = name.trim_matches([':', ' ']);
    let name = match name {
        "2" | "7" => "Kerberos (GSSAPI)",
        "9" => "SSPI",
        other => other,
    };
    Some(format!(
        "the login of this user is by {name}, which is not known here (authentication); give it a password \
         that is checked by SCRAM or MD5 (PostgreSQL), mysql_native_password or caching_sha2_password"
    ))
}

/// The driver adds to its messages where in its source they are made.
fn without_place(said: &str) -> &str {
    said.split(" (sqlx").next().unwrap_or(said)
}

/// Why a connection could not be made, or broke off.
pub(super) fn unreached(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "the connection was refused: nothing listens at this host and port".to_owned()
        }
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            "the connection broke off; try again".to_owned()
        }
        ErrorKind::TimedOut => "no answer (timeout)".to_owned(),
        ErrorKind::InvalidData => format!("no secure connection (TLS): {error}"),
        _ if error.to_string().contains("lookup") => {
            "the name of the host could not be resolved (DNS)".to_owned()
        }
        _ => format!("no connection: {error}"),
    }
}
