//! Fingerprint key: 32 random bytes in their own file.

use super::StoreError;
use crate::model::FingerprintKey;
use secrecy::zeroize::Zeroizing;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Loads the key in `dir`, creating it if missing; the caller makes the directory durable.
///
/// Returns true if the key was created. The caller holds the opening lock, so no other process opens the state.
pub(super) fn load_or_create(dir: &Path) -> Result<(FingerprintKey, bool), StoreError> {
    if let Some(key) = load(dir)? {
        return Ok((key, false));
    }
    let bytes = random(dir)?;
    write(dir, &bytes[..]).map_err(|source| StoreError::File {
        operation: "write the fingerprint key",
        path: file(dir),
        source,
    })?;
    Ok((FingerprintKey::new(*bytes), true))
}

/// Loads the key in `dir`, or returns a temporary key if there is none.
///
/// No recorded fingerprint matches a temporary key.
pub(super) fn load_or_ephemeral(dir: &Path) -> Result<FingerprintKey, StoreError> {
    match load(dir)? {
        Some(key) => Ok(key),
        None => random(dir).map(|bytes| FingerprintKey::new(*bytes)),
    }
}

fn load(dir: &Path) -> Result<Option<FingerprintKey>, StoreError> {
    let path = file(dir);
    match read(&path).map(Zeroizing::new) {
        Ok(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Some(FingerprintKey::new(bytes))),
            Err(_) => Err(StoreError::Key { path }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::File { operation: "read the fingerprint key", path, source }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A key has 32 bytes; reading one more detects longer files.
    let mut bytes = Vec::with_capacity(33);
    super::trust::options().read(true).open(path)?.take(33).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a temporary file, syncs and renames it, so the key is never partial.
fn write(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join("fingerprint.key.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&draft, file(dir))
}

fn random(dir: &Path) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| StoreError::File {
        operation: "find randomness for the fingerprint key",
        path: file(dir),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

fn file(dir: &Path) -> PathBuf {
    dir.join("fingerprint.key")
}
