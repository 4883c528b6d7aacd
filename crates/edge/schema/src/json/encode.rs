//! From values to any `serde` serializer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::Timestamp;
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::{Document, Encode, Encoder, Kind, Shape, TimestampFormat, UNIT};

/// A value with its shape, as `serde` sees it.
pub(super) struct Encoded<'a> {
    value: &'a dyn Encode,
    shape: &'static Shape,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(value: &'a dyn Encode, shape: &'static Shape) -> Self {
        Self { value, shape }
    }
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut encoder = JsonEncoder { shape: self.shape, state: State::Ready(serializer) };
        self.value.encode(&mut encoder);
        match encoder.state {
            State::Done(outcome) => outcome,
            State::Ready(_) | State::Busy => Err(S::Error::custom("the value was not encoded")),
        }
    }
}

enum State<S: Serializer> {
    Ready(S),
    Busy,
    Done(Result<S::Ok, S::Error>),
}

struct JsonEncoder<S: Serializer> {
    shape: &'static Shape,
    state: State<S>,
}

impl<S: Serializer> JsonEncoder<S> {
    fn write(&mut self, write: impl FnOnce(S) -> Result<S::Ok, S::Error>) {
        if let State::Ready(serializer) = std::mem::replace(&mut self.state, State::Busy) {
            self.state = State::Done(write(serializer));
        }
    }
}

impl<S: Serializer> Encoder for JsonEncoder<S> {
    fn structure(&mut self, members: &[&dyn Encode]) {
        let schema = self.shape.members();
        self.write(|serializer| {
            let mut map = serializer.serialize_map(None)?;
            for (member, value) in schema.iter().zip(members) {
                if !value.is_absent() {
                    map.serialize_entry(member.name, &Encoded::new(*value, member.shape))?;
                }
            }
            map.end()
        });
    }

    fn list(&mut self, items: &mut dyn Iterator<Item = &dyn Encode>) {
        let item = if let Kind::List { item, .. } = self.shape.kind { item } else { &UNIT };
        self.write(|serializer| {
            let mut list = serializer.serialize_seq(None)?;
            for value in items {
                list.serialize_element(&Encoded::new(value, item))?;
            }
            list.end()
        });
    }

    fn map(&mut self, entries: &mut dyn Iterator<Item = (&str, &dyn Encode)>) {
        let shape = if let Kind::Map { value, .. } = self.shape.kind { value } else { &UNIT };
        self.write(|serializer| {
            let mut map = serializer.serialize_map(None)?;
            for (key, value) in entries {
                map.serialize_entry(key, &Encoded::new(value, shape))?;
            }
            map.end()
        });
    }

    fn string(&mut self, value: &str) {
        self.write(|serializer| serializer.serialize_str(value));
    }

    fn boolean(&mut self, value: bool) {
        self.write(|serializer| serializer.serialize_bool(value));
    }

    fn integer(&mut self, value: i64) {
        self.write(|serializer| serializer.serialize_i64(value));
    }

    fn double(&mut self, value: f64) {
        self.write(|serializer| match crate::scalar_text::name_of_non_finite(value) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_f64(value),
        });
    }

    fn timestamp(&mut self, value: Timestamp) {
        let format = if let Kind::Timestamp(format) = self.shape.kind { format } else { TimestampFormat::Default };
        self.write(|serializer| match format {
            TimestampFormat::Default | TimestampFormat::UnixTimestamp => serializer.serialize_f64(value.as_secs_f64()),
            TimestampFormat::Iso8601 | TimestampFormat::Rfc822 => {
                serializer.serialize_str(&crate::scalar_text::write_time(value, format))
            }
        });
    }

    fn blob(&mut self, value: &[u8]) {
        self.write(|serializer| serializer.serialize_str(&STANDARD.encode(value)));
    }

    fn document(&mut self, value: &Document) {
        self.write(|serializer| value.serialize(serializer));
    }
}
