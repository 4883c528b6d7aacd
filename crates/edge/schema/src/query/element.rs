//! XML documents as trees, as far as AWS services write them: elements and texts. Attributes, comments and the
//! declaration are passed over; a document type, and with it every entity of one's own, is refused.

use super::tree::Tree;

/// Elements inside each other.
const DEPTH_MAX: usize = 64;

/// The root element's name and what is in it, or what is wrong with the document.
pub(super) fn parse(xml: &str) -> Result<(String, Tree), &'static str> {
    let mut open: Vec<(String, Tree)> = vec![(String::new(), Tree::default())];
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        append_text(&mut open, &rest[..at])?;
        rest = &rest[at..];
        let (end, kind) = if rest.starts_with("<!--") {
            (rest.find("-->").map(|end| end + 3), Tag::Skipped)
        } else if rest.starts_with("<?") {
            (rest.find("?>").map(|end| end + 2), Tag::Skipped)
        } else if rest.starts_with("<!") {
            return Err("document types are not allowed");
        } else {
            (rest.find('>').map(|end| end + 1), tag(rest))
        };
        let end = end.ok_or("a tag has no end")?;
        match kind {
            Tag::Skipped => {}
            Tag::Opening => open.push((name(&rest[1..end - 1]), Tree { text: Some(String::new()), ..Tree::default() })),
            Tag::Empty => {
                open.push((name(&rest[1..end - 1]), Tree { text: Some(String::new()), ..Tree::default() }));
                close(&mut open)?;
            }
            Tag::Closing if open.last().is_some_and(|(opened, _)| *opened == name(&rest[2..end - 1])) => {
                close(&mut open)?;
            }
            Tag::Closing => return Err("a tag is closed that is not open"),
        }
        if open.len() > DEPTH_MAX {
            return Err("nested too deeply");
        }
        rest = &rest[end..];
    }
    let document = open.pop().filter(|_| open.is_empty()).ok_or("a tag is not closed")?;
    let (name, trees) = document.1.children.into_iter().next().ok_or("there is no element")?;
    Ok((name, trees.into_iter().next().unwrap_or_default()))
}

enum Tag {
    Skipped,
    Opening,
    Empty,
    Closing,
}

fn tag(rest: &str) -> Tag {
    let end = rest.find('>').unwrap_or(rest.len());
    if rest.starts_with("</") {
        Tag::Closing
    } else if rest[..end].ends_with('/') {
        Tag::Empty
    } else {
        Tag::Opening
    }
}

/// An element's name without its namespace's prefix.
fn name(tag: &str) -> String {
    let end = tag.find(|character: char| character.is_ascii_whitespace() || character == '/').unwrap_or(tag.len());
    let name = &tag[..end];
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn close(open: &mut Vec<(String, Tree)>) -> Result<(), &'static str> {
    let (name, tree) = open.pop().ok_or("a tag is closed that is not open")?;
    let (_, parent) = open.last_mut().ok_or("a tag is closed that is not open")?;
    parent.children.entry(name).or_default().push(tree);
    Ok(())
}

fn append_text(open: &mut [(String, Tree)], text: &str) -> Result<(), &'static str> {
    if let Some((_, tree)) = open.last_mut() {
        tree.text.get_or_insert_default().push_str(&unescape(text)?);
    }
    Ok(())
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find(';').ok_or("an entity has no end")? + at;
        plain.push(entity(&rest[at + 1..end]).ok_or("an entity is not known")?);
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    Ok(plain)
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}
