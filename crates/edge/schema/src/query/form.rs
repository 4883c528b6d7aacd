//! Forms as trees: `Tags.member.1.Key=x` is `x` at `Tags`, `member`, `1`, `Key`.

use estiva_model::percent_encoded;

use super::tree::Tree;

/// More fields than this have no honest use: the limits of the services on lists are far below.
const FIELDS_MAX: usize = 10_000;
/// Names inside each other.
const DEPTH_MAX: usize = 64;

/// The tree of a form, or what is wrong with it.
pub(super) fn parse(form: &[u8]) -> Result<Tree, &'static str> {
    let mut root = Tree::default();
    for (count, pair) in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == FIELDS_MAX {
            return Err("the form has too many fields");
        }
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let name = unescape(&pair[..end]).ok_or("a field's name is not UTF-8")?;
        let value = unescape(pair.get(end + 1..).unwrap_or_default()).ok_or("a field's value is not UTF-8")?;
        insert(&mut root, &name, value)?;
    }
    Ok(root)
}

fn insert(root: &mut Tree, name: &str, value: String) -> Result<(), &'static str> {
    let mut tree = root;
    for (depth, part) in name.split('.').enumerate() {
        if depth == DEPTH_MAX {
            return Err("a field's name is nested too deeply");
        }
        let trees = tree.children.entry(part.to_owned()).or_default();
        if trees.is_empty() {
            trees.push(Tree::default());
        }
        tree = &mut trees[0];
    }
    match tree.text.replace(value) {
        None => Ok(()),
        Some(_) => Err("a field is there twice"),
    }
}

/// `None` unless it is UTF-8. A `%` without two digits behind it stands for itself.
fn unescape(text: &[u8]) -> Option<String> {
    let digit = |at: usize| {
        text.get(at).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match digit(at).zip(digit(at + 1)) {
                Some((high, low)) => {
                    bytes.push(high * 16 + low);
                    at += 2;
                }
                None => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Adds `name=value` to a form.
pub(super) fn push(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(&percent_encoded(name));
    form.push('=');
    form.push_str(&percent_encoded(value));
}
