//! A directory of files that is deleted after the test.

use std::path::{Path, PathBuf};

pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Creates a directory with these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let tree = Self::new();
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of a file below the root.
    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file by renaming a finished one into place, as careful tools do.
    pub fn write(&self, path: &str, text: &str) {
        let target = self.join(path);
        let folder = target.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.persist(target).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.join(path)).unwrap()
    }

    pub fn remove(&self, path: &str) {
        let target = self.join(path);
        if target.is_dir() {
            std::fs::remove_dir_all(target).unwrap();
        } else {
            std::fs::remove_file(target).unwrap();
        }
    }
}
