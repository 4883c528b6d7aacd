//! Runs of simulated clusters.

mod determinism;
mod schedules;
