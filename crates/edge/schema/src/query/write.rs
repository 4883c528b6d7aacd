//! From values to a form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::Timestamp;

use super::form::push;
use crate::{Document, Encode, Encoder, Kind, Shape, TimestampFormat};

/// Adds a value's fields to a form.
pub(super) fn write(form: &mut String, shape: &'static Shape, value: &dyn Encode) {
    value.encode(&mut FormEncoder { form, name: String::new(), shape });
}

struct FormEncoder<'a> {
    form: &'a mut String,
    name: String,
    shape: &'static Shape,
}

impl FormEncoder<'_> {
    fn inside(&mut self, name: &str, shape: &'static Shape, value: &dyn Encode) {
        let name = if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) };
        value.encode(&mut FormEncoder { form: &mut *self.form, name, shape });
    }

    fn field(&mut self, value: &str) {
        push(self.form, &self.name, value);
    }
}

impl Encoder for FormEncoder<'_> {
    fn structure(&mut self, members: &[&dyn Encode]) {
        for (member, value) in self.shape.members().iter().zip(members) {
            if !value.is_absent() {
                self.inside(member.name, member.shape, *value);
            }
        }
    }

    fn list(&mut self, items: &mut dyn Iterator<Item = &dyn Encode>) {
        let Kind::List { item, item_name, flattened } = self.shape.kind else {
            return;
        };
        let mut count = 0;
        for value in items {
            count += 1;
            let name = if flattened { count.to_string() } else { format!("{item_name}.{count}") };
            self.inside(&name, item, value);
        }
        if count == 0 {
            self.field("");
        }
    }

    fn map(&mut self, entries: &mut dyn Iterator<Item = (&str, &dyn Encode)>) {
        let Kind::Map { value: value_shape, key, key_name, value_name, flattened } = self.shape.kind else {
            return;
        };
        for (index, (entry_key, value)) in entries.enumerate() {
            let entry = if flattened { (index + 1).to_string() } else { format!("entry.{}", index + 1) };
            self.inside(&format!("{entry}.{key_name}"), key, &entry_key.to_owned());
            self.inside(&format!("{entry}.{value_name}"), value_shape, value);
        }
    }

    fn string(&mut self, value: &str) {
        self.field(value);
    }

    fn boolean(&mut self, value: bool) {
        self.field(if value { "true" } else { "false" });
    }

    fn integer(&mut self, value: i64) {
        self.field(&value.to_string());
    }

    fn double(&mut self, value: f64) {
        self.field(&crate::scalar_text::write_double(value));
    }

    fn timestamp(&mut self, value: Timestamp) {
        let format = if let Kind::Timestamp(format) = self.shape.kind { format } else { TimestampFormat::Default };
        self.field(&crate::scalar_text::write_time(value, format));
    }

    fn blob(&mut self, value: &[u8]) {
        self.field(&STANDARD.encode(value));
    }

    fn document(&mut self, value: &Document) {
        self.field(&value.to_string());
    }
}
