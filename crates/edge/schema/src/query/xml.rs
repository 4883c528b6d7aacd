//! From values to XML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::Timestamp;

use crate::{Document, Encode, Encoder, Kind, Shape, TimestampFormat};

/// Writes `<name>value</name>`.
pub(super) fn element(xml: &mut String, name: &str, shape: &'static Shape, value: &dyn Encode) {
    value.encode(&mut XmlEncoder { xml, name, shape });
}

/// Writes `<name>text</name>`.
pub(super) fn text_element(xml: &mut String, name: &str, text: &str) {
    open(xml, name);
    escape(xml, text);
    close(xml, name);
}

pub(super) fn open(xml: &mut String, name: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
}

pub(super) fn close(xml: &mut String, name: &str) {
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

/// Characters that XML cannot carry at all become U+FFFD.
pub(super) fn escape(xml: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            '\n' | '\t' => xml.push(character),
            '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => xml.push('\u{FFFD}'),
            other => xml.push(other),
        }
    }
}

struct XmlEncoder<'a> {
    xml: &'a mut String,
    name: &'a str,
    shape: &'static Shape,
}

impl XmlEncoder<'_> {
    fn text(&mut self, text: &str) {
        text_element(self.xml, self.name, text);
    }
}

impl Encoder for XmlEncoder<'_> {
    fn structure(&mut self, members: &[&dyn Encode]) {
        open(self.xml, self.name);
        for (member, value) in self.shape.members().iter().zip(members) {
            if !value.is_absent() {
                element(self.xml, member.name, member.shape, *value);
            }
        }
        close(self.xml, self.name);
    }

    fn list(&mut self, items: &mut dyn Iterator<Item = &dyn Encode>) {
        let Kind::List { item, item_name, flattened } = self.shape.kind else {
            return;
        };
        if flattened {
            items.for_each(|value| element(self.xml, self.name, item, value));
            return;
        }
        open(self.xml, self.name);
        items.for_each(|value| element(self.xml, item_name, item, value));
        close(self.xml, self.name);
    }

    fn map(&mut self, entries: &mut dyn Iterator<Item = (&str, &dyn Encode)>) {
        let Kind::Map { value: value_shape, key_name, value_name, flattened, .. } = self.shape.kind else {
            return;
        };
        let entry = if flattened { self.name } else { "entry" };
        if !flattened {
            open(self.xml, self.name);
        }
        for (key, value) in entries {
            open(self.xml, entry);
            text_element(self.xml, key_name, key);
            element(self.xml, value_name, value_shape, value);
            close(self.xml, entry);
        }
        if !flattened {
            close(self.xml, self.name);
        }
    }

    fn string(&mut self, value: &str) {
        self.text(value);
    }

    fn boolean(&mut self, value: bool) {
        self.text(if value { "true" } else { "false" });
    }

    fn integer(&mut self, value: i64) {
        self.text(&value.to_string());
    }

    fn double(&mut self, value: f64) {
        self.text(&crate::scalar_text::write_double(value));
    }

    fn timestamp(&mut self, value: Timestamp) {
        let format = if let Kind::Timestamp(format) = self.shape.kind { format } else { TimestampFormat::Default };
        self.text(&crate::scalar_text::write_time(value, format));
    }

    fn blob(&mut self, value: &[u8]) {
        self.text(&STANDARD.encode(value));
    }

    fn document(&mut self, value: &Document) {
        self.text(&value.to_string());
    }
}
