//! Plain types that every layer shares: who calls, ARNs, time, chance, percent-encoding. No I/O, no wire format.

mod ambient;
mod arn;
mod caller;
mod id;
mod percent;
mod timestamp;

pub use ambient::Ambient;
pub use arn::{Arn, ArnError};
pub use caller::{AccountId, Caller, Principal, Region};
pub use id::{hex_id, uuid};
pub use percent::percent_encoded;
pub use timestamp::Timestamp;
