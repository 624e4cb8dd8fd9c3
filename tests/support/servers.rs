//! PostgreSQL and MariaDB, the real ones: those `tests/all` started, or else some of our own that live
//! as long as this test binary does.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Where the servers are.
pub(crate) struct Servers {
    /// `postgres://user:password@host:port/database`, of someone who may do everything.
    pub(crate) postgres: String,
    /// The same through PgBouncer.
    pub(crate) pgbouncer: String,
    /// The same for MariaDB.
    pub(crate) mariadb: String,
    /// The certificate both show, which has signed itself, for `localhost`.
    pub(crate) certificate: PathBuf,
    /// When its input is closed, at the latest by the end of this process, the servers of our own stop.
    _held: Option<Child>,
}

const NAMES: [&str; 4] = [
    "WELLSPRING_TEST_POSTGRES",
    "WELLSPRING_TEST_PGBOUNCER",
    "WELLSPRING_TEST_MARIADB",
    "WELLSPRING_TEST_CERTIFICATE",
];

/// The servers; they are started with the first call.
pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| match NAMES.map(|name| std::env::var(name).ok()) {
        [Some(postgres), Some(pgbouncer), Some(mariadb), Some(certificate)] => {
            Servers { postgres, pgbouncer, mariadb, certificate: certificate.into(), _held: None }
        }
        _ => hold(),
    })
}

fn hold() -> Servers {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers.sh");
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
