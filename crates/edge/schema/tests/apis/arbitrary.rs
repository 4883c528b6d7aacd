//! Arbitrary values of any shape, from a seed: the schema says what they look like.

use estiva_model::Timestamp;
use estiva_schema::{Kind, Shape};
use serde_json::{Map, Value, json};

/// Below this, optional members are left out: shapes may contain themselves.
const DEPTH_MAX: usize = 7;

/// What kind of texts values are made of, and how empty they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Whatever JSON can carry.
    Json,
    /// What XML can carry, too: no control characters.
    Xml,
    /// What a form can carry: nothing that is there and empty, either.
    Form,
}

/// A source of values: the same seed gives the same values.
pub struct Arbitrary {
    state: u64,
    scope: Scope,
}

impl Arbitrary {
    pub fn new(seed: u64, scope: Scope) -> Self {
        Self { state: seed, scope }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// A value of `shape` as JSON.
    pub fn value(&mut self, shape: &'static Shape) -> Value {
        self.at(shape, 0)
    }

    fn at(&mut self, shape: &'static Shape, depth: usize) -> Value {
        match shape.kind {
            Kind::Structure { union, .. } => self.structure(shape, union, depth),
            Kind::List { item, flattened, .. } => {
                let count = self.count(depth, flattened);
                (0..count).map(|_| self.at(item, depth + 1)).collect()
            }
            Kind::Map { value, .. } => {
                let count = self.count(depth, false);
                Value::Object((0..count).map(|index| (format!("{index} é"), self.at(value, depth + 1))).collect())
            }
            Kind::String => Value::String(self.text()),
            Kind::Enum(values) => json!(values[self.below(values.len())]),
            Kind::Boolean => json!(self.below(2) == 0),
            Kind::Integer => json!(i32::try_from(self.next() >> 32).unwrap_or(i32::MIN)),
            Kind::Long => json!(self.next().cast_signed()),
            Kind::Double => json!(self.double()),
            Kind::Timestamp(_) => {
                let millis = (self.next() % 4_000_000_000_000).cast_signed();
                json!(Timestamp(millis).as_secs_f64())
            }
            Kind::Blob => json!(["", "AA==", "/////w=="][self.below(3)]),
            Kind::Document => json!({"a": [1, {"b": null}], "text": self.text()}),
        }
    }

    fn structure(&mut self, shape: &'static Shape, union: bool, depth: usize) -> Value {
        let members = shape.members();
        let only = (union && !members.is_empty()).then(|| self.below(members.len()));
        let mut object = Map::new();
        for (place, member) in members.iter().enumerate() {
            let chance = depth < DEPTH_MAX && self.below(3) > 0;
            if only.map_or(member.required || chance, |only| only == place) {
                object.insert(member.name.to_owned(), self.at(member.shape, depth + 1));
            }
        }
        if let (true, Some(member)) = (object.is_empty() && self.scope == Scope::Form, members.first()) {
            object.insert(member.name.to_owned(), self.at(member.shape, depth + 1));
        }
        Value::Object(object)
    }

    fn count(&mut self, depth: usize, flattened: bool) -> usize {
        let least = usize::from(self.scope == Scope::Form || (self.scope == Scope::Xml && flattened));
        if depth > DEPTH_MAX { least } else { least + self.below(3) }
    }

    fn double(&mut self) -> f64 {
        let bits = f64::from_bits(self.next());
        if bits.is_finite() { bits } else { 0.5 }
    }

    fn text(&mut self) -> String {
        const PLAIN: [&str; 10] = ["a", "Z", "0", " ", "é", "😀", "\"", "\\", "<&>+%=", "\n"];
        const CONTROL: [&str; 4] = ["\0", "\u{1}", "\u{7f}", "\u{fffe}"];
        let parts = if self.scope == Scope::Json { [&PLAIN[..], &CONTROL[..]].concat() } else { PLAIN.to_vec() };
        (0..self.below(8)).map(|_| parts[self.below(parts.len())]).collect()
    }
}
