//! Record of which file declared which workspaces.
//!
//! If a file can no longer be read, only the workspaces it declared are held back.

use super::codec;
use super::{Store, StoreError};
use crate::model::WorkspaceRef;
use rusqlite::{Row, params};
use std::collections::BTreeMap;

impl Store {
    /// Replaces the record of what the files of `root` declare.
    pub async fn record_files(
        &self,
        root: &str,
        files: Vec<(String, Vec<WorkspaceRef>)>,
    ) -> Result<(), StoreError> {
        let root = root.to_owned();
        self.write(move |connection, platform| {
            connection.execute("DELETE FROM files WHERE platform = ?1 AND root = ?2", [platform, &root])?;
            let mut statement =
                connection.prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4)")?;
            for (file, workspaces) in &files {
                statement.execute(params![
                    platform,
                    root,
                    file,
                    codec::encode(workspaces.as_slice(), file)?
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Returns what each file of `root` declared when it was last fully read.
    pub async fn files(&self, root: &str) -> Result<BTreeMap<String, Vec<WorkspaceRef>>, StoreError> {
        let root = root.to_owned();
        self.read(move |connection, platform| {
            let mut statement = connection
                .prepare_cached("SELECT file, units FROM files WHERE platform = ?1 AND root = ?2")?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, codec::decode(&row.get::<_, String>(1)?, "files")?));
            statement.query_and_then([platform, &root], read)?.collect()
        })
        .await
    }
}
