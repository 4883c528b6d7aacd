//! Attributes that owners put on container instances, for placement to ask for.

pub mod handlers;
