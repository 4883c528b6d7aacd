//! Either end of a connection, whatever carries it: TCP, or a socket in the file system.

use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection does.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub type Stream = Box<dyn Io>;
