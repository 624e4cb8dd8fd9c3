//! `platform.url = "local"`: joins a running local platform, or starts one.
//!
//! Only one process can open the platform's storage. `run` and `serve` are long-running, so they publish
//! address and token next to it (0600) for other commands to join. A platform started by a short command ends
//! with it and is not published; other commands wait for it to end.

use super::Failure;
use crate::remote::{BaseUrl, Token};

/// Time for which a command needs the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// Until shutdown; the command must run its own platform.
    Long,
    /// Briefly.
    Short,
    /// Briefly, without creating anything.
    Look,
}

/// Key of the local platform in the state.
///
/// Unlike its port, its storage does not change.
pub(super) const KEY: &str = "local";

/// The local platform, which runs until this is stopped.
pub(super) struct Local {
    pub(super) base_url: BaseUrl,
    pub(super) token: Token,
    #[cfg(feature = "local-platform")]
    own: Option<running::Own>,
}

#[cfg(not(feature = "local-platform"))]
impl Local {
    pub(super) async fn open(_: &std::path::Path, _: &std::path::Path, _: Stay) -> Result<Self, Failure> {
        Err(Failure::usage("platform.url is \"local\", but this build does not include the local platform"))
    }

    pub(super) async fn stop(self) {}
}

#[cfg(feature = "local-platform")]
pub(super) use running::{address, publish, random_token, write_private};

#[cfg(feature = "local-platform")]
mod running {
    use super::{Failure, Local, Stay};
    use crate::cli::Exit;
    use crate::platform::{Config, PlatformError, Running, Storage, Taken, start};
    use crate::remote::BaseUrl;
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Serialize};
    use std::io::{self, Write};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    /// Maximum wait for another process to publish its address, or to end.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Wait from which it is reported; most are shorter.
    const SHORT: Duration = Duration::from_millis(500);

    /// A platform run by this process.
    pub(super) struct Own {
        running: Running,
        published: Option<PathBuf>,
    }

    #[derive(Serialize, Deserialize)]
    struct Published {
        url: String,
        token: String,
    }

    impl Local {
        /// Joins or starts the local platform.
        ///
        /// [`Stay::Look`] creates nothing: if there is no storage yet, an empty platform in memory is used.
        pub(in crate::cli) async fn open(
            state_dir: &Path,
            data_dir: &Path,
            stay: Stay,
        ) -> Result<Self, Failure> {
            let folder = state_dir.join("platform");
            let address = address(state_dir);
            let storage = || {
                let exists = stay != Stay::Look || folder.exists();
                if exists { Storage::Directory(folder.clone()) } else { Storage::Memory }
            };
            let since = Instant::now();
            let until = since + PATIENCE;
            let mut reported = false;
            loop {
                let token = random_token()?;
                let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let config = Config {
                    storage: storage(),
                    data_dir: data_dir.to_owned(),
                    listen,
                    token: token.clone(),
                    taken: Taken::Replace,
                    stand_ins: Vec::new(),
                };
                match start(config).await {
                    Ok(running) => {
                        let published = (stay == Stay::Long).then(|| address.clone());
                        return Self::publish(Own { running, published }, token);
                    }
                    Err(PlatformError::InUse(_))
                        if stay != Stay::Long
                            && let Some(joined) = joined(&address) =>
                    {
                        return Ok(joined);
                    }
                    Err(PlatformError::InUse(_)) if stay == Stay::Long && joined(&address).is_some() => {
                        return Err(Failure {
                            exit: Exit::Failed,
                            message: format!(
                                "another process serves the local platform in {}: end it first, or name another place \
                                 with --state-dir",
                                folder.display()
                            ),
                        });
                    }
                    // The process that has the storage is about to publish its address, or to end.
                    Err(PlatformError::InUse(_)) if Instant::now() < until => {
                        if !reported && since.elapsed() >= SHORT {
                            reported = true;
                            let (folder, most) = (folder.display(), PATIENCE.as_secs());
                            eprintln!("waiting up to {most} s for the command that uses {folder} to end");
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => return Err(Failure::failed(&error)),
                }
            }
        }

        fn publish(own: Own, token: SecretString) -> Result<Self, Failure> {
            let url = own.running.base_url();
            if let Some(path) = &own.published {
                publish(path, &url, &token)?;
            }
            Self::at(&url, token, Some(own))
        }

        fn at(url: &str, token: SecretString, own: Option<Own>) -> Result<Self, Failure> {
            let base_url = BaseUrl::parse(url).map_err(|error| Failure::failed(&error))?;
            Ok(Self { base_url, token: Arc::new(move || Ok(token.clone())), own })
        }

        /// Stops the platform if this process runs it.
        pub(in crate::cli) async fn stop(self) {
            if let Some(own) = self.own {
                if let Some(published) = &own.published {
                    // The next process writes its own file.
                    let _ = std::fs::remove_file(published);
                }
                own.running.stop().await;
            }
        }
    }

    /// Joins the platform of another process, once it accepts connections.
    ///
    /// Its address must have been published.
    fn joined(address: &Path) -> Option<Local> {
        let published: Published = serde_json::from_slice(&std::fs::read(address).ok()?).ok()?;
        let at: SocketAddr = published.url.strip_prefix("http://")?.parse().ok()?;
        // A process that was killed leaves its address behind.
        std::net::TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
        Local::at(&published.url, published.token.into(), None).ok()
    }

    /// Publishes address and token for other commands with this state directory.
    pub(in crate::cli) fn publish(path: &Path, url: &str, token: &SecretString) -> Result<(), Failure> {
        let text = Published { url: url.to_owned(), token: token.expose_secret().to_owned() };
        write_private(path, &serde_json::to_vec(&text).unwrap_or_default()).map_err(|error| Failure {
            exit: Exit::Failed,
            message: format!("cannot write {}: {error}", path.display()),
        })
    }

    /// Returns the path of the published address for the state directory `dir`.
    pub(in crate::cli) fn address(dir: &Path) -> PathBuf {
        dir.join("platform").join("address.json")
    }

    /// Writes a file with mode 0600 atomically.
    pub(in crate::cli) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = std::fs::remove_file(&temporary);
        let mut file =
            std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    }

    pub(in crate::cli) fn random_token() -> Result<SecretString, Failure> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| Failure {
            exit: Exit::Failed,
            message: format!("the system returned no random numbers: {error}"),
        })?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }
}
