//! Which commit is checked out, read from Git's own files: no program is run.

use super::linked_checkout;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Longer files than these are not read: `HEAD` and a ref hold one line, `packed-refs` one for each ref.
const LONGEST_LINE: u64 = 4096;
const LONGEST_REFS: u64 = 16 << 20;

/// The commit that `HEAD` leads to in the checkout that holds `root`, in hexadecimal. `None` outside
/// of one, and where it cannot be told.
pub(super) fn checked_out(root: &Path) -> Option<String> {
    // Where a symlink leads comes first: it is swapped from checkout to checkout.
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let git = real.ancestors().chain(root.ancestors()).find_map(|folder| {
        let git = folder.join(".git");
        if git.is_dir() { Some(git) } else { linked_checkout(&git) }
    })?;
    let head = text(&git.join("HEAD"), LONGEST_LINE)?;
    let Some(name) = head.trim().strip_prefix("ref:") else { return commit(&head) };
    let name = name.trim();
    if !name.starts_with("refs/") || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    // A linked checkout shares its branches with the others.
    let shared = text(&git.join("commondir"), LONGEST_LINE).map(|common| git.join(common.trim()));
    let shared = shared.unwrap_or_else(|| git.clone());
    loose(&git, name).or_else(|| loose(&shared, name)).or_else(|| packed(&shared, name))
}

fn loose(git: &Path, name: &str) -> Option<String> {
    commit(&text(&git.join(name), LONGEST_LINE)?)
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let refs = text(&git.join("packed-refs"), LONGEST_REFS)?;
    refs.lines().find_map(|line| commit(line.strip_suffix(name)?.strip_suffix(' ')?))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

fn text(path: &Path, longest: u64) -> Option<String> {
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= longest) {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(longest).read_to_string(&mut text).ok()?;
    Some(text)
}
