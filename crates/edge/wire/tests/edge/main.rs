//! The edge from outside: a server on a loopback port, a toy service behind it, real connections.

#![allow(clippy::unwrap_used, reason = "all of this is tests, also what stands outside of #[test] functions")]

mod calls;
mod connections;
mod hostile;
mod pools;
mod sockets;
mod toy;
mod websockets;
