//! Runs of simulated clusters.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bench;
mod crowds;
mod determinism;
mod limits;
mod partitions;
mod rollouts;
mod schedules;
mod services;
