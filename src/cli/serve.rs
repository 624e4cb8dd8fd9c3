//! `wellspring serve`: the local platform alone.

use super::args::{Common, ServeArgs};
use super::local::{address, publish, random_token, write_private};
use super::{Exit, Failure, answer};
use crate::daemon;
use crate::platform::{Config, Storage, start};
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub(super) async fn run(common: &Common, args: &ServeArgs) -> Result<Exit, Failure> {
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events)?;
    let state_dir = common.flags(None).state_dir.unwrap_or_else(|| ".wellspring".into());
    let folder = state_dir.join("platform");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| failed(&format!("cannot create {}: {error}", folder.display())))?;
    let (token, paste) = token(&folder)?;
    let data_dir = std::path::absolute(&args.data_dir)?;
    let storage = Storage::Directory(folder);
    let config = Config { storage, data_dir, listen: args.listen, token: token.clone() };
    let running = start(config).await.map_err(|error| Failure::failed(&error))?;
    let address = address(&state_dir);
    publish(&address, &running.base_url(), &token)?;
    let url = running.base_url();
    answer::write(&format!("The Data API answers at {url}\n\nexport WELLSPRING_URL={url}\n{paste}"));
    while !daemon::is_set(&stopping) && inbox.recv().await.is_some() {}
    let _ = std::fs::remove_file(address);
    running.stop().await;
    Ok(Exit::Done)
}

/// `PMTX_TOKEN`, else one that is made once and kept beside the storage, readable by its owner only.
/// With it, the line that gives it to a shell.
fn token(folder: &Path) -> Result<(SecretString, String), Failure> {
    if let Some(token) = std::env::var("PMTX_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok((token.into(), "# PMTX_TOKEN is the token, as it is set here".to_owned()));
    }
    let path = folder.join("token");
    let absolute = std::path::absolute(&path)?.display().to_string().replace('\'', r"'\''");
    let paste = format!("export PMTX_TOKEN=\"$(cat '{absolute}')\"");
    match std::fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => Ok((token.trim().to_owned().into(), paste)),
        _ => {
            let token = random_token()?;
            write_private(&path, token.expose_secret().as_bytes())
                .map_err(|error| failed(&format!("cannot write {}: {error}", path.display())))?;
            Ok((token, paste))
        }
    }
}

fn failed(message: &str) -> Failure {
    Failure { exit: Exit::Failed, message: message.to_owned() }
}
