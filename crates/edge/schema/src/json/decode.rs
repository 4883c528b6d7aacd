//! From any `serde` deserializer to values.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::scalar::{Boolean, Double, Integer, Text};
use crate::check::{Checks, Step};
use crate::{
    Decode, DecodeError, Decoder, Document, EntrySink, ItemSink, Kind, Member, Presence, Shape, Shaped,
    TimestampFormat, UNIT,
};

/// Reads one value.
pub(super) fn read<'de, D: Deserializer<'de>>(
    source: D,
    shape: &'static Shape,
    value: &mut dyn Decode,
    checks: &mut Checks,
) -> Result<(), DecodeError> {
    let mut run = Run { checks, failure: None };
    let mut decoder = JsonDecoder { source: Some(source), shape, run: &mut run };
    value.decode(&mut decoder).map(|_| ())
}

/// What lasts as long as one value of the top is being read.
struct Run<'a> {
    checks: &'a mut Checks,
    /// `serde` carries only its own errors up: ours waits here meanwhile.
    failure: Option<DecodeError>,
}

impl Run<'_> {
    /// An error of ours on its way through `serde`.
    fn pass<E: Error>(&mut self, error: DecodeError) -> E {
        let carrier = E::custom(&error);
        self.failure.get_or_insert(error);
        carrier
    }

    /// An error that came out of `serde`: ours, or its own.
    fn caught(&mut self, error: &impl fmt::Display) -> DecodeError {
        let place = || self.checks.place();
        self.failure.take().unwrap_or_else(|| DecodeError::Malformed { place: place(), reason: error.to_string() })
    }
}

struct JsonDecoder<'a, 'c, D> {
    /// Gone once the value was read.
    source: Option<D>,
    shape: &'static Shape,
    run: &'a mut Run<'c>,
}

impl<'de, 'c, D: Deserializer<'de>> JsonDecoder<'_, 'c, D> {
    fn read<T>(
        &mut self,
        read: impl FnOnce(D, &'static Shape, &mut Run<'c>) -> Result<T, D::Error>,
    ) -> Result<T, DecodeError> {
        let source = self.source.take().ok_or_else(|| self.malformed("read twice"))?;
        read(source, self.shape, self.run).map_err(|error| self.run.caught(&error))
    }
}

impl<'de, D: Deserializer<'de>> Decoder for JsonDecoder<'_, '_, D> {
    fn structure(&mut self, members: &mut [&mut dyn Decode]) -> Result<(), DecodeError> {
        self.read(|source, shape, run| source.deserialize_map(Structure { members, shape, run }))
    }

    fn list(&mut self, item: &mut ItemSink<'_>) -> Result<(), DecodeError> {
        self.read(|source, shape, run| source.deserialize_seq(List { item, shape, run }))
    }

    fn map(&mut self, entry: &mut EntrySink<'_>) -> Result<(), DecodeError> {
        self.read(|source, shape, run| source.deserialize_map(Entries { entry, shape, run }))
    }

    fn string(&mut self) -> Result<String, DecodeError> {
        self.read(|source, shape, run| {
            let text = source.deserialize_string(Text)?;
            run.checks.text(shape, &text);
            Ok(text)
        })
    }

    fn boolean(&mut self) -> Result<bool, DecodeError> {
        self.read(|source, _, _| source.deserialize_bool(Boolean))
    }

    fn integer(&mut self) -> Result<i64, DecodeError> {
        self.read(|source, shape, run| {
            let number = source.deserialize_i64(Integer)?;
            run.checks.integer(shape, number);
            Ok(number)
        })
    }

    fn double(&mut self) -> Result<f64, DecodeError> {
        self.read(|source, shape, run| {
            let number = source.deserialize_any(Double)?;
            run.checks.double(shape, number);
            Ok(number)
        })
    }

    fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        self.read(|source, shape, _| {
            let format = if let Kind::Timestamp(format) = shape.kind { format } else { TimestampFormat::Default };
            match format {
                TimestampFormat::Default | TimestampFormat::UnixTimestamp => {
                    source.deserialize_any(Double).and_then(|seconds| {
                        if seconds.is_finite() {
                            Ok(Timestamp::from_secs_f64(seconds))
                        } else {
                            Err(D::Error::invalid_value(Unexpected::Float(seconds), &"seconds since 1970"))
                        }
                    })
                }
                TimestampFormat::Iso8601 | TimestampFormat::Rfc822 => {
                    let text = source.deserialize_string(Text)?;
                    crate::scalar_text::read_time(&text, format).ok_or_else(|| D::Error::custom("not a time"))
                }
            }
        })
    }

    fn blob(&mut self) -> Result<Vec<u8>, DecodeError> {
        self.read(|source, shape, run| {
            let text = source.deserialize_string(Text)?;
            let bytes = STANDARD.decode(text).map_err(|error| D::Error::custom(format!("not base64: {error}")))?;
            run.checks.count(shape, bytes.len());
            Ok(bytes)
        })
    }

    fn document(&mut self) -> Result<Document, DecodeError> {
        self.read(|source, _, _| Document::deserialize(source))
    }

    fn malformed(&self, reason: &str) -> DecodeError {
        DecodeError::Malformed { place: self.run.checks.place(), reason: reason.to_owned() }
    }
}

