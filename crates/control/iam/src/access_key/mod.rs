//! Access keys: their rows, the ones that an installation makes for itself, and how the edge finds them.

pub mod keys;
pub mod table;
