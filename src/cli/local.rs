//! `platform.url = "local"`: join the local platform that another process runs, or run one.
//!
//! Whoever runs it holds a lock in `STATE/platform` and publishes address and token there (0600).

use super::Failure;
use crate::remote::{BaseUrl, Token};
use secrecy::SecretString;
#[cfg(not(feature = "local-platform"))]
use std::path::Path;
#[cfg(feature = "local-platform")]
use std::path::PathBuf;
use std::sync::Arc;

/// The local platform, running for as long as this lives.
pub(super) struct Local {
    pub(super) base_url: BaseUrl,
    pub(super) token: Token,
    #[cfg(feature = "local-platform")]
    own: Option<Own>,
}

/// What the state knows the local platform as: its port changes, its storage does not.
pub(super) const KEY: &str = "local";

#[cfg(not(feature = "local-platform"))]
impl Local {
    pub(super) async fn open(_: &Path, _: &Path, _: bool) -> Result<Self, Failure> {
        Err(Failure::usage("platform.url is \"local\", but this build has no local platform"))
    }

    pub(super) async fn stop(self) {}
}

#[cfg(feature = "local-platform")]
struct Own {
    running: crate::platform::Running,
    published: Option<PathBuf>,
    _lock: Option<std::fs::File>,
}

#[cfg(feature = "local-platform")]
mod running {
    use super::{Failure, Local, Own};
    use crate::platform::{Config, Storage, start};
    use crate::remote::BaseUrl;
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Serialize};
    use std::fs::{File, TryLockError};
    use std::io::{self, Write};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// How long another process may take from its lock to its address.
    const PUBLISHING: Duration = Duration::from_secs(10);

    #[derive(Serialize, Deserialize)]
    struct Published {
        url: String,
        token: String,
    }

    impl Local {
        /// Joins or starts. With `keep` false nothing is created: where no storage stands yet, an
        /// empty platform in memory answers.
        pub(in crate::cli) async fn open(state_dir: &Path, data_dir: &Path, keep: bool) -> Result<Self, Failure> {
            let folder = state_dir.join("platform");
            if !keep && !folder.exists() {
                return Self::start(Storage::Memory, data_dir, None).await;
            }
            let failed = |doing: &str, error: io::Error| Failure {
                exit: crate::cli::Exit::Failed,
                message: format!("cannot {doing} {}: {error}", folder.display()),
            };
            let until = tokio::time::Instant::now() + PUBLISHING;
            loop {
                match lock(&folder).map_err(|error| failed("use the local platform in", error))? {
                    Some(lock) => return Self::start(Storage::Directory(folder.clone()), data_dir, Some((folder, lock))).await,
                    None => match published(&folder) {
                        Some(local) => return Ok(local),
                        None if tokio::time::Instant::now() < until => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        None => {
                            let error = io::Error::other("another process holds it and does not answer");
                            return Err(failed("use the local platform in", error));
                        }
                    },
                }
            }
        }

        async fn start(storage: Storage, data_dir: &Path, publish: Option<(PathBuf, File)>) -> Result<Self, Failure> {
            let token = random_token()?;
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let config = Config { storage, data_dir: data_dir.to_owned(), listen, token: token.clone() };
            let running = start(config).await.map_err(|error| Failure::failed(&error))?;
            let url = running.base_url();
            let published = match &publish {
                None => None,
                Some((folder, _)) => {
                    let path = folder.join("address.json");
                    let text = Published { url: url.clone(), token: token.expose_secret().to_owned() };
                    write_private(&path, &serde_json::to_vec(&text).unwrap_or_default()).map_err(|error| Failure {
                        exit: crate::cli::Exit::Failed,
                        message: format!("cannot write {}: {error}", path.display()),
                    })?;
                    Some(path)
                }
            };
            let own = Own { running, published, _lock: publish.map(|(_, lock)| lock) };
            Self::at(&url, token, Some(own))
        }

        fn at(url: &str, token: SecretString, own: Option<Own>) -> Result<Self, Failure> {
            let base_url = BaseUrl::parse(url).map_err(|error| Failure::failed(&error))?;
            Ok(Self { base_url, token: super::fixed(token), own })
        }

        /// Does this process run it?
        pub(in crate::cli) fn is_own(&self) -> bool {
            self.own.is_some()
        }

        /// Ends it, if it is ours.
        pub(in crate::cli) async fn stop(self) {
            if let Some(own) = self.own {
                if let Some(published) = &own.published {
                    let _ = std::fs::remove_file(published);
                }
                own.running.stop().await;
            }
        }
    }

    /// `None` when another process holds it.
    fn lock(folder: &Path) -> io::Result<Option<File>> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let options = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).clone();
        let file = options.open(folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn published(folder: &Path) -> Option<Local> {
        let text = std::fs::read(folder.join("address.json")).ok()?;
        let published: Published = serde_json::from_slice(&text).ok()?;
        Local::at(&published.url, published.token.into(), None).ok()
    }

    /// Old or new, never half.
    pub(in crate::cli) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = std::fs::remove_file(&temporary);
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    }

    pub(in crate::cli) fn random_token() -> Result<SecretString, Failure> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| Failure {
            exit: crate::cli::Exit::Failed,
            message: format!("the system gives no random numbers: {error}"),
        })?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }
}

#[cfg(feature = "local-platform")]
pub(super) use running::{random_token, write_private};

fn fixed(token: SecretString) -> Token {
    Arc::new(move || Ok(token.clone()))
}
