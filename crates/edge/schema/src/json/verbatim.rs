//! `#[serde(with = "estiva_schema::json::verbatim")]`: an API type in a row, as JSON, given back exactly as it was.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::Typed;
use super::encode::Encoded;
use crate::{Decode, Encode, Shaped};

/// Writes the value.
pub fn serialize<T: Encode + Shaped, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    Encoded::new(value, T::SHAPE).serialize(serializer)
}

/// Reads the value; constraints are not checked.
pub fn deserialize<'de, T: Decode + Default + Shaped, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
    Typed::deserialize(source).map(|Typed(value)| value)
}
