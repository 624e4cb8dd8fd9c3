//! What each code means, at more length.
/// What a diagnostic's code means and what to do; `None` for a code there is not.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    let _ = code;
    None
}
