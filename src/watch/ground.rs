//! What must be watched for a tree: its folders, and the places where its root could be swapped.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The most folders that are watched; a tree of sources has far fewer. The rest is found by the
/// periodic reading.
const MOST_FOLDERS: usize = 50_000;

/// The most symlinks that are followed to the root, as the kernel has it.
const MOST_LINKS: usize = 40;

/// The lay of the land around a configured path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ground {
    /// The directory it leads to, `None` while there is none.
    pub(super) root: Option<PathBuf>,
    /// Every folder of the tree, the root first among them.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Paths that decide where the root is: symlinks on the way, what is missing, the root itself.
    pub(super) hinges: BTreeSet<PathBuf>,
    /// The folders in which the hinges stand.
    pub(super) posts: BTreeSet<PathBuf>,
    /// The `.git` folder of the checkout that the tree is, or lies in.
    pub(super) git: Option<PathBuf>,
}

impl Ground {
    /// Looks at what stands there now.
    pub(super) fn survey(configured: &Path) -> Self {
        let mut ground = Self::trace(configured);
        if let Some(root) = ground.root.clone() {
            ground.folders = folders(&root);
            ground.git = root.ancestors().map(|above| above.join(".git")).find(|git| git.is_dir());
        }
        ground
    }

    /// Is the root somewhere else by now, or the tree of another shape?
    pub(super) fn is_outdated(&self, configured: &Path) -> bool {
        *self != Self::survey(configured)
    }

    /// Everything to watch, each folder once and by itself. Not recursively: that would take up
    /// all of `.git`, and would miss what is written into a new folder before it is watched.
    pub(super) fn watched(&self) -> BTreeSet<&PathBuf> {
        self.folders.iter().chain(&self.posts).chain(&self.git).collect()
    }

    /// Follows the path one name at a time and notes every place where it could turn elsewhere.
    fn trace(configured: &Path) -> Self {
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
                Ok(target) if links < MOST_LINKS => {
                    links += 1;
                    ground.hinge(&next);
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).rev() {
                        ahead.push_front(name);
                    }
                }
                _ if next.is_dir() && links < MOST_LINKS => here = next,
                _ => {
                    ground.hinge(&next);
                    return ground;
                }
            }
        }
        ground.hinge(&here);
        ground.root = Some(here);
        ground
    }

    fn hinge(&mut self, path: &Path) {
        self.hinges.insert(path.to_owned());
        self.posts.extend(path.parent().map(Path::to_owned));
    }
}

/// Is this a name that the tree does not read? Names with two dots are how Kubernetes mounts its
/// volumes, and change when these do.
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

/// `root` and every folder below it that is not hidden. Links are not followed, so there are no
/// loops; a link that is turned elsewhere shows in its own folder.
fn folders(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(folder) = ahead.pop() {
        if found.len() == MOST_FOLDERS {
            let root = root.display();
            tracing::warn!(%root, "more than {MOST_FOLDERS} folders: the others are not watched");
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
