//! The HTTP server: a listener, an [`Edge`] of services and paths, and limits on whoever comes.
//!
//! It knows no service by name and holds no state besides connections. A panic in a handler costs that request a 500, never
//! the connection or the server.

mod admission;
mod body;
mod cors;
mod edge;
mod limits;
mod listen;
mod paths;
mod patience;
mod respond;
mod services;
mod shares;
mod throttle;
mod tongue;
mod upgrade;

pub use admission::{Admission, Place, Shares, Source, Standing, Underway};
pub use body::{BodyError, ResponseBody, full, read_body};
pub use edge::Edge;
pub use limits::Limits;
pub use listen::{Listener, Peer, serve};
pub use paths::Handler;
pub use patience::Patient;
pub use throttle::Throttle;
pub use upgrade::{Refusal, TokenUpgradeHandler, Upgrade, UpgradeHandler, UpgradedIo};
