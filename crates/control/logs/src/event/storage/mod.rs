//! Where log events are kept: append-only segment files, one series of them for each stream.
//!
//! ```text
//! DIR/<group>/<stream>.<first sequence number>.log      records, and a footer once the segment is sealed
//! ```
//!
//! A put is one record, checksummed, and answered only when `fdatasync` has returned: it survives the process being killed
//! and the machine losing power. Puts to one stream that wait at the same time share one sync. A record that was torn by a
//! crash was never acknowledged; it is cut off, and the log says so, when the stream is next touched. Damage with sound
//! records after it is no torn tail: it is reported and stepped over, and nothing is cut.
//!
//! Events are ordered by [`Position`]: time, then stream, then order of arrival. Puts may go back in time, so files are not
//! in that order; each segment is cut into chunks of some 64 KiB whose time spans are the index, and `select` reads only
//! the chunks that can hold what is asked for. Sealed segments carry their index in a footer: what stays in memory is a few
//! words for each segment.
//!
//! Groups and streams are opened when they are first touched: starting costs nothing, however many there are. At most
//! [`Options::files_open_max`] files are open. Everything here blocks; nothing here knows AWS, rows or tasks.

mod chunk;
mod engine;
mod error;
mod files;
mod footer;
mod group;
mod id;
mod lazy;
mod options;
mod record;
mod select;
mod stream;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use error::EngineError;
pub use id::{GroupId, Position, StreamId};
pub use options::Options;
pub use record::NewEvent;
pub use select::{Event, Order, Query, Streams};
pub use stream::StreamStats;
