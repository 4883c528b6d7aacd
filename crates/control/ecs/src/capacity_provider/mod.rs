//! Capacity providers: where the tasks of a strategy run. FARGATE and FARGATE_SPOT are always there; others stand for an Auto
//! Scaling group.

pub mod handlers;
mod managed_scaling;
mod reserved;
mod strategy;
pub mod table;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use handlers::check_there;
pub(crate) use reserved::name_of;
pub use strategy::{StrategyItem, check as check_strategy, check_runnable};
pub(crate) use usage::is_used;