/// Reads a value that may be `null`, which is as if it were not there.
struct Slot<'a, 'c, F> {
    step: Step,
    shape: &'static Shape,
    run: &'a mut Run<'c>,
    take: F,
}

type Taken = Result<Presence, DecodeError>;

impl<'de, F: FnOnce(&mut dyn Decoder) -> Taken> DeserializeSeed<'de> for Slot<'_, '_, F> {
    type Value = Option<Presence>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_option(self)
    }
}

impl<'de, F: FnOnce(&mut dyn Decoder) -> Taken> Visitor<'de> for Slot<'_, '_, F> {
    type Value = Option<Presence>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        let Self { step, shape, run, take } = self;
        if let Err(error) = run.checks.enter(step) {
            return Err(run.pass(error));
        }
        let mut decoder = JsonDecoder { source: Some(source), shape, run: &mut *run };
        let presence = take(&mut decoder).map_err(|error| run.pass(error))?;
        run.checks.leave();
        Ok(Some(presence))
    }
}

struct Structure<'a, 'c, 's, 'm> {
    members: &'s mut [&'m mut dyn Decode],
    shape: &'static Shape,
    run: &'a mut Run<'c>,
}

impl<'de> Visitor<'de> for Structure<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a structure")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { members, shape, run } = self;
        let schema = shape.members();
        let mut seen = Seen::default();
        let mut expected = 0;
        let strict = run.checks.is_strict();
        while let Some(found) = map.next_key_seed(MemberName { schema, expected })? {
            let Some(place) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = place + 1;
            let (Some(member), Some(value)) = (schema.get(place), members.get_mut(place)) else {
                return Err(A::Error::custom("the type does not fit its schema"));
            };
            let take = |decoder: &mut dyn Decoder| match value.decode(decoder)? {
                // In a request it is a violation, which is noted already.
                Presence::Unknown if member.required && !strict => Err(decoder.malformed("the value is not known")),
                presence => Ok(presence),
            };
            let step = Step::Member(member.name);
            let slot = Slot { step, shape: member.shape, run: &mut *run, take };
            if map.next_value_seed(slot)?.is_some() && !seen.insert(place) {
                let place = run.checks.place();
                let reason = format!("the member '{}' is there twice", member.name);
                return Err(run.pass(DecodeError::Malformed { place, reason }));
            }
        }
        run.checks.structure(shape, |place| seen.contains(place));
        Ok(())
    }
}

/// Finds a member by its name. Clients mostly send members in the model's order, so the search begins behind the last.
struct MemberName {
    schema: &'static [Member],
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_identifier(self)
    }
}

impl Visitor<'_> for MemberName {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let is_it = |place: &usize| self.schema[*place].name == name;
        Ok((self.expected..self.schema.len()).chain(0..self.expected).find(is_it))
    }
}

/// Which members were there, by their places: no structure of any AWS API has 256.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// False when it was there already.
    fn insert(&mut self, place: usize) -> bool {
        let is_new = !self.contains(place);
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
        is_new
    }

    fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
}

struct List<'a, 'c, 's, 'f> {
    item: &'s mut ItemSink<'f>,
    shape: &'static Shape,
    run: &'a mut Run<'c>,
}

impl<'de> Visitor<'de> for List<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { item, shape, run } = self;
        let item_shape = if let Kind::List { item, .. } = shape.kind { item } else { &UNIT };
        let mut count = 0;
        loop {
            let step = Step::Item(count);
            let slot =
                Slot { step, shape: item_shape, run: &mut *run, take: |decoder: &mut dyn Decoder| item(decoder) };
            match list.next_element_seed(slot)? {
                None => break,
                Some(None) => {}
                Some(Some(_)) => count += 1,
            }
        }
        run.checks.count(shape, count);
        Ok(())
    }
}

struct Entries<'a, 'c, 's, 'f> {
    entry: &'s mut EntrySink<'f>,
    shape: &'static Shape,
    run: &'a mut Run<'c>,
}

impl<'de> Visitor<'de> for Entries<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { entry, shape, run } = self;
        let (key_shape, value_shape) =
            if let Kind::Map { key, value, .. } = shape.kind { (key, value) } else { (&UNIT, &UNIT) };
        let mut count = 0;
        while let Some(key) = map.next_key::<String>()? {
            run.checks.text(key_shape, &key);
            let step = Step::Key(key.clone());
            let take = |decoder: &mut dyn Decoder| entry(key, decoder);
            if map.next_value_seed(Slot { step, shape: value_shape, run: &mut *run, take })?.is_some() {
                count += 1;
            }
        }
        run.checks.count(shape, count);
        Ok(())
    }
}

/// A value of a type that is known, for `verbatim` and its siblings.
pub(super) struct Typed<T>(pub(super) T);

impl<'de, T: Decode + Default + Shaped> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let mut value = T::default();
        read(source, T::SHAPE, &mut value, &mut Checks::lenient()).map_err(D::Error::custom)?;
        Ok(Self(value))
    }
}
