//! What the store promises, seen from outside: one contract that every backend must fulfil, and what is special to
//! SQLite.

#![allow(clippy::unwrap_used, reason = "all of this is tests, also what is not in a test function")]

mod contract;
mod differences;
mod durability;
mod faults;
mod images;
mod lost_log;
mod lost_log_at_random;
mod migrations;
mod model;
mod rows;
mod sqlite;
mod writers;
