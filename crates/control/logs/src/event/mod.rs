//! Log events: storing, reading and searching them.

mod filter;
mod get;
mod pattern;
mod put;
pub mod storage;
mod token;

pub(crate) use filter::filter;
pub(crate) use get::get;
pub(crate) use put::{BATCH_BYTES_MAX, put};
