//! Plain types that every layer shares: who calls, ARNs, tags, time. No I/O, no wire format.

mod arn;
mod caller;
mod id;
mod timestamp;

pub use arn::{Arn, ArnError};
pub use caller::{AccountId, Caller, Principal, Region};
pub use id::hex_id;
pub use timestamp::Timestamp;
