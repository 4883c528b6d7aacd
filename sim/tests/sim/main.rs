//! Runs of simulated clusters.

mod bench;
mod crowds;
mod determinism;
mod partitions;
mod schedules;
