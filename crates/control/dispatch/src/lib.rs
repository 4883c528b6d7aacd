//! The server's end of the node protocol.
