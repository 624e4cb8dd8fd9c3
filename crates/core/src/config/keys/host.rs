//! The keys of the host file.

use super::{KeyTable, Kind, PRUNE, key};

/// The host file.
pub const HOST: KeyTable = KeyTable::new(
    "the host file",
    &[
        key("daemon", Kind::Section(&DAEMON), "", ""),
        key("platform", Kind::Section(&HOST_PLATFORM), "", ""),
        key("limits", Kind::Section(&LIMITS), "", ""),
        key("secrets", Kind::Section(&SECRETS), "", ""),
        key("variables", Kind::Section(&VARIABLES), "", ""),
        key("state", Kind::Section(&STATE), "", ""),
        key("http", Kind::Section(&HTTP), "", ""),
        key("notify", Kind::Sections(&NOTIFY), "", ""),
    ],
);

/// `[daemon]`.
pub const DAEMON: KeyTable = KeyTable::new(
    "`[daemon]`",
    &[
        key(
            "dir",
            Kind::Text("path"),
            "the nearest `wellspring.toml` upwards",
            "the project directory. If it is a symlink that is switched between checkouts, set `state.dir`, too",
        ),
        key(
            "mode",
            Kind::Choice(&["apply", "dry-run"]),
            "`\"apply\"`",
            "with `\"dry-run\"`, `run` only logs changes",
        ),
        key("interval", Kind::Duration, "`\"5m\"`", "interval between checks for drift"),
        key(
            "settle",
            Kind::Other("duration, also `\"0s\"` or `\"200ms\"`"),
            "`\"1s\"`",
            "how long files must be unchanged before removals and changes of `wellspring.toml` take effect. \
             Additions and changes in other files take effect once the writer has closed the file or renamed it \
             into place",
        ),
    ],
);

/// `[platform]` of the host file.
pub const HOST_PLATFORM: KeyTable = KeyTable::new(
    "`[platform]`",
    &[
        key(
            "url",
            Kind::Text("string"),
            "the project's",
            "the platform; overrides the project's. Without it, the state remembers the first origin that received \
             the token, and another one that `wellspring.toml` names later is refused until `--url` or this key \
             names it",
        ),
        key("token", Kind::Secret, "`PMTX_TOKEN`", "the token"),
        key("timeout", Kind::Duration, "`\"30s\"`", "timeout of one attempt of a call"),
        key("sync_timeout", Kind::Duration, "`\"30m\"`", "timeout of a sync call"),
        key(
            "settle",
            Kind::DurationOrZero,
            "`\"5s\"`, local: 0",
            "as in `wellspring.toml`, which has precedence",
        ),
        key("max_in_flight", Kind::Number, "64", "maximum concurrent calls"),
        key("requests_per_second", Kind::Number, "none", "maximum calls per second, on average"),
        key("allow_plaintext", Kind::Boolean, "`false`", "allow `http://` to another host"),
    ],
);

/// `[limits]`.
pub const LIMITS: KeyTable = KeyTable::new(
    "`[limits]`",
    &[
        key(
            "max_cleanup",
            Kind::Other("number or percentage"),
            "none",
            "upper limit for the project's policy",
        ),
        key(
            "max_replace",
            Kind::Other("number or percentage"),
            "none",
            "upper limit for the project's policy",
        ),
        key(
            "prune",
            Kind::Choice(PRUNE),
            "`\"owned\"`",
            "with `\"off\"`, nothing is removed, regardless of the project's policy",
        ),
    ],
);

/// `[secrets]`.
pub const SECRETS: KeyTable = KeyTable::new(
    "`[secrets]`",
    &[
        key("dir", Kind::Text("path"), "none", "directory of `file:NAME`"),
        key("allow", Kind::Sections(&ALLOW), "", ""),
    ],
);

/// `[[secrets.allow]]`.
pub const ALLOW: KeyTable = KeyTable::requiring(
    "`[[secrets.allow]]`",
    &[
        key(
            "name",
            Kind::Text("pattern"),
            "required",
            "the references, such as `env:NAME`, `file:NAME` or `credential:NAME`; see below",
        ),
        key("workspaces", Kind::Texts("names"), "all", "the workspaces that may use them, by alias or id"),
        key(
            "hosts",
            Kind::Texts("patterns"),
            "all",
            "the hosts they may be sent to, in lower case and without a port",
        ),
    ],
    &["name"],
);

/// `[variables]`.
pub const VARIABLES: KeyTable = KeyTable::new(
    "`[variables]`",
    &[key(
        "allow",
        Kind::Texts("patterns"),
        "names that contain `WORKSPACE`",
        "the variables that `wellspring.toml` may use in `[platform]` and `[workspaces]`; \
         `WELLSPRING_VARIABLES=TEAM_*,REGION` overrides it. The variables of the token and of webhooks are never \
         permitted; without a list, neither is a name that looks like a secret or matches `secrets.allow`",
    )],
);

/// `[state]`.
pub const STATE: KeyTable = KeyTable::new(
    "`[state]`",
    &[key(
        "dir",
        Kind::Text("path"),
        "`$STATE_DIRECTORY`, else `.wellspring` in the tree",
        "the state directory: the managed sources and the history",
    )],
);

/// `[http]`.
pub const HTTP: KeyTable = KeyTable::new(
    "`[http]`",
    &[
        key(
            "listen",
            Kind::Other("address and port"),
            "none",
            "the address of the [status page, metrics and health endpoints](observing.md) of `run`",
        ),
        key(
            "hosts",
            Kind::Texts("names"),
            "none",
            "host names that browsers may use, besides `localhost` and IP addresses",
        ),
    ],
);

/// `[[notify]]`.
pub const NOTIFY: KeyTable = KeyTable::requiring(
    "`[[notify]]`",
    &[
        key(
            "url",
            Kind::Secret,
            "required",
            "the address of a webhook that receives [state changes](observing.md#notices)",
        ),
        key("format", Kind::Choice(&["json", "slack"]), "`\"json\"`", "payload format"),
        key(
            "events",
            Kind::Other("list"),
            "all",
            "the events to send: `failed`, `recovered`, `withheld`, `stale`, `drift-mended`",
        ),
    ],
    &["url"],
);
