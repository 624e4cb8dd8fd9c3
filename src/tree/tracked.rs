//! Reads from Git's index which files are tracked, without running Git.

use super::git_head;
use std::path::Path;

/// Maximum size of an index in bytes, above that of a million files.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// Returns true if Git tracks `dir` or a file below it.
///
/// An unreadable index counts as empty.
pub fn is_tracked(dir: &Path) -> bool {
    let (Some(name), Some(parent)) =
        (dir.file_name(), dir.parent().and_then(|parent| parent.canonicalize().ok()))
    else {
        return false;
    };
    let dir = parent.join(name);
    let checkout = parent.ancestors().find_map(|root| Some((root, git_head::git_of(root)?)));
    let Some((root, git)) = checkout else { return false };
    let index = git_head::bytes(&git.join("index"), MAX_INDEX_BYTES).unwrap_or_default();
    let Ok(inside) = dir.strip_prefix(root) else { return false };
    let inside = inside.as_os_str().as_encoded_bytes();
    tracks(&index, inside) || shared_index(&git, &index).is_some_and(|shared| tracks(&shared, inside))
}

/// Reads the shared part of a split index; `None` if the index is whole.
fn shared_index(git: &Path, index: &[u8]) -> Option<Vec<u8>> {
    let names = std::fs::read_dir(git).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut shared = names.filter_map(|name| {
        let id = name.strip_prefix("sharedindex.")?;
        let byte = |at: usize| u8::from_str_radix(id.get(at..at + 2)?, 16).ok();
        let bytes: Vec<u8> = (0..id.len()).step_by(2).map(byte).collect::<Option<_>>()?;
        // The extension `link` names the id.
        let link = [b"link".as_slice(), &[0; 4]].concat().len();
        let is_linked = |at: &[u8]| at.starts_with(b"link") && at[link..] == bytes;
        (!bytes.is_empty() && index.windows(link + bytes.len()).any(is_linked)).then_some(name)
    });
    git_head::bytes(&git.join(shared.next()?), MAX_INDEX_BYTES)
}

/// Returns true if the index contains this path or one below it.
fn tracks(index: &[u8], path: &[u8]) -> bool {
    let mut paths = TrackedPaths::of(index);
    paths.any(|name| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

/// Iterator over the paths of an index.
struct TrackedPaths<'i> {
    index: &'i [u8],
    version: u32,
    left: u32,
    at: usize,
    last: Vec<u8>,
    /// Length of an object id in bytes: 20 for SHA-1, 32 for SHA-256.
    hash: usize,
}

impl<'i> TrackedPaths<'i> {
    fn of(index: &'i [u8]) -> Self {
        let number = |at: usize| {
            index.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
        };
        let (version, count) = (number(4), number(8));
        let known = index.starts_with(b"DIRC") && (2..=4).contains(&version);
        let paths = |hash| Self {
            index,
            version,
            left: if known { count } else { 0 },
            at: 12,
            last: Vec::new(),
            hash,
        };
        // With the wrong id length, parsing fails early or yields no paths.
        let fits = |hash| {
            paths(hash).take(3).all(|path| !path.is_empty() && !path.contains(&b'\n')) && paths(hash).whole()
        };
        if fits(20) { paths(20) } else { paths(32) }
    }

    /// Returns true if every entry can be parsed.
    fn whole(mut self) -> bool {
        while self.left > 0 {
            if self.next().is_none() {
                return false;
            }
        }
        true
    }
}

impl Iterator for TrackedPaths<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        let flags_at = self.at + 40 + self.hash;
        let flags = u16::from_be_bytes(self.index.get(flags_at..flags_at + 2)?.try_into().ok()?);
        let extended = self.version >= 3 && flags & 0x4000 != 0;
        let mut at = flags_at + if extended { 4 } else { 2 };
        let mut name = Vec::new();
        if self.version == 4 {
            // Number of trailing bytes dropped from the previous path, in Git's varint format.
            let mut byte = *self.index.get(at)?;
            let mut drop = usize::from(byte & 127);
            while byte & 128 != 0 {
                at += 1;
                byte = *self.index.get(at)?;
                drop = ((drop + 1) << 7) | usize::from(byte & 127);
            }
            at += 1;
            name.extend_from_slice(&self.last[..self.last.len().checked_sub(drop)?]);
        }
        let rest = self.index.get(at..)?;
        let length = rest.iter().position(|byte| *byte == 0)?;
        name.extend_from_slice(&rest[..length]);
        let end = at + length + 1;
        self.at = match self.version {
            4 => end,
            // Padded with at least one zero byte to a multiple of eight bytes.
            _ => self.at + (end - self.at).div_ceil(8) * 8,
        };
        self.last.clone_from(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_git_tracks_is_known_in_every_version_of_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let git = |args: &[&str]| {
            let git = Command::new("git").args(args).current_dir(&root).env("HOME", &root).output().unwrap();
            assert!(git.status.success(), "{git:?}");
        };
        git(&["init", "-q"]);
        for file in [".well-known/a", ".wellspring/locks/x.lock", "sub/.wellspring/state.db", "w.toml"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), file).unwrap();
        }
        let tracked = |dir: &str| is_tracked(&root.join(dir));
        assert!(!tracked(".wellspring"), "there is no index");
        git(&["add", ".well-known", "w.toml"]);
        for version in ["2", "3", "4"] {
            git(&["update-index", "--index-version", version]);
            assert!(!tracked(".wellspring") && !tracked("sub/.wellspring"), "{version}");
            git(&["add", "-f", ".wellspring"]);
            assert!(tracked(".wellspring") && !tracked("sub/.wellspring") && !tracked(".well"), "{version}");
            assert!(tracked(".wellspring/locks"), "{version}");
            git(&["rm", "-rq", "--cached", ".wellspring"]);
        }
        git(&["add", "-f", ".wellspring"]);
        git(&["update-index", "--split-index"]);
        assert!(tracked(".wellspring") && !tracked("sub/.wellspring"), "split");
        git(&["update-index", "--no-split-index"]);
        git(&["rm", "-rq", "--cached", ".wellspring"]);
        assert!(!tracked(".wellspring"), "whole again");
        git(&["add", "-f", "sub"]);
        assert!(tracked("sub/.wellspring") && !tracked(".wellspring"));
        std::fs::write(root.join(".git/index"), b"DIRC\0\0\0\x02\0\0\xff\xff nothing").unwrap();
        assert!(!tracked("sub/.wellspring"), "what is no index");
    }
}
