//! Dispatch behind a real edge on a loopback port, over a store in memory, with a node at the other end of the WebSocket.

mod admission;
mod bench;
mod connections;
mod crowd;
mod hostile;
mod manifest;
mod payloads;
mod telemetry;
