//! The drivers under one name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::container::ContainerInfo;
use crate::error::{OptionError, SendError};
use crate::fluentd::Fluentd;
use crate::gelf::Gelf;
use crate::journald::{self, Journald};
use crate::line::LogLine;
use crate::splunk::Splunk;
use crate::syslog::Syslog;

/// The drivers that [`open`] knows.
pub const DRIVERS: &[&str] = &["fluentd", "gelf", "journald", "splunk", "syslog"];

/// Ships one container's lines to one backend.
pub struct Driver(Kind);

enum Kind {
    Fluentd(Box<Fluentd>),
    Gelf(Box<Gelf>),
    Journald(Box<Journald>),
    Splunk(Box<Splunk>),
    Syslog(Box<Syslog>),
}

/// What the options say about tries after a failure. They are made by who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The pause before the first of them (`fluentd-retry-wait`, `gelf-tcp-reconnect-delay`).
    pub wait: Duration,
    /// After how many of them Docker gives the lines up (`fluentd-max-retries`, `gelf-tcp-max-reconnect`); without it,
    /// never.
    pub max: Option<u64>,
}

impl Default for Retries {
    /// A second, and no end.
    fn default() -> Self {
        Self { wait: Duration::from_secs(1), max: None }
    }
}

/// Checks driver and options. Reads the files that options name, but connects nowhere.
///
/// `driver` is one of [`DRIVERS`], and `options` are its options as a task definition has them; an empty value is none.
/// Options that Docker has for all drivers (`mode`, `max-buffer-size`, `cache-…`) are left to who keeps the lines.
///
/// # Errors
/// Options that the driver does not have, lacks, or cannot make sense of are refused, as Docker does when a container
/// is made.
pub fn open(
    driver: &str,
    options: &BTreeMap<String, String>,
    container: &ContainerInfo,
) -> Result<Driver, OptionError> {
    let kind = match driver {
        "fluentd" => Kind::Fluentd(Box::new(Fluentd::new(options, container)?)),
        "gelf" => Kind::Gelf(Box::new(Gelf::new(options, container)?)),
        "journald" => Kind::Journald(Box::new(Journald::new(options, container, Path::new(journald::SOCKET))?)),
        "splunk" => Kind::Splunk(Box::new(Splunk::new(options, container)?)),
        "syslog" => Kind::Syslog(Box::new(Syslog::new(options, container)?)),
        _ => return Err(OptionError::Driver { driver: driver.to_owned() }),
    };
    Ok(Driver(kind))
}

impl Driver {
    /// Whether Docker would not start the container if [`Self::connect`] fails: always, but for `fluentd-async=true`
    /// and `splunk-verify-connection=false`.
    pub fn connects_at_start(&self) -> bool {
        match &self.0 {
            Kind::Fluentd(driver) => driver.connects_at_start(),
            Kind::Splunk(driver) => driver.connects_at_start(),
            Kind::Gelf(_) | Kind::Journald(_) | Kind::Syslog(_) => true,
        }
    }

    /// What the options say about tries after a failure.
    pub fn retries(&self) -> Retries {
        match &self.0 {
            Kind::Fluentd(driver) => driver.retries(),
            Kind::Gelf(driver) => driver.retries(),
            Kind::Journald(_) | Kind::Splunk(_) | Kind::Syslog(_) => Retries::default(),
        }
    }

    /// Connects now. Over UDP it only finds the host's address; `splunk` asks the collector whether it is there and
    /// takes the token.
    ///
    /// # Errors
    /// There is no connection. A later [`Self::send`] tries again.
    pub async fn connect(&mut self) -> Result<(), SendError> {
        match &mut self.0 {
            Kind::Fluentd(driver) => driver.connect().await,
            Kind::Gelf(driver) => driver.connect().await,
            Kind::Journald(driver) => driver.connect().await,
            Kind::Splunk(driver) => driver.connect().await,
            Kind::Syslog(driver) => driver.connect().await,
        }
    }

    /// Ships lines in their order, and returns when the backend has taken them: `splunk` when it answered, `fluentd`
    /// with `fluentd-request-ack` when it acknowledged them, else when the kernel has them. Connects if there is no
    /// connection.
    ///
    /// Any number of lines is cut into messages that the backend takes. Empty lines are left out where it takes none.
    /// Bytes that are not UTF-8 stay as they are, but in JSON (`gelf`, `splunk`), where U+FFFD stands for them.
    ///
    /// # Errors
    /// None of the lines counts as taken, though some may have arrived. If [`SendError::is_retryable`], all are to be
    /// sent again. A call that is given up half-way costs the connection, and nothing more.
    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        match &mut self.0 {
            Kind::Fluentd(driver) => driver.send(lines).await,
            Kind::Gelf(driver) => driver.send(lines).await,
            Kind::Journald(driver) => driver.send(lines).await,
            Kind::Splunk(driver) => driver.send(lines).await,
            Kind::Syslog(driver) => driver.send(lines).await,
        }
    }
}

/// The driver's name alone: there are secrets in options, and in what goes with each line.
impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0 {
            Kind::Fluentd(_) => "fluentd",
            Kind::Gelf(_) => "gelf",
            Kind::Journald(_) => "journald",
            Kind::Splunk(_) => "splunk",
            Kind::Syslog(_) => "syslog",
        };
        formatter.debug_tuple("Driver").field(&name).finish()
    }
}
