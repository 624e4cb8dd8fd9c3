//! Chooses the path of a new file so that the patterns of `files` match it.

use super::FILE_NAME;
use super::patterns::Patterns;

/// Returns the path for a new file.
///
/// This is `workspaces/NAME.toml` if the patterns of `files` match it, else the first path made from a
/// pattern. `None` if no pattern matches a file of this name. Without patterns every file is read.
#[must_use]
pub fn path_for(patterns: Option<&[String]>, name: &str) -> Option<String> {
    let usual = format!("workspaces/{name}.toml");
    let Some(patterns) = patterns else { return Some(usual) };
    let set = Patterns::of(patterns)?;
    let made = patterns.iter().flat_map(|pattern| paths_of(pattern, name));
    std::iter::once(usual)
        .chain(made)
        .find(|path| path.ends_with(".toml") && path != FILE_NAME && set.matches(path))
}

/// Returns paths that a pattern may match, one per alternative.
///
/// `name` replaces the wildcards.
fn paths_of(pattern: &str, name: &str) -> Vec<String> {
    alternatives(pattern).iter().map(|pattern| filled(pattern, name)).collect()
}

/// Replaces the wildcards of a pattern by the name.
fn filled(pattern: &str, name: &str) -> String {
    let last = pattern.rsplit('/').next().unwrap_or_default();
    let mut segments: Vec<String> = Vec::new();
    for segment in pattern.split('/') {
        match segment.split_once('*') {
            _ if segment == "**" => {}
            Some((before, after)) => segments.push(format!("{before}{name}{}", after.replace('*', ""))),
            None => segments.push(segment.to_owned()),
        }
    }
    if last == "**" {
        segments.push(format!("{name}.toml"));
    }
    let path = segments.join("/");
    // A file that the pattern names in full is reserved for its own purpose.
    let is_plain = !pattern.contains('*') && last != format!("{name}.toml");
    if is_plain { String::new() } else { path }
}

/// Expands the first `{a,b}` of a pattern.
fn alternatives(pattern: &str) -> Vec<String> {
    let choice = pattern.split_once('{').and_then(|(before, rest)| {
        let (choices, after) = rest.split_once('}')?;
        Some(choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect())
    });
    choice.unwrap_or_else(|| vec![pattern.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::path_for;

    #[test]
    fn a_new_file_is_one_that_the_patterns_read() {
        for (patterns, path) in [
            (&["workspaces/**/*.toml"][..], Some("workspaces/crm.toml")),
            (&["sources/*.toml"], Some("sources/crm.toml")),
            (&["*.ws.toml"], Some("crm.ws.toml")),
            (&["teams/*/sources.toml"], Some("teams/crm/sources.toml")),
            (&["{live,test}/**/*.toml"], Some("live/crm.toml")),
            (&["data/**"], Some("data/crm.toml")),
            (&["deep/**/here/*.toml"], Some("deep/here/crm.toml")),
            (&["sales.toml", "crm.toml"], Some("crm.toml")),
            (&["sales.toml"], None),
            (&["wellspring.toml"], None),
            (&[], None),
        ] {
            let texts: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(path_for(Some(&texts), "crm").as_deref(), path, "{patterns:?}");
        }
        assert_eq!(path_for(None, "crm").as_deref(), Some("workspaces/crm.toml"));
    }
}
