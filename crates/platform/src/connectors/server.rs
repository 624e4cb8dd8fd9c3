//! Configuration of a database server, and its error messages.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::file::DataFile;
use super::{ConfigError, ConfigFields, ConnectorContext, ReadError};
use crate::hosts::{AllowedHosts, OutOfReach};
use crate::memory::MemoryBudget;

/// Time limit for resolving, connecting, TLS and login together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a certificate or key file in bytes; real ones are small.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Error for version 1 certificates, which lack extensions with their purpose.
pub(super) const SERVER_IS_VERSION_1: &str =
    "the server's certificate is of X.509 version 1, which cannot be checked; create it again as version 3";
/// Name of this error in the MySQL driver.
const VERSION_1: &str = "UnsupportedCertVersion";

/// Everything required for a login.
pub(super) struct Server {
    pub(super) engine: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// Address to connect to, and permitted hosts; differs for a replacement server.
    pub(super) target: (String, u16, AllowedHosts),
    pub(super) database: String,
    pub(super) username: String,
    password: Option<SecretString>,
    pub(super) safety: Safety,
    pub(super) memory: MemoryBudget,
    root: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
}

/// Required level of TLS, in PostgreSQL's terms; MySQL's are equivalent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A certificate or key: literal, or in a file of the data directory.
enum Pem {
    Text(SecretString),
    File(DataFile),
}

/// Contents of the certificates and keys.
pub(super) struct Pems {
    pub(super) root: Option<Vec<u8>>,
    pub(super) client_identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Server {
    /// Reads the configuration.
    ///
    /// Fields: `host`, `port`, `database`, `username`, `password`, or `url` for all of them;
    /// `sslmode` (or `ssl`, `tls`: true or false), `sslrootcert`, `sslcert`, `sslkey`. A field
    /// overrides its part of the URL.
    pub(super) fn read(
        fields: ConfigFields<'_>,
        engine: &'static str,
        port: u16,
        reach: &ConnectorContext,
    ) -> Result<Self, ConfigError> {
        let url = address(fields)?;
        let part =
            |take: fn(&Url) -> Option<String>| url.as_ref().and_then(take).filter(|text| !text.is_empty());
        let text =
            |names: &[&str], from_url: fn(&Url) -> Option<String>| -> Result<Option<String>, ConfigError> {
                Ok(fields.first_text(names)?.map(str::to_owned).or_else(|| part(from_url)))
            };
        let missing = |name| ConfigError::new(format!("\"{name}\" is missing"));
        let host = text(&["host", "hostname", "server"], |url| url.host_str().map(str::to_owned))?;
        let user = text(&["username", "user"], |url| decoded(url.username()))?;
        let database =
            text(&["database", "dbname", "db"], |url| decoded(url.path().trim_start_matches('/')))?;
        let port = match fields.unsigned("port")? {
            Some(given) => given,
            None => url.as_ref().and_then(Url::port).unwrap_or(port).into(),
        };
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| ConfigError::new("\"port\" must be 1 to 65535"))?;
        // Only URLs need brackets around IPv6 addresses.
        let host = host.ok_or_else(|| missing("host"))?.trim_matches(['[', ']']).to_owned();
        if host.starts_with(['/', '@', '\0']) {
            return Err(ConfigError::new(
                "\"host\" must be a name or an address; sockets of this host are not reached",
            ));
        }
        Ok(Self {
            engine,
            target: reach.resolve_address(&host, port),
            host,
            port,
            database: database.ok_or_else(|| missing("database"))?,
            username: user.ok_or_else(|| missing("username"))?,
            password: text(&["password"], |url| decoded(url.password()?))?.map(SecretString::from),
            safety: safety(fields, url.as_ref())?,
            memory: reach.memory.clone(),
            root: pem(fields, &["sslrootcert", "ssl_ca", "ca_certificate"], reach)?,
            certificate: pem(fields, &["sslcert", "ssl_cert", "client_certificate"], reach)?,
            key: pem(fields, &["sslkey", "ssl_key", "client_key"], reach)?,
        })
    }

    /// Returns the password; empty if there is none, so that no other is tried.
    pub(super) fn password(&self) -> &str {
        self.password.as_ref().map_or("", |password| password.expose_secret())
    }

