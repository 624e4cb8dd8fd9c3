//! Units that a run found to be as declared, for the next run. Whatever is written of a unit takes that
//! away.

use super::{State, StateError, codec, inventory};
use crate::model::Unit;
use rusqlite::{Connection, OptionalExtension, params};

/// What was kept of runs over one root.
pub struct Settled {
    /// What the files and the platform were read by.
    pub ground: String,
    /// Each unit, as it was found.
    pub units: Vec<(Unit, String)>,
}

impl State {
    /// What was kept of runs over `root`, as far as nothing was written since.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn settled(&self, root: &str) -> Result<Option<Settled>, StateError> {
        let root = root.to_owned();
        self.read(move |connection, platform| {
            let Some(ground) = ground(connection, &root)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(
                "SELECT workspace, scope, found FROM settled JOIN units USING (unit)
                 WHERE root = ?1 AND platform = ?2",
            )?;
            let mut rows = statement.query([root.as_str(), platform])?;
            let mut units = Vec::new();
            while let Some(row) = rows.next()? {
                units.push((codec::unit(row.get(0)?, row.get(1)?, "settled")?, row.get(2)?));
            }
            Ok(Some(Settled { ground, units }))
        })
        .await
    }

    /// Keeps what was found of units over `root`; what was kept of those that are `gone` is struck, and
    /// everything that was found on other ground.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn keep_settled(&self, root: &str, kept: Settled, gone: Vec<Unit>) -> Result<(), StateError> {
        let root = root.to_owned();
        self.write(move |connection, platform| {
            if ground(connection, &root)?.as_ref() != Some(&kept.ground) {
                connection.execute("DELETE FROM settled WHERE root = ?1", [&root])?;
                connection.execute("INSERT OR REPLACE INTO ground VALUES (?1, ?2)", [&root, &kept.ground])?;
            }
            for unit in &gone {
                if let Some(unit) = inventory::number(connection, platform, unit)? {
                    let mut statement =
                        connection.prepare_cached("DELETE FROM settled WHERE unit = ?1 AND root = ?2")?;
                    statement.execute(params![unit, root])?;
                }
            }
            for (unit, found) in &kept.units {
                let unit = inventory::known(connection, platform, unit)?;
                let mut statement = connection.prepare_cached(
                    "INSERT OR REPLACE INTO settled (unit, root, found) VALUES (?1, ?2, ?3)",
                )?;
                statement.execute(params![unit, root, found])?;
            }
            Ok(())
        })
        .await
    }
}

fn ground(connection: &Connection, root: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT ground FROM ground WHERE root = ?1")?;
    statement.query_row([root], |row| row.get(0)).optional()
}

/// What is ours in this unit, or about to become so, is about to be written.
pub(super) fn strike(connection: &Connection, unit: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM settled WHERE unit = ?1")?.execute([unit]).map(drop)
}
