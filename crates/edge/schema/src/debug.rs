//! A codec for people: what `{:?}` shows of a value.

use std::fmt::{self, Formatter};

use estiva_model::Timestamp;

use crate::{Document, Encode, Encoder, Kind, Shape, UNIT};

/// What stands for a secret.
const SECRET: &str = "***";

/// Writes a value for people: without members that are not set, and without what is secret.
pub fn show(value: &dyn Encode, shape: &'static Shape, formatter: &mut Formatter<'_>) -> fmt::Result {
    if shape.sensitive {
        return formatter.write_str(SECRET);
    }
    let mut encoder = DebugEncoder { shape, formatter, outcome: Ok(()) };
    value.encode(&mut encoder);
    encoder.outcome
}

/// A value with its shape, as something that has `Debug`.
struct Shown<'a>(&'a dyn Encode, &'static Shape);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        show(self.0, self.1, formatter)
    }
}

struct DebugEncoder<'a, 'f> {
    shape: &'static Shape,
    formatter: &'a mut Formatter<'f>,
    outcome: fmt::Result,
}

impl Encoder for DebugEncoder<'_, '_> {
    fn structure(&mut self, members: &[&dyn Encode]) {
        let mut shown = self.formatter.debug_struct(self.shape.name);
        for (member, value) in self.shape.members().iter().zip(members) {
            if !value.is_absent() {
                shown.field(member.name, &Shown(*value, member.shape));
            }
        }
        self.outcome = shown.finish();
    }

    fn list(&mut self, items: &mut dyn Iterator<Item = &dyn Encode>) {
        let item = if let Kind::List { item, .. } = self.shape.kind { item } else { &UNIT };
        self.outcome = self.formatter.debug_list().entries(items.map(|value| Shown(value, item))).finish();
    }

    fn map(&mut self, entries: &mut dyn Iterator<Item = (&str, &dyn Encode)>) {
        let value_shape = if let Kind::Map { value, .. } = self.shape.kind { value } else { &UNIT };
        let entries = entries.map(|(key, value)| (key, Shown(value, value_shape)));
        self.outcome = self.formatter.debug_map().entries(entries).finish();
    }

    fn string(&mut self, value: &str) {
        self.outcome = write!(self.formatter, "{value:?}");
    }

    fn boolean(&mut self, value: bool) {
        self.outcome = write!(self.formatter, "{value}");
    }

    fn integer(&mut self, value: i64) {
        self.outcome = write!(self.formatter, "{value}");
    }

    fn double(&mut self, value: f64) {
        self.outcome = write!(self.formatter, "{value:?}");
    }

    fn timestamp(&mut self, value: Timestamp) {
        self.outcome = write!(self.formatter, "{value:?}");
    }

    fn blob(&mut self, value: &[u8]) {
        self.outcome = write!(self.formatter, "{} bytes", value.len());
    }

    fn document(&mut self, value: &Document) {
        self.outcome = write!(self.formatter, "{value}");
    }
}
