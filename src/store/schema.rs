//! Tables, as a list of migrations. Released migrations are never edited.

use super::error::DbError;
use rusqlite::{Connection, TransactionBehavior};

/// Migrations; number `n` (from 0) upgrades version `n` to `n + 1`.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, V13];

/// "Wlsp": distinguishes a state database from other SQLite files.
const APPLICATION_ID: i64 = 0x576c_7370;

/// Newest schema version of this program.
pub(super) const LATEST_VERSION: i64 = MIGRATIONS.len() as i64;

const V1: &str = "
CREATE TABLE owned (
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    owned TEXT NOT NULL,
    PRIMARY KEY (platform, workspace, scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    key TEXT NOT NULL, kind TEXT NOT NULL, before TEXT NOT NULL, recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX intents_by_unit ON intents (platform, workspace, scope);

CREATE TABLE quarantined (
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    since INTEGER NOT NULL, reason TEXT NOT NULL, mark TEXT NOT NULL,
    PRIMARY KEY (platform, workspace, scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
    platform TEXT NOT NULL, root TEXT NOT NULL, file TEXT NOT NULL, units TEXT NOT NULL,
    PRIMARY KEY (platform, root, file)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    run INTEGER PRIMARY KEY AUTOINCREMENT,
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    trigger TEXT NOT NULL, firing INTEGER NOT NULL, started_at INTEGER NOT NULL,
    process TEXT NOT NULL, outcome TEXT NOT NULL,
    finished_at INTEGER, records INTEGER, message TEXT
) STRICT;
CREATE UNIQUE INDEX one_claim_per_firing ON runs (platform, workspace, scope, name, firing)
    WHERE trigger = 'schedule';
CREATE INDEX runs_by_source ON runs (platform, workspace, scope, name, run);
CREATE INDEX running ON runs (process) WHERE outcome = 'running';

CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL,
    at INTEGER NOT NULL, pass TEXT NOT NULL, source TEXT NOT NULL, key TEXT, action TEXT NOT NULL,
    source_id TEXT, reason TEXT NOT NULL, file TEXT, line INTEGER, outcome TEXT NOT NULL, message TEXT,
    removal INTEGER NOT NULL, mends_drift INTEGER NOT NULL
) STRICT;
CREATE INDEX journal_by_unit ON journal (platform, workspace, scope, at);
";

const V2: &str = "
CREATE TABLE learned (
    platform TEXT NOT NULL PRIMARY KEY,
    upserts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Declaration of a source at the time of its intent, as JSON.
const V3: &str = "ALTER TABLE intents ADD COLUMN declared TEXT;";

/// Commit of the files that were read.
const V4: &str = "ALTER TABLE journal ADD COLUMN commit_id TEXT;";

/// Normalised workspaces, and compact rows for sources, intents and the journal.
///
/// Workspaces are stored once. Sources move to a rowid table, because a row of a kilobyte takes five
/// times its size in a WITHOUT ROWID table. Intents recorded together share a row, with one bit of
/// `open` for each undecided one. The journal gets an index by workspace.
///
/// Values that the platform echoed unchanged are stored without a fingerprint; an older program
/// would take every such source for changed.
const V5: &str = "
CREATE TABLE units (
    unit INTEGER PRIMARY KEY,
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL,
    UNIQUE (platform, workspace, scope)
) STRICT;
INSERT INTO units (platform, workspace, scope)
    SELECT platform, workspace, scope FROM owned UNION SELECT platform, workspace, scope FROM intents;

CREATE TABLE ours (
    number INTEGER PRIMARY KEY,
    unit INTEGER NOT NULL, name TEXT NOT NULL, owned TEXT NOT NULL,
    UNIQUE (unit, name)
) STRICT;
INSERT INTO ours (unit, name, owned)
    SELECT unit, name, owned FROM owned JOIN units USING (platform, workspace, scope);
DROP TABLE owned;
ALTER TABLE ours RENAME TO owned;

CREATE TABLE batches (
    batch INTEGER PRIMARY KEY AUTOINCREMENT,
    unit INTEGER NOT NULL, recorded_at INTEGER NOT NULL, open INTEGER NOT NULL, intents TEXT NOT NULL
) STRICT;
CREATE INDEX batches_by_unit ON batches (unit);
INSERT INTO batches (unit, recorded_at, open, intents)
    SELECT unit, recorded_at, 1, json_array(json_object(
        'name', name, 'key', key, 'kind', json(kind), 'before', json(before), 'declared', json(declared)
    )) FROM intents JOIN units USING (platform, workspace, scope) ORDER BY number;
DROP TABLE intents;

DROP INDEX journal_by_unit;
CREATE INDEX removals ON journal (platform, workspace, scope, at) WHERE removal;
CREATE INDEX mended ON journal (platform, workspace, scope, at) WHERE mends_drift;
";

/// The last run without changes, for each tree.
const V6: &str =
    "CREATE TABLE quiet (root TEXT NOT NULL PRIMARY KEY, memo TEXT NOT NULL) STRICT, WITHOUT ROWID;";

/// Workspaces found in sync by the last run, and the inputs it used, for each tree.
const V7: &str = "
DROP TABLE quiet;
CREATE TABLE ground (root TEXT NOT NULL PRIMARY KEY, ground TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE settled (
    unit INTEGER NOT NULL, root TEXT NOT NULL, found TEXT NOT NULL,
    UNIQUE (unit, root)
) STRICT;
";

/// The last run of every source, maintained by triggers.
///
/// Reads one row instead of hundreds. `sent` is 0 if the run was never sent.
const V8: &str = "
CREATE TABLE last_runs (
    platform TEXT NOT NULL, workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    newest INTEGER NOT NULL, sent INTEGER NOT NULL, firing INTEGER NOT NULL, last_success INTEGER,
    PRIMARY KEY (platform, workspace, scope, name)
) STRICT, WITHOUT ROWID;
INSERT INTO last_runs
    SELECT platform, workspace, scope, name,
           coalesce(max(run) FILTER (WHERE outcome NOT IN ('skipped', 'rewound')), max(run)),
           max(outcome NOT IN ('skipped', 'rewound')),
           max(firing) FILTER (WHERE run >= rewound),
           max(finished_at) FILTER (WHERE outcome = 'done')
    FROM (
        SELECT *, coalesce(max(run) FILTER (WHERE outcome = 'rewound')
                           OVER (PARTITION BY platform, workspace, scope, name), 0) AS rewound
        FROM runs
    ) GROUP BY platform, workspace, scope, name;

CREATE TRIGGER run_begins AFTER INSERT ON runs BEGIN
    INSERT INTO last_runs (platform, workspace, scope, name, newest, sent, firing)
    VALUES (NEW.platform, NEW.workspace, NEW.scope, NEW.name, NEW.run,
            NEW.outcome NOT IN ('skipped', 'rewound'), NEW.firing)
    ON CONFLICT DO UPDATE SET
        newest = CASE WHEN excluded.sent OR NOT sent THEN excluded.newest ELSE newest END,
        sent = sent OR excluded.sent,
        firing = CASE WHEN NEW.outcome = 'rewound' THEN NEW.firing ELSE max(firing, NEW.firing) END;
END;
CREATE TRIGGER run_succeeds AFTER UPDATE OF outcome ON runs WHEN NEW.outcome = 'done' BEGIN
    UPDATE last_runs SET last_success = max(coalesce(last_success, NEW.finished_at), NEW.finished_at)
    WHERE platform = NEW.platform AND workspace = NEW.workspace AND scope = NEW.scope AND name = NEW.name;
END;
CREATE TRIGGER run_is_dropped AFTER DELETE ON runs BEGIN
    UPDATE last_runs SET (newest, sent) = (
        SELECT coalesce(max(run) FILTER (WHERE outcome NOT IN ('skipped', 'rewound')), max(run)),
               max(outcome NOT IN ('skipped', 'rewound'))
        FROM runs
        WHERE platform = OLD.platform AND workspace = OLD.workspace AND scope = OLD.scope AND name = OLD.name
    )
    WHERE platform = OLD.platform AND workspace = OLD.workspace AND scope = OLD.scope AND name = OLD.name
        AND newest = OLD.run;
END;
";

/// Compression of large intent batches.
const V9: &str = "
CREATE TABLE recorded (
    batch INTEGER PRIMARY KEY AUTOINCREMENT,
    unit INTEGER NOT NULL, recorded_at INTEGER NOT NULL, open INTEGER NOT NULL, intents ANY NOT NULL
) STRICT;
INSERT INTO recorded SELECT * FROM batches;
DROP TABLE batches;
ALTER TABLE recorded RENAME TO batches;
CREATE INDEX batches_by_unit ON batches (unit);
";

/// Observed behaviour of the platform.
///
/// Answers to writes that the list does not show yet; sources forgotten after files and list both
/// lacked them; the time from which a workspace's lists are doubted; sources that are synced alone after
/// a batch was rejected; the last source that was removed for a replacement and not put back.
const V10: &str = "
CREATE TABLE answers (
    intent INTEGER PRIMARY KEY, unit INTEGER NOT NULL, id TEXT
) STRICT;
CREATE INDEX answers_by_unit ON answers (unit);
CREATE TABLE forgotten (
    unit INTEGER NOT NULL, name TEXT NOT NULL, since INTEGER NOT NULL, owned TEXT NOT NULL,
    UNIQUE (unit, name)
) STRICT;
CREATE TABLE alone (unit INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (unit, name)) STRICT;
CREATE TABLE doubted (unit INTEGER PRIMARY KEY, since INTEGER NOT NULL) STRICT;
CREATE TABLE halted (
    platform TEXT NOT NULL PRIMARY KEY, since INTEGER NOT NULL,
    workspace TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Origins that received the platform's token.
///
/// Derived from the known platform URLs: the origin ends at the first slash of the path.
const V11: &str = "
CREATE TABLE origins (origin TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO origins
    SELECT iif(instr(platform, '://'),
               substr(platform, 1, instr(platform, '://') + 1
                                   + instr(substr(platform, instr(platform, '://') + 3) || '/', '/')),
               platform)
    FROM (SELECT platform FROM units UNION SELECT platform FROM files);
";

/// Assigns runs to the source that was connected when they were claimed.
///
/// `connection` is the time of the connect as in the inventory. In `last_runs`, the newest run and the last
/// success are those of one connection, and the firing is that of the name. The times decide for runs of
/// older versions.
const V12: &str = "
ALTER TABLE runs ADD COLUMN connection TEXT;
ALTER TABLE last_runs ADD COLUMN connection TEXT;
UPDATE last_runs SET connection = owned ->> '$.connected_at'
FROM units JOIN owned USING (unit)
WHERE units.platform = last_runs.platform AND units.workspace = last_runs.workspace
    AND units.scope = last_runs.scope AND owned.name = last_runs.name
    AND (SELECT started_at FROM runs WHERE run = newest)
        >= unixepoch(owned ->> '$.connected_at') * 1000000000;
UPDATE runs SET connection = last_runs.connection FROM last_runs WHERE run = newest;
UPDATE last_runs SET last_success = NULL WHERE last_success < unixepoch(connection) * 1000000000;

DROP TRIGGER run_begins;
CREATE TRIGGER run_begins AFTER INSERT ON runs BEGIN
    UPDATE runs SET connection = (
        SELECT owned ->> '$.connected_at' FROM owned JOIN units USING (unit)
        WHERE units.platform = NEW.platform AND units.workspace = NEW.workspace
            AND units.scope = NEW.scope AND owned.name = NEW.name
    ) WHERE run = NEW.run;
    UPDATE last_runs SET newest = run, sent = 0, last_success = NULL, connection = runs.connection
    FROM runs WHERE run = NEW.run
        AND last_runs.platform = NEW.platform AND last_runs.workspace = NEW.workspace
        AND last_runs.scope = NEW.scope AND last_runs.name = NEW.name
        AND last_runs.connection IS NOT runs.connection;
    INSERT INTO last_runs (platform, workspace, scope, name, newest, sent, firing, connection)
    VALUES (NEW.platform, NEW.workspace, NEW.scope, NEW.name, NEW.run,
            NEW.outcome NOT IN ('skipped', 'rewound'), NEW.firing,
            (SELECT connection FROM runs WHERE run = NEW.run))
    ON CONFLICT DO UPDATE SET
        newest = CASE WHEN excluded.sent OR NOT sent THEN excluded.newest ELSE newest END,
        sent = sent OR excluded.sent,
        firing = CASE WHEN NEW.outcome = 'rewound' THEN NEW.firing ELSE max(firing, NEW.firing) END;
END;
DROP TRIGGER run_succeeds;
CREATE TRIGGER run_succeeds AFTER UPDATE OF outcome ON runs WHEN NEW.outcome = 'done' BEGIN
    UPDATE last_runs SET last_success = max(coalesce(last_success, NEW.finished_at), NEW.finished_at)
    WHERE platform = NEW.platform AND workspace = NEW.workspace AND scope = NEW.scope AND name = NEW.name
        AND connection IS NEW.connection;
END;
DROP TRIGGER run_is_dropped;
CREATE TRIGGER run_is_dropped AFTER DELETE ON runs BEGIN
    UPDATE last_runs SET (newest, sent) = (
        SELECT coalesce(max(run) FILTER (WHERE outcome NOT IN ('skipped', 'rewound')), max(run)),
               max(outcome NOT IN ('skipped', 'rewound'))
        FROM runs
        WHERE platform = OLD.platform AND workspace = OLD.workspace AND scope = OLD.scope AND name = OLD.name
            AND connection IS last_runs.connection
    )
    WHERE platform = OLD.platform AND workspace = OLD.workspace AND scope = OLD.scope AND name = OLD.name
        AND newest = OLD.run;
END;
";

/// Records replacements in place, and assigns the runs of an adopted source to its id.
///
/// An adopted source has no time of connect; without its id it would share the runs of all adopted ones of
/// its name.
const V13: &str = "
ALTER TABLE journal ADD COLUMN in_place INTEGER NOT NULL DEFAULT 0;
UPDATE last_runs SET connection = 'id:' || (owned ->> '$.id')
FROM units JOIN owned USING (unit)
WHERE units.platform = last_runs.platform AND units.workspace = last_runs.workspace
    AND units.scope = last_runs.scope AND owned.name = last_runs.name
    AND connection IS NULL AND owned ->> '$.connected_at' IS NULL;
UPDATE runs SET connection = last_runs.connection FROM last_runs WHERE run = newest;

DROP TRIGGER run_begins;
CREATE TRIGGER run_begins AFTER INSERT ON runs BEGIN
    UPDATE runs SET connection = (
        SELECT coalesce(owned ->> '$.connected_at', 'id:' || (owned ->> '$.id')) FROM owned JOIN units USING (unit)
        WHERE units.platform = NEW.platform AND units.workspace = NEW.workspace
            AND units.scope = NEW.scope AND owned.name = NEW.name
    ) WHERE run = NEW.run;
    UPDATE last_runs SET newest = run, sent = 0, last_success = NULL, connection = runs.connection
    FROM runs WHERE run = NEW.run
        AND last_runs.platform = NEW.platform AND last_runs.workspace = NEW.workspace
        AND last_runs.scope = NEW.scope AND last_runs.name = NEW.name
        AND last_runs.connection IS NOT runs.connection;
    INSERT INTO last_runs (platform, workspace, scope, name, newest, sent, firing, connection)
    VALUES (NEW.platform, NEW.workspace, NEW.scope, NEW.name, NEW.run,
            NEW.outcome NOT IN ('skipped', 'rewound'), NEW.firing,
            (SELECT connection FROM runs WHERE run = NEW.run))
    ON CONFLICT DO UPDATE SET
        newest = CASE WHEN excluded.sent OR NOT sent THEN excluded.newest ELSE newest END,
        sent = sent OR excluded.sent,
        firing = CASE WHEN NEW.outcome = 'rewound' THEN NEW.firing ELSE max(firing, NEW.firing) END;
END;
";

/// Kind and version of a database file.
pub(super) enum SchemaVersion {
    Empty,
    /// A Wellspring state of this version.
    Ours(i64),
    /// Another program's database.
    Foreign,
}

/// Reads the version without writing.
pub(super) fn version(connection: &Connection) -> Result<SchemaVersion, DbError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, version) if version >= 1 => SchemaVersion::Ours(version),
        (0, 0) if tables == 0 => SchemaVersion::Empty,
        _ => SchemaVersion::Foreign,
    })
}

/// Migrates a database from version `from` (0 = empty) to [`LATEST_VERSION`] atomically.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> Result<(), DbError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LATEST_VERSION)?;
    transaction.commit()?;
    Ok(())
}
