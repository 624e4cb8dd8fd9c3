//! "Did you mean" suggestions for unknown words.

use super::diagnostic::display_key;

/// Returns the best candidate if it is similar enough.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Longer words are not typos, and the comparison is quadratic.
    const MAX_WORD_LENGTH: usize = 64;
    if word.len() > MAX_WORD_LENGTH {
        return None;
    }
    let plain = word.to_ascii_lowercase().replace('-', "_");
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_WORD_LENGTH)
        .map(|candidate| {
            let other = candidate.to_ascii_lowercase().replace('-', "_");
            // A truncated word counts as one edit, and so does one without its prefix.
            let cut = plain.len() > 1 && other.starts_with(&plain)
                || plain.len() > 2 && other.strip_suffix(&plain).is_some_and(|rest| rest.ends_with('_'));
            (if cut { 1 } else { strsim::damerau_levenshtein(&plain, &other) }, candidate)
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Words of other tools, and the word for the same here.
const SYNONYMS: [(&str, &str); 25] = [
    ("kind", "type"),
    ("connection", "connection_config"),
    ("params", "connection_config"),
    ("settings", "connection_config"),
    ("schedule", "sync"),
    ("cron", "sync"),
    ("every", "sync"),
    ("interval", "sync"),
    ("frequency", "sync"),
    ("template", "extends"),
    ("inherits", "extends"),
    ("disabled", "suspend"),
    ("enabled", "suspend"),
    ("paused", "suspend"),
    ("description", "metadata"),
    ("labels", "metadata"),
    ("tags", "metadata"),
    ("owner", "metadata"),
    ("name", "id"),
    ("alias", "use"),
    ("renamed", "moved"),
    ("deleted", "removed"),
    ("delete", "cleanup"),
    ("remove", "cleanup"),
    ("keep", "forget"),
];

/// Returns the candidate that is meant: the nearest, or the one that other tools call so.
pub(super) fn meant<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let otherwise = || {
        let (_, here) = SYNONYMS.iter().find(|(there, _)| there.eq_ignore_ascii_case(word))?;
        candidates.iter().copied().find(|candidate| candidate == here)
    };
    nearest(word, candidates.iter().copied()).or_else(otherwise)
}

/// Formats `did you mean …?`
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    meant(word, candidates).map(|candidate| format!("did you mean `{}`?", display_key(candidate)))
}

/// Formats `a`, `b` or `c`.
pub(super) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let known = ["sync", "sync_options", "protect", "metadata"];
        assert_eq!(nearest("protekt", known), Some("protect"));
        assert_eq!(nearest("sync-options", known), Some("sync_options"));
        assert_eq!(nearest("sycn", known), Some("sync"));
        assert_eq!(nearest("meta", known), Some("metadata"));
        assert_eq!(nearest("options", known), Some("sync_options"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(meant("schedule", known), Some("sync"));
        assert_eq!(meant("schedule", ["protect"]), None);
    }
}
