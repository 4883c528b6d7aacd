//! The netlink transport: requests, acknowledgements, dumps and attributes.
//!
//! One blocking socket type serves both rtnetlink (links, addresses, routes) and nfnetlink (nf_tables, conntrack).
//! Requests are encoded by the caller; this module numbers them, sends several in one system call and matches the
//! answers. It knows nothing of what the messages mean.

mod attribute;
mod socket;

pub(crate) use attribute::{Attributes, attributes};
pub(crate) use socket::{Message, Request, Socket};

/// The kernel's refusal of a request, or the failure to reach it at all.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused request number `index` of those sent together.
    #[error("request {index} refused{}", detail(.message.as_ref()))]
    Refused {
        /// Position among the requests sent together, from 0.
        index: usize,
        /// The kernel's own words (extended acknowledgement), where it had any.
        message: Option<String>,
        /// The errno.
        source: std::io::Error,
    },
    /// Sending or receiving failed.
    #[error("netlink socket")]
    Socket(#[from] std::io::Error),
    /// An answer is not well-formed.
    #[error("malformed netlink answer: {0}")]
    Malformed(String),
}

impl NetlinkError {
    /// The errno with which the kernel refused, if it did.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::Socket(_) | Self::Malformed(_) => None,
        }
    }
}

fn detail(message: Option<&String>) -> String {
    message.map(|text| format!(" ({text})")).unwrap_or_default()
}
