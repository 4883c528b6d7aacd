//! How a value is handed to a codec.

use std::collections::BTreeMap;

use estiva_model::Timestamp;

use crate::Document;

/// A value that can be written in any protocol.
pub trait Encode {
    /// Hands the value to the encoder: exactly one call of one of its methods.
    fn encode(&self, encoder: &mut dyn Encoder);

    /// Nothing is there: the member is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Writes one value, whose shape it knows.
pub trait Encoder {
    /// A structure: its members in the order of the schema.
    fn structure(&mut self, members: &[&dyn Encode]);
    /// A list.
    fn list(&mut self, items: &mut dyn Iterator<Item = &dyn Encode>);
    /// A map in the order of its keys.
    fn map(&mut self, entries: &mut dyn Iterator<Item = (&str, &dyn Encode)>);
    /// A text, or an enum's value.
    fn string(&mut self, value: &str);
    /// A truth value.
    fn boolean(&mut self, value: bool);
    /// A whole number.
    fn integer(&mut self, value: i64);
    /// A floating point number, finite or not.
    fn double(&mut self, value: f64);
    /// A point in time.
    fn timestamp(&mut self, value: Timestamp);
    /// Bytes.
    fn blob(&mut self, value: &[u8]);
    /// Any JSON.
    fn document(&mut self, value: &Document);
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, encoder: &mut dyn Encoder) {
        if let Some(value) = self {
            value.encode(encoder);
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Encode + ?Sized> Encode for Box<T> {
    fn encode(&self, encoder: &mut dyn Encoder) {
        (**self).encode(encoder);
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.list(&mut self.iter().map(|item| item as &dyn Encode));
    }
}

impl<T: Encode> Encode for BTreeMap<String, T> {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.map(&mut self.iter().map(|(key, value)| (key.as_str(), value as &dyn Encode)));
    }
}

impl Encode for () {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.structure(&[]);
    }
}

impl Encode for String {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.string(self);
    }
}

impl Encode for bool {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.boolean(*self);
    }
}

impl Encode for i32 {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.integer(i64::from(*self));
    }
}

impl Encode for i64 {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.integer(*self);
    }
}

impl Encode for f64 {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.double(*self);
    }
}

impl Encode for Timestamp {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.timestamp(*self);
    }
}

impl Encode for Vec<u8> {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.blob(self);
    }
}

impl Encode for Document {
    fn encode(&self, encoder: &mut dyn Encoder) {
        encoder.document(self);
    }
}
