//! Deciding: from what is, what to do next. Pure functions: no clock, no store, no I/O; `now` and `rng` are arguments.

pub mod capacity;
pub mod dependency;
pub mod deployment;
pub mod expression;
pub mod lifecycle;
pub mod placement;