    pub(super) fn pems(&self) -> Result<Pems, ReadError> {
        let read = |pem: &Option<Pem>| pem.as_ref().map(Pem::read).transpose();
        let own = match (read(&self.certificate)?, read(&self.key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(self.server_error("\"sslcert\" and \"sslkey\" go together; one is missing")),
        };
        Ok(Pems { root: read(&self.root)?, client_identity: own })
    }

    /// Creates an error with the name of the server.
    pub(super) fn server_error(&self, message: &str) -> ReadError {
        let Self { engine, host, port, .. } = self;
        ReadError::new(format!("{engine} at {host}:{port}: {message}"))
    }

    /// Creates an error about a table, if one is given.
    pub(super) fn table_error(&self, table: Option<&str>, message: &str) -> ReadError {
        self.server_error(
            &table.map_or_else(|| message.to_owned(), |table| format!("table \"{table}\": {message}")),
        )
    }

    /// Describes a driver error; server messages cannot contain the password.
    pub(super) fn query_error(&self, table: Option<&str>, error: &sqlx::Error) -> ReadError {
        let said = match error {
            sqlx::Error::Io(error) if error.to_string().contains(VERSION_1) => {
                format!("no secure connection (TLS): {SERVER_IS_VERSION_1}")
            }
            sqlx::Error::Io(error) => connect_error(error),
            sqlx::Error::Tls(cause) if cause.to_string().contains(VERSION_1) => {
                "no secure connection (TLS): \"sslcert\" is of X.509 version 1; create it again as version 3"
                    .to_owned()
            }
            sqlx::Error::Tls(cause) => format!("no secure connection (TLS): {cause}"),
            sqlx::Error::Database(refusal) => self.refused(refusal.as_ref()),
            sqlx::Error::Protocol(said) if let Some(login) = unknown_login(said) => login,
            sqlx::Error::Protocol(said) => strip_location(said).to_owned(),
            // Other errors concern the protocol: a different server, or a broken connection.
            other => {
                let cause = other.source().map_or(String::new(), |cause| format!(": {cause}"));
                format!("{other}{cause}")
            }
        };
        let password = self.password();
        self.table_error(table, &if password.is_empty() { said } else { said.replace(password, "***") })
    }

    /// Returns true if the only problem is an unverified version 1 certificate.
    pub(super) fn is_unchecked_version_1(&self, error: &sqlx::Error) -> bool {
        matches!(self.safety, Safety::Prefer | Safety::Require)
            && matches!(error, sqlx::Error::Io(error) if error.to_string().contains(VERSION_1))
    }

    fn refused(&self, refusal: &dyn sqlx::error::DatabaseError) -> String {
        let Self { username, database, .. } = self;
        let message = refusal.message();
        // MySQL's error number is used if its SQLSTATE is not specific.
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
    fn read(&self) -> Result<Vec<u8>, ReadError> {
        let named = match self {
            Self::Text(text) => return Ok(text.expose_secret().as_bytes().to_vec()),
            Self::File(named) => named,
        };
        let mut content = Vec::new();
        let file = named.open()?;
        file.take(MAX_PEM_BYTES).read_to_end(&mut content).map_err(|error| named.unreadable(&error))?;
        Ok(content)
    }
}

fn address(fields: ConfigFields<'_>) -> Result<Option<Url>, ConfigError> {
    let Some(text) = fields.first_text(&["url", "uri", "connection_string", "dsn"])? else { return Ok(None) };
    // JDBC URLs have the same form after their prefix.
    let url = Url::parse(text.strip_prefix("jdbc:").unwrap_or(text));
    url.map(Some).map_err(|_| {
        ConfigError::new(
            "the address makes no sense; it looks like postgresql://user:password@host:5432/database",
        )
    })
}

fn decoded(part: &str) -> Option<String> {
    percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Into::into)
}

fn safety(fields: ConfigFields<'_>, url: Option<&Url>) -> Result<Safety, ConfigError> {
    const MODES: [&str; 3] = ["sslmode", "ssl_mode", "ssl-mode"];
    for name in ["ssl", "tls"] {
        // `true` means TLS that excludes third parties.
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
            return Err(ConfigError::new(
                "\"sslmode\" must be disable, prefer, require, verify-ca or verify-full",
            ));
        }
    })
}

fn pem(
    fields: ConfigFields<'_>,
    names: &[&str],
    reach: &ConnectorContext,
) -> Result<Option<Pem>, ConfigError> {
    Ok(match fields.first_text(names)? {
        None => None,
        Some(text) if text.contains("-----BEGIN ") => Some(Pem::Text(text.to_owned().into())),
        Some(_) => Some(Pem::File(DataFile::read(fields, names, reach)?)),
    })
}

/// Describes a login method that the driver does not support.
fn unknown_login(said: &str) -> Option<String> {
    let plugin = [
        "unknown authentication plugin",
        "unknown authentication method",
        "unsupported authentication method",
    ];
    let said = strip_location(said);
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

/// Removes the driver's source position from a message.
fn strip_location(said: &str) -> &str {
    said.split(" (sqlx").next().unwrap_or(said)
}

/// Describes why a connection failed.
pub(super) fn connect_error(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "the connection was refused: nothing listens at this host and port".to_owned()
        }
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            "the connection was closed; try again".to_owned()
        }
        ErrorKind::TimedOut => "no answer (timeout)".to_owned(),
        _ if OutOfReach::caused(error) => OutOfReach.to_string(),
        ErrorKind::InvalidData => format!("no secure connection (TLS): {error}"),
        _ if error.to_string().contains("lookup") => {
            "the name of the host could not be resolved (DNS)".to_owned()
        }
        _ => format!("no connection: {error}"),
    }
}
