//! Reading a pattern from left to right: what all three forms have in common.

use regex::{Regex, RegexBuilder};

use super::PatternError;

/// How many regular expressions a pattern has at most.
const REGEXES_MAX: usize = 2;

/// How large a compiled regular expression may be, in bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// How deep parentheses nest at most.
const DEPTH_MAX: usize = 32;

/// A place in a pattern.
pub(super) struct Cursor<'p> {
    text: &'p str,
    at: usize,
    regexes: usize,
    depth: usize,
}

/// A tree of conditions.
#[derive(Debug)]
pub(super) enum Tree<Leaf> {
    /// One condition.
    Leaf(Leaf),
    /// All of these.
    And(Vec<Tree<Leaf>>),
    /// One of these.
    Or(Vec<Tree<Leaf>>),
}

impl<Leaf> Tree<Leaf> {
    /// Whether the tree holds, given which leaves hold.
    pub(super) fn holds(&self, leaf: &dyn Fn(&Leaf) -> bool) -> bool {
        match self {
            Self::Leaf(one) => leaf(one),
            Self::And(all) => all.iter().all(|tree| tree.holds(leaf)),
            Self::Or(any) => any.iter().any(|tree| tree.holds(leaf)),
        }
    }
}

impl<'p> Cursor<'p> {
    pub(super) fn new(text: &'p str) -> Self {
        Self { text, at: 0, regexes: 0, depth: 0 }
    }

    /// The character that is next.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The next character, which is behind the cursor from now on.
    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// The characters from here on that are so.
    pub(super) fn take_while(&mut self, so: impl Fn(char) -> bool) -> &'p str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !so(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Steps over this text, if it is next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// As [`Cursor::eat`], after space, for what must be there.
    pub(super) fn expect(&mut self, text: &str) -> Result<(), PatternError> {
        self.skip_space();
        if self.eat(text) { Ok(()) } else { Err(self.error(format!("expected '{text}'"))) }
    }

    /// As [`Cursor::eat`], after space, for a word in whatever case that no letter or digit follows.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.rest();
        let is_next = rest.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Nothing but space may follow.
    pub(super) fn expect_end(&mut self) -> Result<(), PatternError> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(self.error("unexpected text")) }
    }

    /// The text between quotation marks, of which the first is behind the cursor. A backslash takes the meaning from the
    /// character after it.
    pub(super) fn quoted(&mut self, mark: char) -> Result<String, PatternError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(self.error(format!("no closing {mark}"))),
                Some('\\') => text.extend(self.next()),
                Some(c) if c == mark => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    /// The regular expression between `%`, of which the first is behind the cursor. Parentheses and characters that are not
    /// ASCII are no part of the language.
    pub(super) fn regex(&mut self) -> Result<Regex, PatternError> {
        let text = self.take_while(|c| c != '%');
        if !self.eat("%") {
            return Err(self.error("no closing %"));
        }
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(self.error(format!("more than {REGEXES_MAX} regular expressions")));
        }
        if text.is_empty() || !text.is_ascii() || text.contains(['(', ')']) {
            return Err(self.error("unsupported regular expression"));
        }
        let regex = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
        regex.map_err(|_| self.error("invalid regular expression"))
    }

    /// Conditions with `&&`, `||` (which binds less) and parentheses.
    pub(super) fn tree<Leaf>(
        &mut self,
        leaf: &mut dyn FnMut(&mut Self) -> Result<Leaf, PatternError>,
    ) -> Result<Tree<Leaf>, PatternError> {
        let mut any = vec![self.conjunction(leaf)?];
        while self.eat_after_space("||") {
            any.push(self.conjunction(leaf)?);
        }
        Ok(one_or(any, Tree::Or))
    }

    fn conjunction<Leaf>(
        &mut self,
        leaf: &mut dyn FnMut(&mut Self) -> Result<Leaf, PatternError>,
    ) -> Result<Tree<Leaf>, PatternError> {
        let mut all = vec![self.operand(leaf)?];
        while self.eat_after_space("&&") {
            all.push(self.operand(leaf)?);
        }
        Ok(one_or(all, Tree::And))
    }

    fn operand<Leaf>(
        &mut self,
        leaf: &mut dyn FnMut(&mut Self) -> Result<Leaf, PatternError>,
    ) -> Result<Tree<Leaf>, PatternError> {
        if !self.eat_after_space("(") {
            return leaf(self).map(Tree::Leaf);
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} levels of parentheses")));
        }
        let tree = self.tree(leaf)?;
        self.expect(")")?;
        self.depth -= 1;
        Ok(tree)
    }

    fn eat_after_space(&mut self, text: &str) -> bool {
        self.skip_space();
        self.eat(text)
    }

    /// An error here.
    pub(super) fn error(&self, reason: impl Into<String>) -> PatternError {
        PatternError { reason: reason.into(), at: self.text[..self.at].chars().count() + 1 }
    }

    fn rest(&self) -> &'p str {
        &self.text[self.at..]
    }
}

fn one_or<Leaf>(mut trees: Vec<Tree<Leaf>>, many: impl FnOnce(Vec<Tree<Leaf>>) -> Tree<Leaf>) -> Tree<Leaf> {
    match trees.pop() {
        Some(only) if trees.is_empty() => only,
        last => {
            trees.extend(last);
            many(trees)
        }
    }
}
