//! A look at a few files of a tree that was read before, where it is known that nothing happened to any other.

use super::walk::{self, LARGEST_TREE, MOST_FILES};
use super::{FILE_NAME, Ground, Reading, Seen, TreeFile};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// The tree with these files as they are now. `None` where they alone do not tell how it is: one is gone, is
/// being written, or is no plain file; `wellspring.toml` is among them; or a symlink may lead to one.
pub(super) fn read(
    before: &Reading,
    touched: &BTreeMap<String, bool>,
) -> Option<(Vec<TreeFile>, Seen, Ground)> {
    let Ground { real, has_links, mut total } = before.ground.clone();
    if has_links || before.root.canonicalize().ok()? != real {
        return None;
    }
    let (mut files, mut seen) = (before.files.clone(), before.seen.clone());
    for (name, finished) in touched {
        let at = files.binary_search_by(|file| (*file.path).cmp(name));
        let path = real.join(name);
        let kind = fs::symlink_metadata(&path).map(|found| found.file_type());
        match (at, kind) {
            // It came and went, or is nothing that is read.
            (Err(at), Err(_)) if !files.get(at).is_some_and(|next| next.path.starts_with(name)) => continue,
            (Err(_), Ok(kind)) if kind.is_file() && !walk::is_toml(name) => continue,
            (_, Ok(kind)) if kind.is_file() && *finished && name != FILE_NAME => {}
            _ => return None,
        }
        let text = walk::read_until_still(&path, &real)?;
        total += text.as_ref().map_or(0, |text| text.len() as u64);
        let file = TreeFile { path: name.as_str().into(), digest: walk::digest(&text), text: Some(text) };
        seen.forget(name);
        match at {
            Ok(at) => files[at] = TreeFile { path: Arc::clone(&files[at].path), ..file },
            Err(at) => files.insert(at, file),
        }
    }
    (total <= LARGEST_TREE && files.len() <= MOST_FILES).then_some((
        files,
        seen,
        Ground { real, has_links, total },
    ))
}
