//! Text of strangers, made harmless for terminals and for logs.
//!
//! A container's command, an image's user, a registry's answer and the reason of a StopTask may hold escape sequences that
//! move a terminal's cursor, and marks that turn the direction of writing around. Everything that this program prints and
//! logs goes through here; the output of a program that `estiva exec` runs does not.

use std::borrow::Cow;

/// On one line, with everything that is not to be seen written out: `\n`, `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// As [`line`], but its lines stay lines: for text that has some of its own.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && is_hidden(character))
}

/// JSON as it may be shown: it means the same. What serde has escaped stays as it is; what it leaves is only ever within
/// strings.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_left = |character: char| character != '\n' && is_hidden(character);
    if !text.contains(is_left) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_left(character) {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Characters that do something instead of being seen.
fn is_hidden(character: char) -> bool {
    // C0, DEL and C1.
    character.is_control()
        || matches!(character,
            // Marks of direction, and what overrides it (Unicode's bidirectional algorithm).
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Separators that end a line, or have no width at all.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags: text that nobody sees.
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_something_is_written_out() {
        assert_eq!(line("a\x1b[2Jb\u{7}\r\nc\u{9b}d\u{202e}e"), "a\\u{1b}[2Jb\\u{7}\\r\\nc\\u{9b}d\\u{202e}e");
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
        for harmless in ["", "plain", "Grüße, 世界 🚢", "tab-free \\ \"quoted\""] {
            assert!(matches!(line(harmless), Cow::Borrowed(same) if same == harmless));
        }
    }

    /// Any text, with much of what is hidden in it.
    fn hostile() -> impl Strategy<Value = String> {
        let hidden = proptest::sample::select(vec![
            '\x1b',
            '\x07',
            '\r',
            '\n',
            '\x7f',
            '\u{80}',
            '\u{9b}',
            '\u{9d}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{2028}',
            '\u{feff}',
            '\u{e0041}',
            '\\',
            '"',
        ]);
        proptest::collection::vec(prop_oneof![hidden, any::<char>()], 0..60).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in hostile()) {
            prop_assert!(!line(&text).chars().any(is_hidden));
            prop_assert!(!lines(&text).chars().any(|it| it != '\n' && is_hidden(it)));
            let once = line(&text);
            prop_assert_eq!(line(&once), once.as_ref());
        }

        #[test]
        fn json_means_the_same(text in hostile(), key in hostile()) {
            let value = serde_json::json!({ key: [text] });
            let printed = serde_json::to_string_pretty(&value).unwrap();
            let shown = json(&printed);
            prop_assert!(!shown.chars().any(|it| it != '\n' && is_hidden(it)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
