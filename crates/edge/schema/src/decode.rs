//! How a value is taken from a codec.

use std::collections::BTreeMap;

use estiva_model::Timestamp;

use crate::Document;

/// A value that can be read from any protocol. It is read in place, into a default value: so a structure can hand its
/// fields to the decoder as they are, whatever their types.
pub trait Decode {
    /// Takes the value from the decoder: exactly one call of one of its methods.
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError>;
}

/// What became of a value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Present,
    /// It is an enum's value that this version does not know: to be treated as if it had not been sent.
    Unknown,
}

/// Why bytes are no value of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The syntax is wrong, or a value is of another kind than its place demands.
    #[error("{}{reason}", Place(.place))]
    Malformed {
        /// The path of the value; empty at the top.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Deeper nesting than any honest input has.
    #[error("{}nested too deeply", Place(.place))]
    TooDeep {
        /// The path of the value.
        place: String,
    },
}

struct Place<'a>(&'a str);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(formatter, "'{}': ", self.0) }
    }
}

/// Reads one value, whose shape it knows.
pub trait Decoder {
    /// A structure: the places of its members in the order of the schema. Members that are not there are left alone,
    /// unknown ones are passed over.
    fn structure(&mut self, members: &mut [&mut dyn Decode]) -> Result<(), DecodeError>;
    /// A list: `item` is called for each item.
    fn list(&mut self, item: &mut ItemSink<'_>) -> Result<(), DecodeError>;
    /// A map: `entry` is called for each entry.
    fn map(&mut self, entry: &mut EntrySink<'_>) -> Result<(), DecodeError>;
    /// A text, or an enum's value.
    fn string(&mut self) -> Result<String, DecodeError>;
    /// A truth value.
    fn boolean(&mut self) -> Result<bool, DecodeError>;
    /// A whole number in the range of the shape.
    fn integer(&mut self) -> Result<i64, DecodeError>;
    /// A floating point number, finite or not.
    fn double(&mut self) -> Result<f64, DecodeError>;
    /// A point in time.
    fn timestamp(&mut self) -> Result<Timestamp, DecodeError>;
    /// Bytes.
    fn blob(&mut self) -> Result<Vec<u8>, DecodeError>;
    /// Any JSON.
    fn document(&mut self) -> Result<Document, DecodeError>;
    /// The error for a value at this place.
    fn malformed(&self, reason: &str) -> DecodeError;
}

/// Takes a list's items.
pub type ItemSink<'a> = dyn FnMut(&mut dyn Decoder) -> Result<Presence, DecodeError> + 'a;

/// Takes a map's entries.
pub type EntrySink<'a> = dyn FnMut(String, &mut dyn Decoder) -> Result<Presence, DecodeError> + 'a;

impl<T: Decode + Default> Decode for Option<T> {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        if self.insert(T::default()).decode(decoder)? == Presence::Unknown {
            *self = None;
        }
        Ok(Presence::Present)
    }
}

impl<T: Decode + ?Sized> Decode for Box<T> {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        (**self).decode(decoder)
    }
}

impl<T: Decode + Default> Decode for Vec<T> {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        decoder.list(&mut |decoder| {
            let mut item = T::default();
            let presence = item.decode(decoder)?;
            if presence == Presence::Present {
                self.push(item);
            }
            Ok(presence)
        })?;
        Ok(Presence::Present)
    }
}

impl<T: Decode + Default> Decode for BTreeMap<String, T> {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        decoder.map(&mut |key, decoder| {
            let mut value = T::default();
            let presence = value.decode(decoder)?;
            if presence == Presence::Present && self.insert(key, value).is_some() {
                return Err(decoder.malformed("the key is there twice"));
            }
            Ok(presence)
        })?;
        Ok(Presence::Present)
    }
}

impl Decode for () {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        decoder.structure(&mut []).map(|()| Presence::Present)
    }
}

/// Types that a decoder gives as they are.
macro_rules! scalars {
    ($($type:ty => $method:ident),*) => {$(
        impl Decode for $type {
            fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
                *self = decoder.$method()?;
                Ok(Presence::Present)
            }
        }
    )*};
}
scalars!(
    String => string,
    bool => boolean,
    i64 => integer,
    f64 => double,
    Timestamp => timestamp,
    Vec<u8> => blob,
    Document => document
);

impl Decode for i32 {
    fn decode(&mut self, decoder: &mut dyn Decoder) -> Result<Presence, DecodeError> {
        let wide = decoder.integer()?;
        *self = i32::try_from(wide).map_err(|_| decoder.malformed("the number does not fit into 32 bits"))?;
        Ok(Presence::Present)
    }
}
