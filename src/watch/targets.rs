//! Paths to watch: the tree's folders, and the places where its root could change.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Maximum number of watched folders, far above the size of real trees.
///
/// Changes in further folders are found by the periodic read.
const MAX_FOLDERS: usize = 50_000;

/// Maximum number of symlinks followed to the root, the same as in the kernel.
const MAX_SYMLINKS: usize = 40;

/// Paths to watch for a configured root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchTargets {
    /// Directory at the end of the path; `None` if it does not exist.
    pub(super) root: Option<PathBuf>,
    /// All folders of the tree, including the root.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Paths that decide the location: symlinks, missing parts, the root itself.
    pub(super) swap_points: BTreeSet<PathBuf>,
    /// Folders that contain the hinges.
    pub(super) swap_parents: BTreeSet<PathBuf>,
    /// `.git` folder of the enclosing checkout.
    pub(super) git: Option<PathBuf>,
}

impl WatchTargets {
    /// Collects the paths as they are now.
    pub(super) fn scan(configured: &Path) -> Self {
        let mut ground = Self::resolve(configured);
        if let Some(root) = ground.root.clone() {
            ground.folders = folders(&root);
            ground.git = root.ancestors().map(|above| above.join(".git")).find(|git| git.is_dir());
        }
        ground
    }

    /// Returns true if the root moved or the folders of the tree changed.
    pub(super) fn is_outdated(&self, configured: &Path) -> bool {
        *self != Self::scan(configured)
    }

    /// Returns every folder to watch, not recursively.
    ///
    /// Recursive watching would include all of `.git`, and would miss files written into a new
    /// folder before it is watched.
    pub(super) fn watched(&self) -> BTreeSet<&PathBuf> {
        self.folders.iter().chain(&self.swap_parents).chain(&self.git).collect()
    }

    /// Follows the path name by name and records every place where it could change.
    fn resolve(configured: &Path) -> Self {
        let mut ground = Self::default();
        let mut ahead: VecDeque<OsString> = names(configured).collect();
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            match fs::read_link(&next) {
                Ok(target) if links < MAX_SYMLINKS => {
                    links += 1;
                    ground.add_swap_point(&next);
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).rev() {
                        ahead.push_front(name);
                    }
                }
                _ if next.is_dir() && links < MAX_SYMLINKS => here = next,
                _ => {
                    ground.add_swap_point(&next);
                    return ground;
                }
            }
        }
        ground.add_swap_point(&here);
        ground.root = Some(here);
        ground
    }

    fn add_swap_point(&mut self, path: &Path) {
        self.swap_points.insert(path.to_owned());
        self.swap_parents.extend(path.parent().map(Path::to_owned));
    }
}

/// Returns true for names that the tree ignores.
///
/// Names with two leading dots are not ignored: Kubernetes swaps them to update a volume.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..")
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Returns `root` and every folder below it that is not hidden.
///
/// Links are not followed, so there are no loops; a retargeted link causes an event in its own
/// folder.
fn folders(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(folder) = ahead.pop() {
        if found.len() == MAX_FOLDERS {
            let root = root.display();
            tracing::warn!(%root, "more than {MAX_FOLDERS} folders: the others are not watched");
            break;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && !is_hidden(&entry.file_name()) {
                ahead.push(entry.path());
            }
        }
        found.insert(folder);
    }
    found
}
