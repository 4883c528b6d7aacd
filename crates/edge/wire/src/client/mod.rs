//! Calls AWS APIs: how the node agent speaks with the control plane.

mod call;
mod clock;
mod connect;
mod error;
mod transport;
mod upgrade;

pub use call::{Client, EndpointError, SOCKET_SCHEME};
pub use error::{ClientError, ServiceError};
pub use upgrade::signed_upgrade_request;
