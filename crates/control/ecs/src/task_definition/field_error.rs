//! How errors name a field of a container definition.

use estiva_api_ecs::Error;

/// A field of the container definition at `place` is wrong.
pub(super) fn field_error(place: usize, field: &str, text: impl AsRef<str>) -> Error {
    Error::client_exception(format!("containerDefinitions[{place}].{field}: {}", text.as_ref()))
}
