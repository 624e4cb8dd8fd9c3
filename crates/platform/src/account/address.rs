//! The address of a table, by which a connect finds the row of an earlier one.

use super::database::local_name;
use super::listed::ListedTable;

/// Returns true if two rows are the same table of the same source.
///
/// The schema counts only if both name one.
pub(super) fn is_same(one: &ListedTable, other: &ListedTable) -> bool {
    let schemas = [&one.schema_name, &other.schema_name];
    place(one) == place(other) && (schemas.iter().any(|schema| schema.is_empty()) || schemas[0] == schemas[1])
}

fn place(row: &ListedTable) -> [&str; 5] {
    let table = local_name(&row.table_name, &row.database_name, &row.schema_name);
    [&row.datasource_type, &row.host, &row.port, &row.database_name, table]
}
