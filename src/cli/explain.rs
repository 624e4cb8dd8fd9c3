//! `wellspring explain`: explains an error code, or lists all codes.

use super::args::{Common, Format};
use super::{CommandError, Exit, output};
use crate::config::{self, Code};
use serde_json::json;

/// Groups of codes, named by their first two digits.
const AREAS: [(&str, &str); 8] = [
    ("W00", "Files and TOML syntax"),
    ("W01", "Keys and values"),
    ("W02", "Workspaces and wellspring.toml"),
    ("W03", "Secrets and values that are sent"),
    ("W04", "Several declarations of one thing"),
    ("W05", "Schedules and durations"),
    ("W06", "Templates"),
    ("W07", "The platform"),
];

pub(super) fn run(common: &Common, code: Option<&str>) -> Result<Exit, CommandError> {
    let Some(asked) = code else {
        list(common);
        return Ok(Exit::Success);
    };
    // A number alone is accepted: 12 is W012.
    let number =
        if asked.bytes().all(|byte| byte.is_ascii_digit()) { Some(format!("W{asked:0>3}")) } else { None };
    let asked = number.as_deref().unwrap_or(asked);
    let Some(text) = config::explain(asked) else {
        let known = Code::ALL.iter().map(|code| code.as_str());
        let near = config::nearest(asked, known);
        let hint = near.map_or_else(
            || "`wellspring explain` lists all codes".to_owned(),
            |near| format!("did you mean {near}? `wellspring explain` lists all codes"),
        );
        return Err(CommandError::usage(&format!("no error code {asked:?}; {hint}")));
    };
    match common.format {
        Format::Json => {
            let code = asked.to_ascii_uppercase();
            output::write_json(&json!({ "format_version": 1, "code": code, "text": text }));
        }
        _ => output::print(text),
    }
    Ok(Exit::Success)
}

fn list(common: &Common) {
    if common.format == Format::Json {
        let codes: Vec<_> = Code::ALL
            .iter()
            .map(|code| json!({ "code": code, "area": area(*code), "title": code.title() }))
            .collect();
        return output::write_json(&json!({ "format_version": 1, "codes": codes }));
    }
    let mut text = String::new();
    for (prefix, area) in AREAS {
        text.push_str(&format!("{}{area}\n", if text.is_empty() { "" } else { "\n" }));
        for code in Code::ALL.iter().filter(|code| code.as_str().starts_with(prefix)) {
            text.push_str(&format!("  {code}  {}\n", code.title()));
        }
    }
    text.push_str("\n`wellspring explain CODE` explains one of them.\n");
    output::print(&text);
}

fn area(code: Code) -> &'static str {
    AREAS.iter().find(|(prefix, _)| code.as_str().starts_with(prefix)).map_or("", |(_, area)| area)
}

#[cfg(test)]
mod tests {
    use super::area;
    use crate::config::Code;

    #[test]
    fn every_code_is_listed_in_an_area_under_a_title() {
        for code in Code::ALL {
            assert!(!area(*code).is_empty() && !code.title().is_empty(), "{code}");
        }
    }
}
