//! Detection of JSON columns.
//!
//! JSON is a type in MySQL, but in MariaDB it is a text with a check.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ReadError;
use super::super::relational::Engine as _;
use super::super::relational::catalogue::{ColumnForm, CursorOrder, Relation};
use super::super::relational::session::Session;
use super::super::values::ValueKind;
use super::MySql;

/// Type of a column that may or may not contain JSON.
pub(super) const DOUBTFUL_TYPE: &str = "text or json";

/// Check constraints in the information schema.
///
/// Visible only to users with rights on the whole database.
pub(super) struct JsonColumns {
    mariadb: bool,
    checks: BTreeMap<String, Vec<String>>,
}

impl JsonColumns {
    pub(super) async fn load(session: &mut Session<'_, MySql>, of: &str) -> Result<Self, ReadError> {
        let version = session.texts::<1>("SELECT VERSION()".to_owned()).await?;
        let mariadb = version.iter().any(|[version]| version.contains("MariaDB"));
        let mut checks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if mariadb {
            let of = of.replace("TABLE_SCHEMA", "CONSTRAINT_SCHEMA");
            let found = session.texts(format!(
                "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE {of}"
            ));
            for [table, clause] in found.await? {
                checks.entry(table).or_default().push(clause);
            }
        }
        Ok(Self { mariadb, checks })
    }

    /// Returns the type of a column, `json` if it contains JSON.
    pub(super) fn kind(&self, table: &str, column: &str, of: String, collation: &str, view: bool) -> String {
        let possible = self.mariadb && of == "longtext" && collation == "utf8mb4_bin";
        match self.checks.get(table) {
            _ if !possible => of,
            Some(checks) if checks.iter().any(|clause| is_about(clause, column)) => "json".to_owned(),
            Some(_) if !view => of,
            _ => DOUBTFUL_TYPE.to_owned(),
        }
    }
}

/// Returns true if this is the check of a JSON column.
///
/// A user-defined check replaces `json_valid`.
fn is_about(clause: &str, column: &str) -> bool {
    let column = MySql::quoted(column);
    clause.match_indices("json_").any(|(at, _)| {
        let rest = clause[at..].trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || sign == '_');
        rest.strip_prefix('(').is_some_and(|inner| inner.starts_with(&column))
    })
}

/// Decides which doubtful columns contain JSON.
///
/// Uses the definition of the table. For views and for users with rights on some columns only, runs
/// a query in which the server puts a value into an array.
pub(super) async fn resolve_doubtful(
    session: &mut Session<'_, MySql>,
    relation: &mut Relation,
) -> Result<(), ReadError> {
    let doubtful: Vec<_> =
        (0..relation.columns.len()).filter(|place| relation.readings[*place].doubtful).collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    let mut json: BTreeSet<usize> = BTreeSet::new();
    let defined = if relation.form == ColumnForm::View { None } else { definition(session, relation).await };
    if let Some(definition) = defined {
        let checks: Vec<_> = definition.lines().filter_map(|line| line.split_once(" CHECK (")).collect();
        json.extend(doubtful.iter().copied().filter(|place| {
            checks.iter().any(|(_, clause)| is_about(clause, &relation.columns[*place].name))
        }));
    } else {
        for place in &doubtful {
            let quoted = MySql::quoted(&relation.columns[*place].name);
            let sql = format!(
                "SELECT JSON_ARRAY({quoted}) = CONCAT('[', {quoted}, ']') FROM {} WHERE {quoted} IS NOT NULL LIMIT 1",
                relation.path
            );
            session
                .each(Some(&relation.name), sql, &mut |row| {
                    let found = MySql::value(row, 0);
                    if matches!(found, Ok(Some(b"1"))) {
                        json.insert(*place);
                    }
                    Ok(())
                })
                .await?;
        }
    }
    for place in doubtful {
        let reading = &mut relation.readings[place];
        reading.doubtful = false;
        reading.order = CursorOrder::Text;
        if json.contains(&place) {
            reading.kind = ValueKind::Json;
        }
    }
    Ok(())
}

/// Returns the definition of a table, if the user may see it.
async fn definition(session: &mut Session<'_, MySql>, relation: &Relation) -> Option<String> {
    let found = session.texts::<2>(format!("SHOW CREATE TABLE {}", relation.path)).await.ok()?;
    found.into_iter().next().map(|[_, definition]| definition)
}

#[cfg(test)]
mod tests {
    use super::is_about;

    #[test]
    fn a_check_tells_a_column_of_json() {
        for (clause, expected) in [
            ("json_valid(`doc`)", true),
            ("json_length(`doc`) > 0 and json_valid(`doc`)", true),
            ("`n` > 0 and json_exists(`doc`,'$.a')", true),
            ("json_valid(`other`)", false),
            ("json_valid(`docs`)", false),
            ("length(`doc`) > 0", false),
        ] {
            assert_eq!(is_about(clause, "doc"), expected, "{clause}");
        }
    }
}
