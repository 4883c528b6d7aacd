//! What a client speaks.

use estiva_schema::Protocol;
use estiva_schema::codec::{self, Codec};

use crate::sigv4::Dialect;

/// The way that errors and outputs are told to a client.
#[derive(Clone, Copy)]
pub(super) struct Tongue {
    pub(super) codec: &'static dyn Codec,
    pub(super) dialect: Dialect,
}

impl Tongue {
    /// What the node protocol's handshakes are answered in.
    pub(super) fn json() -> Self {
        Self::of(Protocol::AwsJson11)
    }

    pub(super) fn of(protocol: Protocol) -> Self {
        let dialect = if protocol == Protocol::Query { Dialect::Query } else { Dialect::Json };
        Self { codec: codec::of(protocol), dialect }
    }
}
