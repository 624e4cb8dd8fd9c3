//! How deep a text nests, told before it is parsed: what the parser builds is torn down by recursion.

use std::ops::Range;

/// The first place where brackets and dotted keys together nest more than `most` levels deep. The parser
/// bounds each by itself.
pub(super) fn beyond(most: usize, text: &str) -> Option<Range<usize>> {
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut outer = 0;
    let mut dots = 0;
    for (sign, at) in (Signs { text: text.as_bytes(), at: 0 }) {
        match sign {
            b'.' => dots += 1,
            b'[' | b'{' => {
                open.push((sign, dots + 1));
                outer += dots + 1;
                dots = 0;
            }
            b']' => close(b'[', &mut open, &mut outer),
            b'}' => close(b'{', &mut open, &mut outer),
            _ => dots = 0,
        }
        if outer + dots > most {
            return Some(at..at + 1);
        }
    }
    None
}

/// A bracket that closes another than the last one opened closes nothing.
fn close(sign: u8, open: &mut Vec<(u8, usize)>, outer: &mut usize) {
    if let Some((_, levels)) = open.pop_if(|(last, _)| *last == sign) {
        *outer -= levels;
    }
}

/// Which bytes are among these.
const fn among(bytes: &[u8]) -> [bool; 256] {
    let mut is_among = [false; 256];
    let mut n = 0;
    while n < bytes.len() {
        is_among[bytes[n] as usize] = true;
        n += 1;
    }
    is_among
}

/// The dots, commas, brackets and line breaks that stand outside of strings and comments, each with its place.
struct Signs<'t> {
    text: &'t [u8],
    at: usize,
}

impl Iterator for Signs<'_> {
    type Item = (u8, usize);

    fn next(&mut self) -> Option<(u8, usize)> {
        loop {
            let at = self.at;
            let first = *self.text.get(at)?;
            self.at += 1;
            match first {
                b'.' | b',' | b'[' | b']' | b'{' | b'}' | b'\r' | b'\n' => return Some((first, at)),
                b'=' | b' ' | b'\t' => {}
                b'#' => self.pass_until(&const { among(b"\r\n") }),
                b'"' => self.pass_string(b'"', &const { among(b"\"\\\n") }),
                b'\'' => self.pass_string(b'\'', &const { among(b"'\n") }),
                // A quote within a word is a part of it.
                _ => self.pass_until(&const { among(b".=,[]{} \t#\r\n") }),
            }
        }
    }
}

impl Signs<'_> {
    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn pass_until(&mut self, is_end: &[bool; 256]) {
        let rest = self.rest();
        self.at += rest.iter().position(|byte| is_end[usize::from(*byte)]).unwrap_or(rest.len());
    }

    /// Passes over that many of `quote`, or what there is of them.
    fn pass_quotes(&mut self, quote: u8, most: usize) {
        self.at += self.rest().iter().take(most).take_while(|byte| **byte == quote).count();
    }

    /// Passes over the string that `quote` began. Unless it has three of them, it ends with its line.
    fn pass_string(&mut self, quote: u8, is_special: &[bool; 256]) {
        let is_long = self.rest().starts_with(&[quote; 2]);
        if is_long {
            self.at += 2;
        }
        loop {
            self.pass_until(is_special);
            match self.rest() {
                [] => return,
                [b'\n', ..] if !is_long => return,
                [b'\\', b'\\' | b'"', ..] if quote == b'"' => self.at += 2,
                [first, ..] if *first == quote && !is_long => {
                    self.at += 1;
                    return;
                }
                // Two more may stand at its end.
                rest if rest.starts_with(&[quote; 3]) => {
                    self.pass_quotes(quote, 5);
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use toml_parser::lexer::TokenKind::{
        Comma, Dot, LeftCurlyBracket, LeftSquareBracket, Newline, RightCurlyBracket, RightSquareBracket,
    };

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
            assert_eq!(beyond(8, &text).map(|range| range.start), at, "{text}");
        }
    }

    proptest! {
        #[test]
        fn signs_are_those_that_the_parser_sees(
            text in "(\"|'|\"\"\"|'''|\\\\|#|\n|\r|a|\\.|=|,|\\[|\\]|\\{|\\}| |\t|é){0,40}",
        ) {
            let seen: Vec<usize> = toml_parser::Source::new(&text)
                .lex()
                .filter(|token| {
                    matches!(
                        token.kind(),
                        Dot | Comma
                            | Newline
                            | LeftSquareBracket
                            | RightSquareBracket
                            | LeftCurlyBracket
                            | RightCurlyBracket
                    )
                })
                .map(|token| token.span().start())
                .collect();
            let signs = Signs { text: text.as_bytes(), at: 0 };
            let mut signs: Vec<usize> = signs.map(|(_, at)| at).collect();
            signs.dedup_by(|next, at| *next == *at + 1 && text.as_bytes()[*at..].starts_with(b"\r\n"));
            prop_assert_eq!(signs, seen);
        }
    }
}
