//! `#[serde(with = "estiva_schema::json::verbatim_list")]`: as `verbatim`, for a list of values.

use serde::{Deserialize, Deserializer, Serializer};

use super::decode::Typed;
use super::encode::Encoded;
use crate::{Decode, Encode, Shaped};

/// Writes the values.
pub fn serialize<T: Encode + Shaped, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| Encoded::new(value, T::SHAPE)))
}

/// Reads the values; constraints are not checked.
pub fn deserialize<'de, T: Decode + Default + Shaped, D: Deserializer<'de>>(source: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Typed<T>>::deserialize(source)?.into_iter().map(|Typed(value)| value).collect())
}
