-- A database as version 1 wrote it. Never edited: it stands for the files people have.
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

PRAGMA application_id = 1466725232;
PRAGMA user_version = 1;
INSERT INTO owned VALUES ('https://platform.example/api/v1', 'ws_1', 'user', 'crm',
 '{"key":"crm","id":"source_1","superseded":["source_0"],"applied":{"definition":{"type":"database","connection_config":{"host":{"String":"db"},"password":{"Secret":{"Env":"P"}},"url":{"Template":[{"Literal":"db://"},{"Env":"P"}]},"port":{"Integer":5432}},"metadata":{"owner":"data"}},"secrets":{"connection_config.password":"00112233445566778899aabbccddeeff"},"echo":{},"key_id":"0011223344556677"},"protect":true,"declared_in":"/tree","file":"crm.toml","line":7}');
INSERT INTO intents VALUES (5, 'https://platform.example/api/v1', 'ws_1', 'user', 'old', 'old', '{"Cleanup":"source_1"}', '["source_1",2]', 1790000000000000000);
INSERT INTO quarantined VALUES ('https://platform.example/api/v1', 'ws_1', 'user', 'crm', 1790000000000000000, 'undone twice', 'm1');
INSERT INTO files VALUES ('https://platform.example/api/v1', '/tree', 'crm.toml', '[{"workspace":"ws_1","scope":"user"}]');
INSERT INTO runs VALUES (9, 'https://platform.example/api/v1', 'ws_1', 'user', 'crm', 'schedule', 1790000000000000000, 1790000001000000000, '00ff', 'done', 1790000002000000000, 12, NULL);
INSERT INTO journal VALUES (3, 'https://platform.example/api/v1', 'ws_1', 'user', 1790000000000000000, 'p1', 'crm', 'crm', 'connect', '"source_1"', 'declared', 'crm.toml', 7, 'done', NULL, 0, 0);
