//! What holds for every generated API: checked over all operations and all types of all models.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod arbitrary;
mod complete;
mod endpoint;
mod hostile;
mod round_trip;
