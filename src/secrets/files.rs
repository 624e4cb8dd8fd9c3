//! Secrets in files: regular, short, UTF-8, and inside their directory.

use super::MAX_VALUE_BYTES;
use secrecy::zeroize::{Zeroize, Zeroizing};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Resolves `name` in `dir` to its real path.
///
/// Links are followed (Kubernetes mounts secrets through `..data`) if they end inside `dir`.
pub(super) fn locate(dir: &Path, name: &str) -> Result<PathBuf, String> {
    // `a//b` and `a/.` would be aliases of one file, so only the plain form is accepted.
    let plain: PathBuf =
        Path::new(name).components().filter(|part| matches!(part, Component::Normal(_))).collect();
    if name.is_empty() || plain.as_os_str() != name {
        return Err("is not a plain name below the directory of secrets".to_owned());
    }
    let dir = fs::canonicalize(dir).map_err(|error| error_text("the directory of secrets", &error))?;
    let path = fs::canonicalize(dir.join(name)).map_err(|error| error_text("the file", &error))?;
    if path.starts_with(&dir) { Ok(path) } else { Err("leads out of the directory of secrets".to_owned()) }
}

/// Reads the value in the file, without one trailing newline.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: io::Error| error_text("the file", &error);
    // Check before opening: opening a FIFO would block until it has a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 1));
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err("is longer than 64 KiB".to_owned());
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        error.into_bytes().zeroize();
        "is not UTF-8".to_owned()
    })?;
    let mut text = Zeroizing::new(text);
    let value = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
    let length = value.len();
    text.truncate(length);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// Describes an operating system error without the path.
///
/// The path may be confidential to the host.
fn error_text(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{what} does not exist"),
        io::ErrorKind::PermissionDenied => format!("{what} may not be read by this user"),
        _ => format!("{what} cannot be read ({})", error.kind()),
    }
}
