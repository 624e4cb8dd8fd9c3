//! Persistent registry of the rows and ontologies of accounts.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use super::address;
use super::listed::ListedTable;
use super::tables::Table;
use crate::registry::Registry;
use crate::storage::random_hex;
use crate::{AddressConflict, PlatformError};

/// A connected table of an account.
pub(super) struct AccountRow {
    pub(super) id: String,
    pub(super) listed: ListedTable,
    /// Type and configuration of the connector.
    pub(super) connector: String,
    pub(super) config: Value,
}

/// Result of connecting tables.
pub(super) enum RowsConnected {
    All,
    /// A row has the address of this table; nothing was changed.
    AddressTaken(String),
}

/// An ontology, of which only names are stored.
pub(super) struct Ontology {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
}

impl AccountRow {
    /// Returns the row as lists show it.
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!(self.listed);
        shown["id"] = json!(self.id);
        shown
    }
}

impl Registry {
    /// Connects all tables or none; `taken` decides about addresses that have a row.
    pub(super) fn connect_account_rows(
        &self,
        account: &str,
        tables: Vec<(ListedTable, Table)>,
        taken: AddressConflict,
    ) -> Result<RowsConnected, PlatformError> {
        let connection = self.lock();
        let change = connection.unchecked_transaction()?;
        let known = match taken {
            AddressConflict::Duplicate => Vec::new(),
            AddressConflict::Replace | AddressConflict::Reject => read_rows(&change, account)?,
        };
        for (listed, table) in tables {
            let earlier = known.iter().find(|row| address::is_same(&row.listed, &listed));
            if taken == AddressConflict::Reject && earlier.is_some() {
                return Ok(RowsConnected::AddressTaken(table.name));
            }
            let id = earlier.map_or_else(|| format!("ds_{}", random_hex()), |row| row.id.clone());
            let values =
                params![id, account, json!(listed).to_string(), table.connector, table.config.to_string()];
            change
                .prepare_cached(
                    "INSERT INTO account_row (id, account, listed, connector, config) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (id) DO UPDATE SET
                         listed = excluded.listed, connector = excluded.connector, config = excluded.config",
                )?
                .execute(values)?;
        }
        change.commit()?;
        Ok(RowsConnected::All)
    }

    /// Returns the rows of an account in the order of their connects.
    pub(super) fn account_rows(&self, account: &str) -> Result<Vec<AccountRow>, PlatformError> {
        read_rows(&self.lock(), account)
    }

    /// Removes rows of an account, or all; returns the number of those that existed.
    pub(super) fn remove_account_rows(
        &self,
        account: &str,
        ids: Option<&[String]>,
    ) -> Result<usize, PlatformError> {
        let connection = self.lock();
        let change = connection.unchecked_transaction()?;
        let mut removed = 0;
        match ids {
            None => removed = change.execute("DELETE FROM account_row WHERE account = ?1", [account])?,
            Some(ids) => {
                for id in ids {
                    let sql = "DELETE FROM account_row WHERE account = ?1 AND id = ?2";
                    removed += change.prepare_cached(sql)?.execute([account, id])?;
                }
            }
        }
        change.commit()?;
        Ok(removed)
    }

    /// Returns the ontologies of an account in the order of their creation.
    pub(super) fn ontologies(&self, account: &str) -> Result<Vec<Ontology>, PlatformError> {
        let connection = self.lock();
        let mut query = connection
            .prepare_cached("SELECT id, name, description FROM ontology WHERE account = ?1 ORDER BY seq")?;
        let found = query.query_map([account], |row| {
            Ok(Ontology { id: row.get(0)?, name: row.get(1)?, description: row.get(2)? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Creates an ontology, or changes the one with this id, and returns its id; `None` if there is none.
    pub(super) fn save_ontology(
        &self,
        account: &str,
        id: Option<&str>,
        name: &str,
        description: Option<&str>,
    ) -> Result<Option<String>, PlatformError> {
        let connection = self.lock();
        let new = format!("ont_{}", random_hex());
        let sql = match id {
            None => {
                "INSERT INTO ontology (account, id, name, description) VALUES (?1, ?2, ?3, ?4) RETURNING id"
            }
            Some(_) => {
                "UPDATE ontology SET name = ?3, description = ifnull(?4, description)
                 WHERE account = ?1 AND id = ?2 RETURNING id"
            }
        };
        let values = params![account, id.unwrap_or(&new), name, description];
        Ok(connection.query_row(sql, values, |row| row.get(0)).optional()?)
    }
}

fn read_rows(connection: &Connection, account: &str) -> Result<Vec<AccountRow>, PlatformError> {
    let mut query = connection.prepare_cached(
        "SELECT id, listed, connector, config FROM account_row WHERE account = ?1 ORDER BY seq",
    )?;
    let mut found = query.query([account])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(read_row(row)?);
    }
    Ok(rows)
}

fn read_row(row: &Row<'_>) -> Result<AccountRow, PlatformError> {
    let (listed, config): (String, String) = (row.get(1)?, row.get(3)?);
    Ok(AccountRow {
        id: row.get(0)?,
        listed: serde_json::from_str(&listed).map_err(PlatformError::Damaged)?,
        connector: row.get(2)?,
        config: serde_json::from_str(&config).map_err(PlatformError::Damaged)?,
    })
}
