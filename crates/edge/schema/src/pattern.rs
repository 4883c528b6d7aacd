//! The regular expressions of models, which are Java's, in terms of the `regex` crate.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern that the whole of a text must match. It is compiled when it is first needed, once.
#[derive(Debug)]
pub struct Pattern {
    text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// The pattern as the model has it.
    pub const fn new(text: &'static str) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// As the model has it.
    pub const fn as_str(&self) -> &'static str {
        self.text
    }

    /// Whether it can be checked at all. One that cannot is named in `models/deviations.json`, which a test of each API
    /// crate demands.
    pub fn is_supported(&self) -> bool {
        self.compiled().is_some()
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled().is_none_or(|regex| regex.is_match(text))
    }

    fn compiled(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&format!(r"\A(?:{})\z", translate(self.text))).ok()).as_ref()
    }
}

/// `\w`, `\d` and `\s` are ASCII in Java and Unicode in `regex`; and a hyphen behind them in a class is itself in Java and
/// an error in `regex`.
fn translate(java: &str) -> String {
    let mut translated = String::with_capacity(java.len() + 16);
    let mut in_class = false;
    let mut characters = java.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next().unwrap_or('\\');
                let Some(set) = ascii_set(escaped) else {
                    translated.push('\\');
                    translated.push(escaped);
                    continue;
                };
                if in_class {
                    translated.push_str(set);
                } else {
                    translated.extend(["[", set, "]"]);
                }
                if in_class && characters.next_if_eq(&'-').is_some() {
                    translated.push_str(r"\-");
                }
            }
            '[' if !in_class => {
                in_class = true;
                translated.push('[');
            }
            ']' => {
                in_class = false;
                translated.push(']');
            }
            other => translated.push(other),
        }
    }
    translated
}

/// What an escape stands for, in a form that can stand inside a class.
fn ascii_set(escaped: char) -> Option<&'static str> {
    Some(match escaped {
        'w' => "A-Za-z0-9_",
        'd' => "0-9",
        's' => r"\t\n\x0B\x0C\r ",
        'W' => "[^A-Za-z0-9_]",
        'D' => "[^0-9]",
        'S' => r"[^\t\n\x0B\x0C\r ]",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_text_must_match() {
        let pattern = Pattern::new(r"[\.\-_/#A-Za-z0-9]+");
        assert!(pattern.matches("/aws/ecs#x"));
        for text in ["", "a b", "a\n", "ä"] {
            assert!(!pattern.matches(text), "{text:?}");
        }
    }

    #[test]
    fn alternatives_are_anchored_as_a_whole() {
        assert!(!Pattern::new("a|b").matches("ax"));
        assert!(!Pattern::new("^a|b$").matches("xb"));
    }

    #[test]
    fn classes_are_ascii_as_in_java() {
        assert!(!Pattern::new(r"\w+").matches("é"));
        assert!(!Pattern::new(r"\d").matches("٣"));
        assert!(Pattern::new(r"\S{2}").matches("é!"));
        assert!(!Pattern::new(r"[\S]").matches(" "));
        assert!(Pattern::new(r"[\p{L}]").matches("é"));
    }

    #[test]
    fn a_hyphen_behind_a_class_is_a_hyphen() {
        let pattern = Pattern::new(r"[\w-_]*");
        assert!(pattern.matches("a-b_c"));
        assert!(!pattern.matches("a.b"));
        assert!(Pattern::new(r"[\w+=,.@-]*").matches("a-b"));
    }

    #[test]
    fn what_cannot_be_compiled_says_so() {
        assert!(!Pattern::new(r"(?!aws:).*").is_supported());
    }
}
