//! The operations on task definitions.

mod kept;
mod refused;
