//! Log streams: the sources within a group.

mod describe;
mod handlers;
mod table;

pub(crate) use describe::describe;
pub(crate) use handlers::{create, delete};
pub(crate) use table::{LogStreamRow, find, name_of, sequence_token};
