//! The operations on container instances.

pub(crate) mod bench;
mod lists;
mod loss;
mod registration;
