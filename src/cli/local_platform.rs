//! `platform.url = "local"`: joins a running local platform, or starts one.
//!
//! Only one process can open the platform's storage. `run` and `serve` are long-running, so they publish
//! address and token next to it (0600) for other commands to join. A platform started by a short command ends
//! with it and is not published; other commands wait for it to end.

use super::CommandError;
use crate::client::{BaseUrl, Token};

/// Time for which a command needs the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalPlatformMode {
    /// Until shutdown; the command must run its own platform.
    LongRunning,
    /// Briefly.
    OneShot,
    /// Briefly, without creating anything.
    ReadOnly,
}

/// Key of the local platform in the state.
///
/// Unlike its port, its storage does not change.
pub(super) const KEY: &str = "local";

/// The local platform, which runs until this is stopped.
pub(super) struct LocalPlatform {
    pub(super) base_url: BaseUrl,
    pub(super) token: Token,
    #[cfg(feature = "local-platform")]
    own: Option<running::OwnPlatform>,
}

#[cfg(not(feature = "local-platform"))]
impl LocalPlatform {
    pub(super) async fn open(
        _: &std::path::Path,
        _: &std::path::Path,
        _: LocalPlatformMode,
    ) -> Result<Self, CommandError> {
        Err(CommandError::usage(
            "platform.url is \"local\", but this build does not include the local platform",
        ))
    }

    pub(super) async fn stop(self) {}
}

#[cfg(feature = "local-platform")]
pub(super) use running::{address, random_token, write_address_file, write_private};

#[cfg(feature = "local-platform")]
mod running {
    use super::{CommandError, LocalPlatform, LocalPlatformMode};
    use crate::cli::Exit;
    use crate::client::BaseUrl;
    use crate::platform::{
        AddressConflict, NameConflict, PlatformConfig, PlatformError, Running, Storage, start,
    };
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
    const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

    /// Wait from which it is reported; most are shorter.
    const WAIT_REPORT_DELAY: Duration = Duration::from_millis(500);

    /// A platform run by this process.
    pub(super) struct OwnPlatform {
        running: Running,
        published: Option<PathBuf>,
    }

    #[derive(Serialize, Deserialize)]
    struct PublishedAddress {
        url: String,
        token: String,
    }

    impl LocalPlatform {
        /// Joins or starts the local platform.
        ///
        /// [`LocalPlatformMode::ReadOnly`] creates nothing: if there is no storage yet, an empty platform in memory is used.
        pub(in crate::cli) async fn open(
            state_dir: &Path,
            data_dir: &Path,
            stay: LocalPlatformMode,
        ) -> Result<Self, CommandError> {
            let folder = state_dir.join("platform");
            let address = address(state_dir);
            let storage = || {
                let exists = stay != LocalPlatformMode::ReadOnly || folder.exists();
                if exists { Storage::Directory(folder.clone()) } else { Storage::Memory }
            };
            let since = Instant::now();
            let until = since + JOIN_TIMEOUT;
            let mut reported = false;
            loop {
                let token = random_token()?;
                let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let config = PlatformConfig {
                    storage: storage(),
                    data_dir: data_dir.to_owned(),
                    listen,
                    token: token.clone(),
                    on_conflict: NameConflict::Replace,
                    on_address_conflict: AddressConflict::default(),
                    host_overrides: Vec::new(),
                };
                match start(config).await {
                    Ok(running) => {
                        let published =
                            if stay == LocalPlatformMode::LongRunning { Some(address.clone()) } else { None };
                        return Self::publish_own(OwnPlatform { running, published }, token);
                    }
                    Err(PlatformError::InUse(_))
                        if stay != LocalPlatformMode::LongRunning
                            && let Some(joined) = join_running(&address) =>
                    {
                        return Ok(joined);
                    }
                    Err(PlatformError::InUse(_))
                        if stay == LocalPlatformMode::LongRunning && join_running(&address).is_some() =>
                    {
                        return Err(CommandError {
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
                        if !reported && since.elapsed() >= WAIT_REPORT_DELAY {
                            reported = true;
                            let (folder, most) = (folder.display(), JOIN_TIMEOUT.as_secs());
                            note!("waiting up to {most} s for the command that uses {folder} to end");
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => return Err(CommandError::failed(&error)),
                }
            }
        }

        fn publish_own(own: OwnPlatform, token: SecretString) -> Result<Self, CommandError> {
            let url = own.running.base_url();
            if let Some(path) = &own.published {
                write_address_file(path, &url, &token)?;
            }
            Self::from_url(&url, token, Some(own))
        }

        fn from_url(url: &str, token: SecretString, own: Option<OwnPlatform>) -> Result<Self, CommandError> {
            let base_url = BaseUrl::parse(url).map_err(|error| CommandError::failed(&error))?;
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
    fn join_running(address: &Path) -> Option<LocalPlatform> {
        let published: PublishedAddress = serde_json::from_slice(&std::fs::read(address).ok()?).ok()?;
        let at: SocketAddr = published.url.strip_prefix("http://")?.parse().ok()?;
        // A process that was killed leaves its address behind.
        std::net::TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
        LocalPlatform::from_url(&published.url, published.token.into(), None).ok()
    }

    /// Publishes address and token for other commands with this state directory.
    pub(in crate::cli) fn write_address_file(
        path: &Path,
        url: &str,
        token: &SecretString,
    ) -> Result<(), CommandError> {
        let text = PublishedAddress { url: url.to_owned(), token: token.expose_secret().to_owned() };
        write_private(path, &serde_json::to_vec(&text).unwrap_or_default()).map_err(|error| CommandError {
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

    pub(in crate::cli) fn random_token() -> Result<SecretString, CommandError> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| CommandError {
            exit: Exit::Failed,
            message: format!("the system returned no random numbers: {error}"),
        })?;
        Ok(hex::encode(bytes).into())
    }
}
