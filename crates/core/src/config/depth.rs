//! Measures nesting before parsing, as the parser's tree is dropped recursively.

use std::ops::Range;
use toml_parser::lexer::TokenKind;

/// Returns the first place that is nested more than `most` levels deep.
///
/// Counts brackets and dotted keys together; the parser limits each separately.
pub(super) fn first_too_deep(most: usize, text: &str) -> Option<Range<usize>> {
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    let mut outer = 0;
    let mut dots = 0;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            kind @ (TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) => {
                open.push((kind, dots + 1));
                outer += dots + 1;
                dots = 0;
            }
            TokenKind::RightSquareBracket => close(TokenKind::LeftSquareBracket, &mut open, &mut outer),
            TokenKind::RightCurlyBracket => close(TokenKind::LeftCurlyBracket, &mut open, &mut outer),
            TokenKind::Comma | TokenKind::Newline => dots = 0,
            _ => {}
        }
        if outer + dots > most {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

/// Closes a bracket; one that does not match the last opened bracket is ignored.
fn close(kind: TokenKind, open: &mut Vec<(TokenKind, usize)>, outer: &mut usize) {
    if let Some((_, levels)) = open.pop_if(|(last, _)| *last == kind) {
        *outer -= levels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_is_told_from_what_only_stands_there() {
        let brackets = "[".repeat(9);
        let dots = ["a"; 10].join(".");
        for (text, at) in [
            (format!("x = {brackets}"), Some(12)),
            (format!("{dots} = 1"), Some(17)),
            (format!("x = {{ {dots} = [1] }}"), Some(21)),
            (format!("x = \"{brackets}{dots}\" # {brackets}{dots}"), None),
            (format!("x = '''\n{brackets}{dots}'''"), None),
            ("[a.b]\nc.d = [1.5, 2.5]\n".repeat(50), None),
        ] {
            assert_eq!(first_too_deep(8, &text).map(|range| range.start), at, "{text}");
        }
    }
}
