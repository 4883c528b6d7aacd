//! Containers' output: where the shim puts it, and how it gets from there to where the log driver says.

mod backend;
mod batch;
mod destination;
mod lines;
mod multiline;
mod news;
mod shipper;
mod shippers;
mod sink;

pub(crate) use destination::LogSetupError;
pub(crate) use shippers::Shippers;
pub(crate) use sink::sink;
