//! What each code means, at more length.

/// What a diagnostic's code means and what to do; `None` for a code there is not.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    let text = match code.to_ascii_uppercase().as_str() {
        "W001" => {
            "The file stands in the tree but could not be read: no permission, no regular file, no UTF-8, too \
large, or a symlink out of the tree.\n\nA file that cannot be read is not taken for one that is gone: nothing that it \
declared is removed until it can be read again."
        }
        "W002" => {
            "The file is not TOML 1.0. Often a quote or bracket is not closed, or a key stands twice in one table.\n\n\
    [sources.crm]\n    type = \"database\"      # strings stand in quotes"
        }
        "W003" => {
            "TOML 1.1 allows inline tables over several lines, a comma after their last entry, times without \
seconds, and the escapes `\\e` and `\\x`. The editors' tools for TOML read 1.0, so files here keep to it.\n\nWrite a longer \
table under a header of its own:\n\n    [sources.crm.metadata]\n    description = \"…\""
        }
        "W004" => "Tables and lists may be nested 32 levels deep. No connection needs more.",
        "W005" => {
            "Templates and lists of workspaces multiply what a file says. All sources together, with defaults \
and templates in them, may hold 512 MiB. One source may hold 10,000 values: it says how to connect, and what is larger \
is data."
        }
        "W010" => {
            "A key that nothing reads is an error, because a key with a slip in it would be left out silently. \
What a connection needs goes below [sources.KEY.connection_config], which is open."
        }
        "W011" => {
            "The key takes another type of value: a string stands in quotes, a number and `true` or `false` do \
not, a list in brackets, a table in braces or under a header."
        }
        "W012" => {
            "In TOML a key belongs to the header above it. Everything below [sources.KEY.connection_config] goes \
to the platform, so a setting such as `protect` has no effect there.\n\n    [sources.crm]\n    protect = true          \
# here\n\n    [sources.crm.connection_config]\n    host = \"…\""
        }
        "W013" => {
            "The key must be given. A file that declares no sources on purpose says so with `sources = {}`: an \
empty file may be half a file, and half a file must remove nothing."
        }
        "W014" => "The key takes a few words, or values within bounds; the message says which.",
        "W015" => {
            "The two keys say the same thing in two ways. In one table keep one of them; between defaults, \
template and source the nearer of `every` and `cron` displaces the other."
        }
        "W016" => {
            "A name holds a character that a reader does not see as it is: a line break or another control, or one \
that hides text or changes its direction, or a space that is not the plain one. Such a name could pass for another one, \
in a review as in a plan. What joins and shapes the characters of other scripts and emoji may follow them.\n\nWrite the \
name without it. In values it may stand: TOML writes it as \"\\u202E\"."
        }
        "W020" => {
            "Every TOML file below the root describes a workspace and begins with\n\n    [workspace]\n    id = \
\"…\"                # or: use = \"ALIAS\"\n\nFiles for other tools are left out by wellspring.toml:\n\n    files = \
[\"workspaces/**/*.toml\"]"
        }
        "W021" => {
            "`use` names a workspace by its alias in wellspring.toml:\n\n    [workspaces]\n    sales = \"ws_…\""
        }
        "W022" => "One workspace, in one scope, is named twice. Its sources would be declared twice.",
        "W023" => {
            "An id or the platform's address is in an environment variable that is not set here. An unset \
variable is never read as an empty text."
        }
        "W024" => "wellspring.toml holds the settings of the whole tree and is read at its root only.",
        "W025" => {
            "`files` in wellspring.toml lists the files to read. A pattern that matches no file is usually a misspelled \
folder, and whatever the folder declares is not managed. Patterns are relative to wellspring.toml; `*` matches within one \
folder, `**` matches any number of folders."
        }
        "W030" => {
            "A password, token or key stands in the file as plain text, where every reader and every copy of the \
repository has it. Write a reference; it is resolved where the platform is called:\n\n    password = \"${DB_PASSWORD}\"\n    \
password = { secret = \"env:DB_PASSWORD\" }\n    password = { secret = \"file:db-password\" }         # below the host's \
secrets.dir\n    password = { secret = \"credential:db-password\" }   # below $CREDENTIALS_DIRECTORY\n\nA value that was \
ever committed should be changed."
        }
        "W031" => {
            "References to secrets and variables are resolved in `connection_config`, and `${NAME}` in \
[platform] and [workspaces] of wellspring.toml. Everything else is compared and shown as it stands. For a literal `${` \
write `$${`."
        }
        "W032" => {
            "A reference is `${NAME}` within a string, or a whole value `{ secret = \"env:NAME\" }`, `file:NAME` or \
`credential:NAME`. Names lead to no other folder. The platform's own token cannot be referred to."
        }
        "W033" => {
            "`metadata.wellspring` is how sources are stamped with their owner. It is written by wellspring."
        }
        "W034" => {
            "The platform is sent JSON, which has no infinity, no not-a-number, and here no whole number beyond \
64 bits."
        }
        "W040" => "A source's key stands once in a workspace and scope, over all files.",
        "W041" => {
            "The platform knows a source by workspace, scope and name, so a name stands once in a workspace and \
scope, over all files. A source without a `name` has its key for one."
        }
        "W042" => {
            "Several files may add to one workspace, but what one [policy] says must not differ from another's: \
which of them held would depend on chance."
        }
        "W043" => {
            "[moved] reads old = \"new\": the new key is declared, the old one is not. [removed.KEY] is for a key \
that is not declared any more. A source that keeps its key and gets another name is confirmed with key = \"key\"."
        }
        "W050" => {
            "A duration is a number and a unit, `s`, `m`, `h`, `d` or `w`, larger units first: \"90s\", \"30m\", \
\"1h30m\", \"2d\". From one second to 366 days."
        }
        "W051" => {
            "`cron` has five fields: minute, hour, day of month, month, day of week. There is no field for seconds.\n\n    \
cron = \"15 2 * * MON-SAT\"     # 02:15, Monday to Saturday"
        }
        "W052" => {
            "`timezone` is a name of the IANA database, such as \"Europe/Rome\", or \"UTC\", the default."
        }
        "W053" => "The expression can be read, but no year has such a day: 30 February, for one.",
        "W060" => {
            "`extends` names a template of wellspring.toml: [templates.NAME]. A template extends no other."
        }
        "W061" => {
            "`unset` takes away what defaults or a template set. A path that nothing sets is mostly a slip. What \
the source itself sets needs no `unset`; remove it."
        }
        "W070" => {
            "`platform.url` is the platform's address, with or without `/api/v1`, without user, query or \
fragment; or \"local\" for the embedded platform."
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::explain;

    #[test]
    fn every_code_is_explained_and_stands_once() {
        let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(codes.iter().all(|code| explain(code).is_some()), "{codes:?}");
        assert!(codes.is_sorted());
        codes.dedup();
        assert_eq!(codes.len(), Code::ALL.len());
        assert_eq!(explain("W999"), None);
    }
}
