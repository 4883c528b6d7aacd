//! From characters to words and signs, each with its place.

use super::{EXPRESSION_CHARS_MAX, ParseError};

/// Signs, the longer first.
const SIGNS: [&str; 15] = ["==", "!=", "!~", "=~", ">=", "<=", "&&", "||", ">", "<", "!", "(", ")", "[", "]"];
const COMMA: &str = ",";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
    End,
}

/// Reads tokens on demand: what an argument is made of depends on what stands before it.
pub(super) struct Scanner {
    text: Vec<char>,
    at: usize,
}

impl Scanner {
    pub fn new(text: &str) -> Result<Self, ParseError> {
        let text: Vec<char> = text.chars().collect();
        if text.len() > EXPRESSION_CHARS_MAX {
            let message = format!("an expression has at most {EXPRESSION_CHARS_MAX} characters: too many");
            return Err(ParseError { position: EXPRESSION_CHARS_MAX, message });
        }
        Ok(Self { text, at: 0 })
    }

    /// Where the next token begins.
    pub fn position(&mut self) -> usize {
        while self.text.get(self.at).is_some_and(|char| char.is_whitespace()) {
            self.at += 1;
        }
        self.at
    }

    /// The next token, left where it is.
    pub fn peek(&mut self) -> Result<Token, ParseError> {
        let at = self.position();
        let token = self.next();
        self.at = at;
        token
    }

    pub fn next(&mut self) -> Result<Token, ParseError> {
        let at = self.position();
        let Some(first) = self.text.get(at).copied() else { return Ok(Token::End) };
        if first == '\'' || first == '"' {
            return self.quoted(first).map(Token::Quoted);
        }
        if let Some(sign) = SIGNS.into_iter().chain([COMMA]).find(|sign| self.stands(sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        let ends = |char: &char| char.is_whitespace() || "()[],'\"!=<>&|".contains(*char);
        let length = self.text[at..].iter().position(ends).unwrap_or(self.text.len() - at);
        if length == 0 {
            return Err(ParseError { position: at, message: format!("unexpected {first:?}") });
        }
        self.at = at + length;
        Ok(Token::Word(self.text[at..self.at].iter().collect()))
    }

    /// A regular expression without quotes: up to a space, or to a bracket that closes what it has not opened.
    pub fn pattern(&mut self) -> Result<Token, ParseError> {
        let at = self.position();
        if self.text.get(at).is_some_and(|first| *first == '\'' || *first == '"') {
            return self.next();
        }
        let mut depth = 0_usize;
        let mut escaped = false;
        while let Some(char) = self.text.get(self.at) {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                char if char.is_whitespace() => break,
                '(' | '[' => depth += 1,
                ')' | ']' if depth == 0 => break,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == at { Ok(Token::End) } else { Ok(Token::Word(self.text[at..self.at].iter().collect())) }
    }

    fn stands(&self, sign: &str) -> bool {
        self.text[self.at..].iter().copied().take(sign.len()).eq(sign.chars())
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let from = self.at;
        let mut inside = String::new();
        self.at += 1;
        while let Some(char) = self.text.get(self.at).copied() {
            self.at += 1;
            if char != quote {
                inside.push(char);
            } else if self.text.get(self.at) == Some(&quote) {
                inside.push(quote);
                self.at += 1;
            } else {
                return Ok(inside);
            }
        }
        Err(ParseError { position: from, message: format!("{quote} is not closed: it opens") })
    }
}
