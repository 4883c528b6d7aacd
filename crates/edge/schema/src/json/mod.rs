//! JSON: the codec of awsJson 1.0 and 1.1, and the form in which API types are kept in rows.
//!
//! The syntax is `serde_json`'s; here is the bridge between its visitors and ours. Nothing is built in between: a request
//! is read straight into its type.

mod codec;
mod decode;
mod encode;
mod scalar;
#[cfg(test)]
mod tests;
pub mod verbatim;
pub mod verbatim_option;

use serde_json::Value;

pub(crate) use codec::{AWS_JSON_10, AWS_JSON_11};

use crate::check::Checks;
use crate::{Decode, DecodeError, Encode, Shape, Shaped};

/// The JSON of a value.
pub fn to_vec<T: Encode + Shaped>(value: &T) -> Vec<u8> {
    to_vec_of(value, T::SHAPE)
}

/// The value of that JSON; constraints are not checked.
pub fn from_slice<T: Decode + Default + Shaped>(json: &[u8]) -> Result<T, DecodeError> {
    let mut value = T::default();
    read(json, T::SHAPE, &mut value, &mut Checks::lenient())?;
    Ok(value)
}

/// A value as a tree.
pub fn to_value<T: Encode + Shaped>(value: &T) -> Value {
    to_value_of(value, T::SHAPE)
}

/// The value of that tree; constraints are not checked.
pub fn from_value<T: Decode + Default + Shaped>(tree: &Value) -> Result<T, DecodeError> {
    let mut value = T::default();
    decode::read(tree, T::SHAPE, &mut value, &mut Checks::lenient())?;
    Ok(value)
}

/// A value whose type is not known, as a tree.
pub fn to_value_of(value: &dyn Encode, shape: &'static Shape) -> Value {
    serde_json::to_value(encode::Encoded::new(value, shape)).unwrap_or_default()
}

pub(crate) fn to_vec_of(value: &dyn Encode, shape: &'static Shape) -> Vec<u8> {
    // Fails only for what the bridge never does: keys that are no text.
    serde_json::to_vec(&encode::Encoded::new(value, shape)).unwrap_or_default()
}

/// Reads JSON into a value, reporting to `checks`.
pub fn read(
    json: &[u8],
    shape: &'static Shape,
    value: &mut dyn Decode,
    checks: &mut Checks,
) -> Result<(), DecodeError> {
    let mut source = serde_json::Deserializer::from_slice(json);
    decode::read(&mut source, shape, value, checks)?;
    source.end().map_err(|error| DecodeError::Malformed { place: String::new(), reason: error.to_string() })
}
