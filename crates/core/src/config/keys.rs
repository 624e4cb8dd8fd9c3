//! The keys of all files: name, type, default, meaning, and the table that each belongs to.
//!
//! The readers, the JSON Schemas and the tables of `docs/files.md` come from here.
//! Invariant: a key that is missing here is unknown everywhere.

mod host;

pub use host::{ALLOW, DAEMON, HOST, HOST_PLATFORM, HTTP, LIMITS, NOTIFY, SECRETS, STATE, VARIABLES};

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The default in Markdown; JSON in backticks is the schema's default, too.
    pub default: &'static str,
    /// The meaning in Markdown.
    pub doc: &'static str,
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string, by what it contains.
    Text(&'static str),
    /// A list of strings, by what they contain.
    Texts(&'static str),
    /// A string or a list of strings.
    TextOrTexts,
    /// A boolean.
    Boolean,
    /// A positive integer.
    Number,
    /// A duration.
    Duration,
    /// A duration that may be zero.
    DurationOrZero,
    /// A number from 1, or a percentage.
    Share,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A date.
    Date,
    /// A table with these keys.
    Table(&'static KeyTable),
    /// A table with these keys, documented in one table with the others.
    Section(&'static KeyTable),
    /// A list of tables with these keys, documented in one table with the others.
    Sections(&'static KeyTable),
    /// A table that is sent to the platform; only these keys are checked.
    Open(&'static KeyTable),
    /// A table whose keys are names; the name stands for any of them.
    Each(&'static str, &'static Self),
    /// A string, or a table with these keys.
    TextOrTable(&'static KeyTable),
    /// A reference to a secret.
    Secret,
    /// Another type of the host file.
    Other(&'static str),
}

/// A table with a fixed set of keys.
#[derive(Debug)]
pub struct KeyTable {
    /// The table in messages.
    pub owner: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// The keys that must be present.
    pub required: &'static [&'static str],
    /// The keys of which exactly one must be present.
    pub exactly_one: &'static [&'static str],
}

impl KeyTable {
    const fn new(owner: &'static str, keys: &'static [Key]) -> Self {
        Self { owner, keys, required: &[], exactly_one: &[] }
    }

    const fn requiring(owner: &'static str, keys: &'static [Key], required: &'static [&'static str]) -> Self {
        Self { owner, keys, required, exactly_one: &[] }
    }

    /// Iterates over the names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }

    /// Returns true if the table has this key.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

const PRUNE: &[&str] = &["off", "owned"];
const ADOPT: &[&str] = &["never", "identical", "by-name", "replace"];
const SCOPE: Key = key("scope", Kind::Text("string"), "the workspace's", "the scope of this source");
const TYPE: Key = key("type", Kind::Text("string"), "required", "the platform's source type; sent unchanged");
const PROTECT: Key =
    key("protect", Kind::Boolean, "`false`", "never remove or replace the source; see below");
const SOURCE_ADOPT: Key =
    key("adopt", Kind::Choice(ADOPT), "the policy's", "as in `[policy]`, for this source");
const METADATA: Key = key(
    "metadata",
    Kind::Open(&METADATA_KEYS),
    "empty",
    "sent unchanged; without secrets, and without the reserved key `wellspring`",
);
const CONNECTION_CONFIG: Key = key(
    "connection_config",
    Kind::Open(&NO_KEYS),
    "required",
    "sent with its references replaced; `{}` if the type needs no configuration",
);

const ACCOUNT_DOC: &str = "`ORGANIZATION/USER`, in place of an id, on a platform without workspaces";

/// A schedule. Shared by several tables, so the schemas define it once.
pub const SYNC_KEY: Key = key(
    "sync",
    Kind::Table(&SYNC),
    "none",
    "when to sync; without it, only `wellspring sync` syncs the source",
);
/// Options of each sync. Shared by several tables, so the schemas define it once.
pub const SYNC_OPTIONS_KEY: Key = key(
    "sync_options",
    Kind::Open(&SYNC_OPTIONS),
    "empty",
    "sent with every sync; `incremental` is a boolean, `batch_size` a number from 1",
);
/// Connection tests. Shared by several tables, so the schemas define it once.
pub const TEST_KEY: Key = key("test", Kind::Section(&TEST), "none", "connection tests");

/// `wellspring.toml`.
pub const SETTINGS: KeyTable = KeyTable::new(
    "wellspring.toml",
    &[
        key("platform", Kind::Section(&PLATFORM), "none", "the platform"),
        key(
            "workspaces",
            Kind::Each("ALIAS", &Kind::TextOrTable(&ALIAS)),
            "none",
            "a name for a workspace; the default `scope` is `\"user\"`",
        ),
        key("defaults", Kind::Table(&DEFAULTS), "none", "`sync`, `sync_options` and `test` for every source"),
        key(
            "templates",
            Kind::Each("NAME", &Kind::Table(&TEMPLATE)),
            "none",
            "keys shared by the sources with `extends = \"NAME\"`; any key of a source except `name`, `extends`, \
             `unset` and `suspend`",
        ),
        key("policy", Kind::Table(&POLICY), "see below", "limits for every workspace"),
        key(
            "files",
            Kind::Texts("patterns"),
            "`[\"**/*.toml\"]`",
            "the files to read; `*` matches within one folder, `**` any number of folders. A pattern that matches \
             no file is a warning (W025)",
        ),
    ],
);

/// `[platform]` of `wellspring.toml`.
pub const PLATFORM: KeyTable = KeyTable::new(
    "`[platform]`",
    &[
        key(
            "url",
            Kind::Text("string"),
            "none",
            "the Data API's base URL, or `\"local\"` for the local platform. Precedence: `--url`, `WELLSPRING_URL`, \
             the host file, this key, `JARVISPY_URL`",
        ),
        key(
            "owner",
            Kind::Text("string"),
            "none",
            "written into the metadata of connected sources; a source with another owner is never adopted",
        ),
        key(
            "settle",
            Kind::DurationOrZero,
            "5 s, `\"local\"`: 0",
            "the time after which a list shows a write whose response was lost; an accepted write is awaited longer",
        ),
    ],
);

/// A workspace's alias in `wellspring.toml`.
pub const ALIAS: KeyTable = KeyTable {
    owner: "a workspace's alias",
    keys: &[
        key("id", Kind::Text("string"), "", "the platform's id"),
        key("account", Kind::Text("string"), "", ACCOUNT_DOC),
        key("scope", Kind::Text("string"), "`\"user\"`", "the platform's scope"),
    ],
    required: &[],
    exactly_one: &["id", "account"],
};

/// `[defaults]`.
pub const DEFAULTS: KeyTable = KeyTable::new("`[defaults]`", &[SYNC_KEY, SYNC_OPTIONS_KEY, TEST_KEY]);

/// `[templates.NAME]`.
pub const TEMPLATE: KeyTable = KeyTable::new(
    "a template",
    &[TYPE, SCOPE, PROTECT, SOURCE_ADOPT, METADATA, SYNC_KEY, SYNC_OPTIONS_KEY, TEST_KEY, CONNECTION_CONFIG],
);

/// `[policy]`.
pub const POLICY: KeyTable = KeyTable::new(
    "`[policy]`",
    &[
        key(
            "prune",
            Kind::Choice(PRUNE),
            "`\"off\"`",
            "whether managed sources that are no longer declared are removed. With `\"off\"` they are only reported",
        ),
        key(
            "adopt",
            Kind::Choice(ADOPT),
            "`\"identical\"`",
            "what to do if an unmanaged source with a declared name exists: leave it alone; manage it if every \
             readable value is equal and nothing else is set; manage it if name and type are equal; manage it and \
             replace it with the declared configuration",
        ),
        key(
            "max_cleanup",
            Kind::Share,
            "`\"30%\"`",
            "maximum removals per workspace and hour. A percentage refers to the managed sources, including those \
             removed within the hour, and allows at least three; `\"100%\"` is no limit",
        ),
        key("max_replace", Kind::Share, "none", "maximum replacements in one reconciliation"),
        key(
            "on_conflict",
            Kind::Choice(&["recreate", "withhold"]),
            "`\"recreate\"`",
            "if the platform refuses to connect a name that exists: remove the source and connect it again (on \
             failure the old definition is restored), or leave it",
        ),
        key(
            "metadata",
            Kind::Choice(&["replace", "withhold"]),
            "`\"withhold\"`",
            "if only `metadata` differs: replace the source, or send it with the next change. If the platform is \
             known to update in place, as the local one does, metadata is sent at once",
        ),
    ],
);

/// A workspace's file.
pub const FILE: KeyTable = KeyTable::requiring(
    "a workspace's file",
    &[
        key("workspace", Kind::Table(&WORKSPACE), "required", "the workspace or workspaces"),
        key(
            "sources",
            Kind::Each("KEY", &Kind::Table(&SOURCE)),
            "required",
            "the sources by key; `{}` declares that there are none",
        ),
        key("policy", Kind::Table(&POLICY), "none", "limits for this workspace"),
        key("moved", Kind::Each("OLD", &Kind::Text("string")), "none", "renamed keys: `old = \"new\"`"),
        key("removed", Kind::Each("KEY", &Kind::Table(&REMOVED)), "none", "what happens to a removed source"),
    ],
    &["workspace", "sources"],
);

/// `[workspace]`.
pub const WORKSPACE: KeyTable = KeyTable {
    owner: "`[workspace]`",
    keys: &[
        key("id", Kind::Text("string"), "", "the platform's id"),
        key("account", Kind::Text("string"), "", ACCOUNT_DOC),
        key(
            "use",
            Kind::TextOrTexts,
            "",
            "an alias from `wellspring.toml`, or a list of aliases to declare the sources in each",
        ),
        key("scope", Kind::Text("string"), "the alias's, else `\"user\"`", "the platform's scope"),
    ],
    required: &[],
    exactly_one: &["id", "account", "use"],
};

/// `[removed.KEY]`.
pub const REMOVED: KeyTable = KeyTable::requiring(
    "`[removed.KEY]`",
    &[
        key(
            "action",
            Kind::Choice(&["cleanup", "forget"]),
            "required",
            "remove the source from the platform, or stop managing it",
        ),
        key("reason", Kind::Text("string"), "required", "the reason"),
    ],
    &["action", "reason"],
);

/// `[sources.KEY]`.
pub const SOURCE: KeyTable = KeyTable::new(
    "a source",
    &[
        TYPE,
        key(
            "name",
            Kind::Text("string"),
            "the key",
            "its name on the platform; like keys and ids, it must not contain invisible characters (W016)",
        ),
        SCOPE,
        key("extends", Kind::Text("string"), "none", "a template"),
        key("unset", Kind::Texts("paths"), "none", "inherited values to remove"),
        PROTECT,
        SOURCE_ADOPT,
        METADATA,
        SYNC_KEY,
        SYNC_OPTIONS_KEY,
        key("suspend", Kind::Table(&SUSPEND), "none", "pause all changes of the source; see below"),
        TEST_KEY,
        CONNECTION_CONFIG,
    ],
);

/// `sync`.
pub const SYNC: KeyTable = KeyTable::new(
    "`sync`",
    &[
        key("every", Kind::Duration, "", "a fixed period; sources with the same period are spread over it"),
        key(
            "cron",
            Kind::Text("string"),
            "",
            "five fields: minute, hour, day of month, month, day of week. Instead of `every`",
        ),
        key("timezone", Kind::Text("IANA name"), "`\"UTC\"`", "for `cron`"),
        key("jitter", Kind::DurationOrZero, "`\"0s\"`", "random delay of each run; at most the period"),
        key(
            "stale_after",
            Kind::Duration,
            "none",
            "age at which `wellspring status` reports the data as stale",
        ),
        key(
            "missed",
            Kind::Choice(&["once", "skip"]),
            "`\"once\"`",
            "runs that were due while Wellspring was not running: make up for them with one run, or skip them",
        ),
        key("timeout", Kind::Duration, "the host's, 30 min", "maximum duration of a sync"),
        key("on_connect", Kind::Boolean, "`true`", "sync after connecting"),
        key(
            "on_change",
            Kind::Boolean,
            "`false`",
            "sync after replacing. Without it, a replaced source is synced at its next scheduled run",
        ),
        key(
            "overlap",
            Kind::Choice(&["forbid", "queue"]),
            "`\"forbid\"`",
            "a run that is due while the previous one is still running: skip it, or queue it",
        ),
    ],
);

/// `sync_options`.
pub const SYNC_OPTIONS: KeyTable = KeyTable::new(
    "`sync_options`",
    &[
        key("incremental", Kind::Boolean, "", "sync only new and changed records"),
        key("batch_size", Kind::Number, "", "records per batch"),
    ],
);

/// `test`.
pub const TEST: KeyTable = KeyTable::new(
    "`test`",
    &[
        key(
            "before_connect",
            Kind::Boolean,
            "`true`",
            "test the connection first; if the test fails, change nothing",
        ),
        key(
            "every",
            Kind::Duration,
            "none",
            "interval at which `run` tests the connection and [reports](observing.md#the-page) the result; changes \
             nothing",
        ),
    ],
);

/// `suspend`.
pub const SUSPEND: KeyTable = KeyTable::requiring(
    "`suspend`",
    &[
        key("reason", Kind::Text("string"), "required", "the reason"),
        key("until", Kind::Date, "none", "a reminder; nothing resumes until `suspend` is removed"),
    ],
    &["reason"],
);

const NO_KEYS: KeyTable = KeyTable::new("an open table", &[]);
const METADATA_KEYS: KeyTable = KeyTable::new("`metadata`", &[]);
