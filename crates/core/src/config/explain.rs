//! Explanations of the error codes.

/// Returns the explanation of a code (case-insensitive).
///
/// `None` for an unknown code.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    let text = match code.to_ascii_uppercase().as_str() {
        "W001" => {
            "The file could not be read: missing permission, not a regular file, not UTF-8, too large, an \
extension in capitals, or a symlink that leads out of the project.\n\nAn unreadable file is \
not treated as deleted: no source that it declared is removed until the file can be read \
again."
        }
        "W002" => {
            "The file is not valid TOML 1.0. Common causes: a quote or bracket that is not closed, a key \
or header that is repeated, a text without quotes, an unresolved merge conflict, or a file \
in YAML or JSON.\n\n    [workspace]\n    id = \"ws_1c04de\"\n\n    [sources.crm]\n    type = \
\"database\"      # texts are quoted"
        }
        "W003" => {
            "TOML 1.1 allows inline tables over several lines, a comma after their last entry, times \
without seconds, and the escapes `\\e` and `\\x`. Editor tools read TOML 1.0, so files are \
limited to it.\n\nWrite a longer table under a header of its \
own:\n\n    [sources.crm.metadata]\n    description = \"…\""
        }
        "W004" => "Tables and lists can be nested up to 32 levels deep.",
        "W005" => {
            "A limit is exceeded. All sources together, including defaults and templates, can take up to \
512 MiB. One source can have up to 10,000 values: a source describes a connection, and \
larger content is data."
        }
        "W010" => {
            "Unknown keys are errors: a misspelled key would otherwise be ignored. Settings of the \
connection belong below [sources.KEY.connection_config], which accepts any key."
        }
        "W011" => {
            "The key takes a value of another type. Texts are quoted; numbers, `true` and `false` are \
not; lists are in brackets; tables are in braces or under a header."
        }
        "W012" => {
            "In TOML, a key belongs to the header above it. Everything below \
[sources.KEY.connection_config] is sent to the platform, so a setting such as `protect` has \
no effect there.\n\n    [sources.crm]\n    protect = true          # \
here\n\n    [sources.crm.connection_config]\n    host = \"…\""
        }
        "W013" => {
            "A required key is missing. A file that declares no sources on purpose needs `sources = {}`: \
a file without it may be incomplete, and an incomplete file must not remove anything."
        }
        "W014" => {
            "The value is outside of the allowed range or none of the allowed words; the message lists \
them."
        }
        "W015" => {
            "The two keys are alternatives. Keep one of them in a table. Between defaults, template and \
source, the more specific `every` or `cron` replaces the other."
        }
        "W016" => {
            "The name contains a character that a reader cannot see: a line break or another control \
character, a character that hides text or changes its direction, or a space other than the \
usual one. Such a name can be mistaken for another one in a review or a plan. Joiners that \
belong to other scripts and emoji are allowed.\n\nWrite the name without the character. \
Values can contain it, written as an escape: \"\\u202E\"."
        }
        "W020" => {
            "Every TOML file below the project root describes a workspace and \
needs\n\n    [workspace]\n    id = \"…\"                # or: use = \"ALIAS\"\n\nTo exclude \
files of other tools, list the files to read in wellspring.toml:\n\n    files = \
[\"workspaces/**/*.toml\"]"
        }
        "W021" => {
            "`use` names a workspace by its alias in wellspring.toml:\n\n    [workspaces]\n    sales = \
\"ws_…\""
        }
        "W022" => "The same workspace and scope is named twice. Its sources would be declared twice.",
        "W023" => {
            "An id or the platform's URL refers to an environment variable that is not set. An unset \
variable is not replaced by an empty text."
        }
        "W024" => {
            "wellspring.toml holds the settings of the whole project and is only read at the project \
root."
        }
        "W026" => {
            "The value of a variable that wellspring.toml uses in [platform] or [workspaces] is sent and \
stored, so the file cannot use every variable of the process. A name that contains WORKSPACE is \
permitted, unless it looks like a secret. Other names are permitted on the host, in the host \
configuration or in the environment:\n\n    [variables]\n    allow = [\"TEAM_*\"]\n\n    \
WELLSPRING_VARIABLES=TEAM_*,REGION\n\nThe variables of the platform's token and of webhook \
addresses are never permitted."
        }
        "W025" => {
            "`files` in wellspring.toml lists the files to read. A pattern that matches no file is \
usually a misspelled folder, and the sources declared in that folder are not managed. \
Patterns are relative to wellspring.toml; `*` matches within one folder, `**` matches any \
number of folders."
        }
        "W027" => {
            "An alias in [workspaces] that no file names under `use` has no effect. `wellspring validate` reports it, since it \
is usually a misspelled `use` or the rest of a removed workspace."
        }
        "W030" => {
            "A password, token or key is in the file as plain text, visible to everyone who can read the \
file or the repository. Write a reference instead; it is resolved when the platform is \
called:\n\n    password = \"${DB_PASSWORD}\"\n    password = { secret = \"env:DB_PASSWORD\" \
}\n    password = { secret = \"file:db-password\" }         # below secrets.dir of the host \
configuration\n    password = { secret = \"credential:db-password\" }   # below \
$CREDENTIALS_DIRECTORY\n\nChange a secret that was ever committed."
        }
        "W031" => {
            "References to secrets and variables are resolved in `connection_config`, and `${NAME}` also \
in [platform] and [workspaces] of wellspring.toml. Everywhere else, values are compared and \
shown unchanged. A literal `${` is written as `$${`."
        }
        "W032" => {
            "A reference is `${NAME}` within a text, or a whole value `{ secret = \"env:NAME\" }`, \
`file:NAME` or `credential:NAME`. A name cannot lead to another folder. The platform's own \
token cannot be referred to."
        }
        "W033" => {
            "The key `metadata.wellspring` is reserved: Wellspring writes the owner of a source into it."
        }
        "W034" => {
            "The platform receives JSON, which has no infinity and no NaN. Integers are limited to 64 \
bits."
        }
        "W040" => "A source key can be declared only once in a workspace and scope, in all files together.",
        "W041" => {
            "The platform identifies a source by workspace, scope and name, so a name can be used only \
once in a workspace and scope, in all files together. The name of a source without `name` is \
its key."
        }
        "W042" => {
            "Several files can add to one workspace, but their [policy] settings must not differ, because \
none of the files has precedence."
        }
        "W043" => {
            "In [moved], old = \"new\" requires that the new key is declared and the old one is not. \
[removed.KEY] requires that the key is not declared. A source that keeps its key and gets \
another name is confirmed with key = \"key\"."
        }
        "W050" => {
            "A duration is a number and a unit, `s`, `m`, `h`, `d` or `w`, larger units first: \"90s\", \
\"30m\", \"1h30m\", \"2d\". The minimum is one second, the maximum 366 days."
        }
        "W051" => {
            "`cron` has five fields: minute, hour, day of month, month, day of week. There is no field \
for seconds.\n\n    cron = \"15 2 * * MON-SAT\"     # 02:15, Monday to Saturday"
        }
        "W052" => {
            "`timezone` is a name of the IANA time zone database, such as \"Europe/Rome\", or \"UTC\", \
which is the default."
        }
        "W053" => "The expression is valid, but no year has such a day, for example 30 February.",
        "W054" => {
            "Where both the day of month and the day of week are restricted, a day matches here if either does. crontab(5) \
does the same, except where one of the two fields begins with `*`: then both must match. `0 0 */2 * MON` fires here on all \
odd days and all Mondays, and in crontab on odd days that are Mondays.\n\nList the days (`1-31/2` for `*/2`) if either is \
meant, or write `+` before the day of week if both are:\n\n    cron = \"0 0 */2 * +MON\""
        }
        "W055" => {
            "`every` counts a period, which is the same in every time zone. `timezone` has an effect with `cron` only."
        }
        "W056" => {
            "`stale_after` marks data as stale that was not synced for this long. A value shorter than the period marks the \
data as stale before each sync. Write the period and the time a sync takes, or more."
        }
        "W057" => {
            "`until` is the last day of a suspension. The day has passed, so the source is synced and changed as if \
`suspend` were not there. Remove it, or write a later date."
        }
        "W060" => {
            "`extends` names a template of wellspring.toml: [templates.NAME]. A template cannot extend \
another one."
        }
        "W061" => {
            "`unset` removes a value that comes from defaults or a template. A path that nothing sets is \
usually misspelled. To remove a value that the source itself sets, delete its line."
        }
        "W062" => {
            "A template that no source extends has no effect. `wellspring validate` reports it, since it is usually a \
misspelled `extends` or the rest of removed sources."
        }
        "W070" => {
            "`platform.url` is the platform's base URL, with or without `/api/v1`, and without user, \
query or fragment; or \"local\" for the local platform."
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
