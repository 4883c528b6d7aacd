//! Where containers' output goes besides CloudWatch Logs and files: Docker's log drivers `fluentd`, `gelf`, `journald`,
//! `splunk` and `syslog`, as `logConfiguration.logDriver` of a task definition names them. FireLens is `fluentd` over a
//! Unix socket.
//!
//! Options, their defaults and what goes over the wire are Docker's (docs.docker.com/engine/logging/drivers), so that
//! what is set up for a container there receives the same here.
//!
//! A [`Driver`] sends and nothing else: it has no queue, makes no second try and runs no task of its own. Who calls
//! keeps the lines until they were taken, and tries again when they were not. Lines may thus arrive twice, and, where
//! the protocol has no answers (all but `splunk`, and `fluentd` with acknowledgements), be lost with a machine.
//!
//! Secrets are neither logged nor part of an error or of any `Debug`.

mod address;
mod attributes;
mod connection;
mod container;
mod datagram;
mod driver;
mod error;
mod fluentd;
mod forward;
mod gelf;
mod go;
mod journald;
mod line;
mod moment;
mod options;
mod splunk;
mod splunk_event;
mod syslog;
mod tag;
#[cfg(test)]
mod tests;
mod tls;

pub use container::ContainerInfo;
pub use driver::{DRIVERS, Driver, Retries, open};
pub use error::{OptionError, SendError};
pub use line::{LINE_BYTES_MAX, LogLine, Partial, Stream};
