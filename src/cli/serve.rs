//! `wellspring serve`: runs the local platform alone.

use super::args::{Common, Format, ServeArgs, ServeConflict};
use super::local_platform::{address, random_token, write_address_file, write_private};
use super::{CommandError, Exit, output};
use crate::daemon;
use crate::platform::{AddressConflict, HostOverride, NameConflict, PlatformConfig, Storage, start};
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) async fn run(common: &Common, args: &ServeArgs) -> Result<Exit, CommandError> {
    if !args.listen.ip().is_loopback() && !args.allow_plaintext {
        return Err(CommandError::usage(&format!(
            "the local platform has no TLS: on {} the token and the passwords of sources would be sent over the network \
             unencrypted. Listen on 127.0.0.1 behind a proxy with TLS, or pass --allow-plaintext",
            args.listen
        )));
    }
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events)?;
    let state_dir = common.flags().state_dir.unwrap_or_else(|| ".wellspring".into());
    let folder = std::path::absolute(state_dir.join("platform"))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| failed(&format!("cannot create {}: {error}", folder.display())))?;
    let token = token(&folder)?;
    let (on_conflict, on_address_conflict) = conflicts(args);
    let config = PlatformConfig {
        storage: Storage::Directory(folder.clone()),
        data_dir: std::path::absolute(&args.data_dir)?.components().collect(),
        listen: args.listen,
        token: token.secret.clone(),
        on_conflict,
        on_address_conflict,
        host_overrides: args
            .stand_in
            .iter()
            .map(|(host, at)| HostOverride { host: host.clone(), connect_to: *at })
            .collect(),
    };
    let data_dir = config.data_dir.clone();
    let running = start(config).await.map_err(|error| CommandError::failed(&error))?;
    let address = address(&state_dir);
    write_address_file(&address, &running.base_url(), &token.secret)?;
    announce(common, args, &running.base_url(), &data_dir, &folder, &token);
    while !daemon::is_stopping(&stopping) && inbox.recv().await.is_some() {}
    if !common.quiet() {
        note!("shutting down; waiting up to 10 s for requests in progress");
    }
    let _ = std::fs::remove_file(address);
    running.stop().await;
    Ok(Exit::Success)
}

/// Returns the reactions to taken names, and to taken addresses of accounts.
///
/// Names are unique, so `duplicate` concerns addresses only.
fn conflicts(args: &ServeArgs) -> (NameConflict, AddressConflict) {
    match args.on_conflict {
        None if args.refuse_taken => (NameConflict::Refuse, AddressConflict::default()),
        None => (NameConflict::default(), AddressConflict::default()),
        Some(ServeConflict::Replace) => (NameConflict::Replace, AddressConflict::Replace),
        Some(ServeConflict::Duplicate) => (NameConflict::Replace, AddressConflict::Duplicate),
        Some(ServeConflict::Reject) => (NameConflict::Refuse, AddressConflict::Reject),
    }
}

/// Prints address, data directory and token, in a form that a shell can evaluate.
fn announce(
    common: &Common,
    args: &ServeArgs,
    url: &str,
    data_dir: &Path,
    folder: &Path,
    token: &ServeTarget,
) {
    if common.format == Format::Json {
        output::write_json(&serde_json::json!({
            "format_version": 1, "url": url, "openapi": format!("{url}/openapi.json"),
            "data_dir": data_dir, "storage": folder, "token_file": token.file,
        }));
        return;
    }
    let mut text = format!(
        "# Listening on {url}; OpenAPI at {url}/openapi.json\n\
         # Files are read below {}; data is stored in {}\n",
        data_dir.display(),
        folder.display()
    );
    for (host, at) in &args.stand_in {
        text.push_str(&format!("# {host} is replaced by {at}\n"));
    }
    text.push_str(&format!("\nexport WELLSPRING_URL={url}\n"));
    text.push_str(&match &token.file {
        None => "# The token is PMTX_TOKEN, as set in this environment\n".to_owned(),
        Some(path) => {
            let path = path.display().to_string().replace('\'', r"'\''");
            format!("export PMTX_TOKEN=\"$(cat '{path}')\"\n")
        }
    });
    text.push_str("\n# Ctrl-C stops it\n");
    output::print(&text);
}

/// The token, and its file unless it comes from the environment.
struct ServeTarget {
    secret: SecretString,
    file: Option<PathBuf>,
}

/// Returns `PMTX_TOKEN`, else a generated token.
///
/// A generated token is stored next to the storage, readable by its owner only.
fn token(folder: &Path) -> Result<ServeTarget, CommandError> {
    if let Some(token) = std::env::var("PMTX_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok(ServeTarget { secret: token.into(), file: None });
    }
    let path = folder.join("token");
    let secret = match std::fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => token.trim().to_owned().into(),
        _ => {
            let token = random_token()?;
            write_private(&path, token.expose_secret().as_bytes())
                .map_err(|error| failed(&format!("cannot write {}: {error}", path.display())))?;
            token
        }
    };
    Ok(ServeTarget { secret, file: Some(path) })
}

fn failed(message: &str) -> CommandError {
    CommandError { exit: Exit::Failed, message: message.to_owned() }
}
