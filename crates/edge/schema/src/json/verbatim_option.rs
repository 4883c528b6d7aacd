//! `#[serde(with = "estiva_schema::json::verbatim_option")]`: as `verbatim`, for a value that may be absent.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::Typed;
use super::encode::Encoded;
use crate::{Decode, Encode, Shaped};

/// Writes the value.
#[allow(clippy::ref_option, reason = "serde calls it so")]
pub fn serialize<T: Encode + Shaped, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| Encoded::new(value, T::SHAPE)).serialize(serializer)
}

/// Reads the value; constraints are not checked.
pub fn deserialize<'de, T: Decode + Default + Shaped, D: Deserializer<'de>>(source: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Typed<T>>::deserialize(source)?.map(|Typed(value)| value))
}
