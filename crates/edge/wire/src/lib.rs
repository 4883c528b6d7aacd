//! The HTTP edge: AWS signatures, the server that takes AWS requests to services, and a client that signs.
//!
//! [`sigv4`] is pure; [`server`] and [`client`] do the I/O. Shapes and encodings are `estiva-schema`'s; what an operation
//! does is the services'.

pub mod client;
pub mod server;
pub mod sigv4;
mod stream;

pub use stream::{Io, Stream};
