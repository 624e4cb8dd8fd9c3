//! Splits valid TOML into lines and values with their comments.

use toml_parser::lexer::TokenKind;

/// A line, or an entry over several lines.
pub(super) enum LineToken<'a> {
    Blank,
    /// A comment with its `#`.
    Comment(&'a str),
    /// `[table]` or `[[list]]`, and the parts of its name.
    Header(String, Vec<String>),
    Entry(String, Vec<String>, ValueToken<'a>),
}

pub(super) enum ValueToken<'a> {
    /// A string, number, date or boolean.
    Scalar(String),
    /// `[…]`
    List(Vec<Element<'a>>),
    /// `{…}`
    Table(Vec<(String, ValueToken<'a>)>),
}

/// An element or comment in a list.
pub(super) enum Element<'a> {
    /// A comment with its `#`.
    Comment(&'a str),
    Value(ValueToken<'a>),
}

/// Splits a text into lines; the result for invalid TOML is arbitrary.
pub(super) fn tokenize(text: &str) -> Vec<LineToken<'_>> {
    let source = toml_parser::Source::new(text);
    let tokens = source
        .lex()
        .map(|token| (token.kind(), &text[token.span().start()..token.span().end()]))
        .take_while(|(kind, _)| *kind != TokenKind::Eof)
        .collect();
    let mut tokens = Tokens { tokens, at: 0 };
    let mut lines = Vec::new();
    loop {
        tokens.skip_blanks();
        match tokens.peek() {
            None => return lines,
            Some(TokenKind::Newline) => {
                tokens.next();
                lines.push(LineToken::Blank);
            }
            Some(TokenKind::Comment) => {
                lines.extend(tokens.next().map(LineToken::Comment));
                tokens.end_line();
            }
            Some(TokenKind::LeftSquareBracket) => {
                let (header, parts) = tokens.name(&[TokenKind::Newline, TokenKind::Comment]);
                lines.extend(tokens.end_line().map(LineToken::Comment));
                lines.push(LineToken::Header(header, parts));
            }
            Some(_) => {
                let (key, parts) = tokens.name(&[TokenKind::Equals, TokenKind::Newline]);
                tokens.next();
                let entry = LineToken::Entry(key, parts, tokens.value());
                lines.extend(tokens.end_line().map(LineToken::Comment));
                lines.push(entry);
            }
        }
    }
}

struct Tokens<'a> {
    tokens: Vec<(TokenKind, &'a str)>,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<TokenKind> {
        self.tokens.get(self.at).map(|(kind, _)| *kind)
    }

    fn next(&mut self) -> Option<&'a str> {
        let (_, text) = self.tokens.get(self.at)?;
        self.at += 1;
        Some(text)
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(TokenKind::Whitespace) {
            self.at += 1;
        }
    }

    /// Skips the rest of the line and returns its comment.
    fn end_line(&mut self) -> Option<&'a str> {
        let mut comment = None;
        while let Some(kind) = self.peek() {
            let text = self.next();
            match kind {
                TokenKind::Newline => break,
                TokenKind::Comment => comment = text,
                _ => {}
            }
        }
        comment
    }

    /// Reads a key or header up to one of the given tokens, and splits it into parts.
    fn name(&mut self, until: &[TokenKind]) -> (String, Vec<String>) {
        let mut name = String::new();
        let mut parts = vec![String::new()];
        while let Some(kind) = self.peek().filter(|kind| !until.contains(kind)) {
            let text = self.next().unwrap_or_default();
            let text = match kind {
                TokenKind::Whitespace => continue,
                TokenKind::LiteralString => basic(text),
                _ => text.to_owned(),
            };
            name.push_str(&text);
            match (kind, parts.last_mut()) {
                (TokenKind::LeftSquareBracket | TokenKind::RightSquareBracket, _) => {}
                (TokenKind::Dot, _) => parts.push(String::new()),
                (_, Some(part)) => part.push_str(text.trim_matches('"')),
                (_, None) => {}
            }
        }
        (name, parts)
    }

    fn value(&mut self) -> ValueToken<'a> {
        self.skip_blanks();
        match self.peek() {
            Some(TokenKind::LeftSquareBracket) => self.list(),
            Some(TokenKind::LeftCurlyBracket) => self.table(),
            _ => self.scalar(),
        }
    }

    fn list(&mut self) -> ValueToken<'a> {
        self.next();
        let mut elements = Vec::new();
        // Number of elements that begin on this line; its comment moves above them.
        let mut this_line = 0;
        while let Some(kind) = self.peek() {
            match kind {
                TokenKind::RightSquareBracket => {
                    self.next();
                    break;
                }
                TokenKind::Comment => {
                    let at = elements.len() - this_line;
                    elements.splice(at..at, self.next().map(Element::Comment));
                }
                TokenKind::Newline => {
                    self.next();
                    this_line = 0;
                }
                TokenKind::Whitespace | TokenKind::Comma => {
                    self.next();
                }
                _ => {
                    let before = self.at;
                    elements.push(Element::Value(self.value()));
                    // Skip tokens that are not values, such as `=`.
                    self.at = self.at.max(before + 1);
                    this_line += 1;
                }
            }
        }
        ValueToken::List(elements)
    }

    fn table(&mut self) -> ValueToken<'a> {
        self.next();
        let mut entries = Vec::new();
        while let Some(kind) = self.peek() {
            match kind {
                TokenKind::RightCurlyBracket => {
                    self.next();
                    break;
                }
                TokenKind::Whitespace | TokenKind::Comma | TokenKind::Newline | TokenKind::Comment => {
                    self.next();
                }
                _ => {
                    let (key, _) = self.name(&[TokenKind::Equals, TokenKind::Newline]);
                    self.next();
                    entries.push((key, self.value()));
                }
            }
        }
        ValueToken::Table(entries)
    }

    /// Reads a scalar, which may consist of several tokens.
    ///
    /// Examples are `1.5` and `2027-01-31 10:00:00`.
    fn scalar(&mut self) -> ValueToken<'a> {
        const ENDS: [TokenKind; 5] = [
            TokenKind::Comma,
            TokenKind::Newline,
            TokenKind::Comment,
            TokenKind::RightSquareBracket,
            TokenKind::RightCurlyBracket,
        ];
        let first = self.peek();
        let mut text = String::new();
        while self.peek().is_some_and(|kind| !ENDS.contains(&kind)) {
            text.push_str(self.next().unwrap_or_default());
        }
        let text = text.trim_end();
        ValueToken::Scalar(match first {
            Some(TokenKind::LiteralString) => basic(text),
            Some(TokenKind::Atom) if text.as_bytes().get(4) == Some(&b'-') => text.replace([' ', 't'], "T"),
            _ => text.to_owned(),
        })
    }
}

/// Converts a literal string to an equivalent basic one if possible.
fn basic(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner.filter(|inner| !inner.contains(['"', '\\'])) {
        Some(inner) => format!("\"{inner}\""),
        None => literal.to_owned(),
    }
}
