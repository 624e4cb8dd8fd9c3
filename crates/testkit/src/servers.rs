//! Real PostgreSQL and MariaDB servers, of `tests/all` or of this test binary.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Addresses of the servers.
pub struct Servers {
    /// `postgres://user:password@host:port/database` of a superuser.
    pub postgres: String,
    /// The same through PgBouncer.
    pub pgbouncer: String,
    /// The same for MariaDB.
    pub mariadb: String,
    /// The self-signed certificate of both, for `localhost`.
    pub certificate: PathBuf,
    /// Our own servers stop when its input is closed, at the latest with this process.
    _held: Option<Child>,
}

const NAMES: [&str; 4] = [
    "WELLSPRING_TEST_POSTGRES",
    "WELLSPRING_TEST_PGBOUNCER",
    "WELLSPRING_TEST_MARIADB",
    "WELLSPRING_TEST_CERTIFICATE",
];

/// Returns the servers, started with the first call.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| match NAMES.map(|name| std::env::var(name).ok()) {
        [Some(postgres), Some(pgbouncer), Some(mariadb), Some(certificate)] => {
            Servers { postgres, pgbouncer, mariadb, certificate: certificate.into(), _held: None }
        }
        _ => hold(),
    })
}

fn hold() -> Servers {
    let script = crate::repository().join("tests/servers.sh");
    let mut child =
        Command::new(script).arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.is_empty())
        .collect();
    let [postgres, pgbouncer, mariadb, certificate] = NAMES.map(|name| {
        let value = said.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.expect("no servers to test against; the reason is above, and `tests/all` sees to it").to_owned()
    });
    Servers { postgres, pgbouncer, mariadb, certificate: certificate.into(), _held: Some(child) }
}
