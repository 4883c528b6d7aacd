//! Registries: the OCI distribution API, version 2, as a client that trusts nobody.

mod auth;
mod blob;
mod client;
mod link_local;
mod pull;
mod session;

pub use client::Credentials;
pub(crate) use client::Registry;
pub(crate) use pull::Pull;
pub(crate) use session::Session;
