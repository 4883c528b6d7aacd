//! The node protocol: the messages that AWS's own container agent and its control plane exchange, as types.
//!
//! ACS carries tasks to the node, TCS carries telemetry back; both are WebSockets of text frames
//! `{"type": NAME, "message": {…}}`. No I/O here: both ends, `dispatch` and `agent`, encode and decode with this crate.

pub mod acs;
mod frame;
pub mod task;
pub mod tcs;

pub use frame::{FRAME_BYTES_MAX, FrameError};

/// The path under the ACS endpoint at which a node opens its session.
pub const ACS_PATH: &str = "/acs/ws";
/// The path at which a node opens its end of a session with a program in a container.
pub const EXEC_PATH: &str = "/exec/ws";
/// The path under the telemetry endpoint at which a node opens its session.
pub const TCS_PATH: &str = "/tcs/ws";
