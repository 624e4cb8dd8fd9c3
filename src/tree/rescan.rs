//! Updates a read with a few changed files, if no other file changed.

use super::scan::{self, MAX_FILES, MAX_TREE_BYTES};
use super::{FILE_NAME, ScanContext, StatCache, TreeFile, TreeSnapshot};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// Returns the tree with the current content of these files.
///
/// `None` if that is not sufficient: a file was removed, is being written or is not regular;
/// `wellspring.toml` is among them; or a symlink may lead to one of them.
pub(super) fn read(
    before: &TreeSnapshot,
    touched: &BTreeMap<String, bool>,
) -> Option<(Vec<TreeFile>, StatCache, ScanContext)> {
    let ScanContext { real, has_links, mut total } = before.context.clone();
    if has_links || before.root.canonicalize().ok()? != real {
        return None;
    }
    let (mut files, mut seen) = (before.files.clone(), before.stat_cache.clone());
    for (name, finished) in touched {
        let at = files.binary_search_by(|file| (*file.path).cmp(name));
        let path = real.join(name);
        let kind = fs::symlink_metadata(&path).map(|found| found.file_type());
        match (at, kind) {
            // Created and removed meanwhile, or not a file that is read.
            (Err(at), Err(_)) if !files.get(at).is_some_and(|next| next.path.starts_with(name)) => continue,
            (Err(_), Ok(kind)) if kind.is_file() && !scan::is_toml(name) => continue,
            (_, Ok(kind)) if kind.is_file() && *finished && name != FILE_NAME => {}
            _ => return None,
        }
        let text = scan::read_stable(&path, &real)?;
        total += text.as_ref().map_or(0, |text| text.len() as u64);
        let file = TreeFile { path: name.as_str().into(), digest: scan::digest(&text), text: Some(text) };
        seen.forget(name);
        match at {
            Ok(at) => files[at] = TreeFile { path: Arc::clone(&files[at].path), ..file },
            Err(at) => files.insert(at, file),
        }
    }
    (total <= MAX_TREE_BYTES && files.len() <= MAX_FILES).then_some((
        files,
        seen,
        ScanContext { real, has_links, total },
    ))
}
