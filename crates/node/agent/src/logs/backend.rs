//! Where a container's lines go: CloudWatch Logs, or what another log driver speaks with.

use std::time::Duration;

use estiva_api_logs::PutLogEvents;
use estiva_api_logs::types::{InputLogEvent, PutLogEventsRequest};
use estiva_log_driver::{Driver, Stream};
use estiva_shim::spool::{self, Position};
use estiva_wire::client::ClientError;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::batch::batches;
use super::destination::{Destination, LogSetupError, is_not_found};
use super::lines::LogLine;
use super::multiline::Multiline;
use crate::backoff::Backoff;

/// Where a container's lines go.
pub(super) enum Backend {
    Awslogs(Box<Awslogs>),
    Driver(Box<Forwarder>),
}

/// What a log driver other than awslogs speaks with.
pub(super) struct Forwarder {
    driver: Driver,
    /// The container waits for its log rather than lose a line.
    blocking: bool,
    /// The task has ended: until when its last lines are offered.
    until: Option<Instant>,
}

/// CloudWatch Logs.
pub(super) struct Awslogs {
    pub destination: Destination,
    pub multiline: Option<Multiline>,
}

/// How long the last lines of a task that has ended are offered to a backend that is away: what waits takes the node's disk.
const PATIENCE_BLOCKING: Duration = Duration::from_secs(24 * 3600);
const PATIENCE_NON_BLOCKING: Duration = Duration::from_secs(600);
/// A backend that is away is asked again after this long at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Backend {
    /// Whatever must be there before the container starts. A backend that cannot be reached is an error where Docker has it so.
    pub async fn prepare(&mut self) -> Result<(), LogSetupError> {
        match self {
            // A control plane that is away is no error: the output waits on disk.
            Self::Awslogs(awslogs) => match awslogs.destination.create().await {
                Err(error) if !error.is_retryable() => Err(LogSetupError::Service(error)),
                _ => Ok(()),
            },
            // A container that may lose lines may also begin without its backend.
            Self::Driver(forwarder) if forwarder.blocking && forwarder.driver.connects_at_start() => {
                forwarder.driver.connect().await.map_err(LogSetupError::Backend)
            }
            Self::Driver(_) => Ok(()),
        }
    }

    /// Ships lines until they are taken, or refused for good. `closed` says that the task has ended.
    pub async fn ship(&mut self, task: &str, lines: Vec<LogLine>, closed: &watch::Receiver<bool>) {
        match self {
            Self::Awslogs(awslogs) => {
                let lines = match &mut awslogs.multiline {
                    Some(multiline) => multiline.events(lines, Instant::now()),
                    None => lines,
                };
                awslogs.put(task, lines, closed).await;
            }
            Self::Driver(forwarder) => forwarder.send(task, &lines, closed).await,
        }
    }

    /// Ships what was held back for lines that might follow.
    pub async fn complete(&mut self, task: &str, end: bool, closed: &watch::Receiver<bool>) {
        if let Self::Awslogs(awslogs) = self
            && let Some(multiline) = &mut awslogs.multiline
        {
            let lines = multiline.complete(Instant::now(), end);
            awslogs.put(task, lines, closed).await;
        }
    }

    /// When [`Self::complete`] will have something to ship.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Awslogs(awslogs) => awslogs.multiline.as_ref().and_then(Multiline::deadline),
            Self::Driver(_) => None,
        }
    }

    /// Where the first of the lines begins that are held back.
    pub fn held_from(&self) -> Option<Position> {
        match self {
            Self::Awslogs(awslogs) => awslogs.multiline.as_ref().and_then(Multiline::held_from),
            Self::Driver(_) => None,
        }
    }
}

impl Awslogs {
    async fn put(&self, task: &str, lines: Vec<LogLine>, closed: &watch::Receiver<bool>) {
        let event = |line: LogLine| InputLogEvent {
            message: String::from_utf8_lossy(&line.bytes).into_owned(),
            timestamp: line.time_ms,
        };
        for events in batches(lines.into_iter().map(event).collect()) {
            self.put_batch(task, events, closed).await;
        }
    }

    async fn put_batch(&self, task: &str, events: Vec<InputLogEvent>, closed: &watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let request = PutLogEventsRequest {
            log_group_name: self.destination.group.clone(),
            log_stream_name: self.destination.stream.clone(),
            log_events: events,
            ..PutLogEventsRequest::default()
        };
        loop {
            let result = match self.destination.client.call::<PutLogEvents>(&request).await {
                Err(error) if is_not_found(&error) => match self.destination.create().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                other => other.map(drop),
            };
            let Err(error) = result else { return };
            if is_final(&error, *closed.borrow()) {
                let (group, lost) = (&self.destination.group, request.log_events.len());
                warn!(task, group, lost, error = &error as &dyn std::error::Error, "log lines were refused");
                return;
            }
            backoff.wait().await;
        }
    }
}

/// A running container's group may be made again by its owner; nobody waits for that once the task has ended. Whoever does
/// not know the node by its key has said nothing of the lines.
fn is_final(error: &ClientError, task_ended: bool) -> bool {
    !error.is_retryable() && !error.is_unauthenticated() && (task_ended || !is_not_found(error))
}

impl Forwarder {
    pub fn new(driver: Driver, blocking: bool) -> Self {
        Self { driver, blocking, until: None }
    }

    async fn send(&mut self, task: &str, lines: &[LogLine], closed: &watch::Receiver<bool>) {
        let lines: Vec<_> = lines.iter().map(line).collect();
        let mut pause = self.driver.retries().wait;
        while !self.taken(task, &lines).await {
            if self.gives_up(*closed.borrow()) {
                warn!(task, lost = lines.len(), "the log's backend stays away; the ended task's last lines are lost");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).clamp(Duration::from_millis(100), PAUSE_MAX);
        }
    }

    fn gives_up(&mut self, task_ended: bool) -> bool {
        let patience = if self.blocking { PATIENCE_BLOCKING } else { PATIENCE_NON_BLOCKING };
        task_ended && Instant::now() >= *self.until.get_or_insert_with(|| Instant::now() + patience)
    }

    /// Whether there is nothing more to do about the lines.
    async fn taken(&mut self, task: &str, lines: &[estiva_log_driver::LogLine]) -> bool {
        let Err(error) = self.driver.send(lines).await else { return true };
        let source: &dyn std::error::Error = &error;
        if error.is_retryable() {
            debug!(task, error = source, "log lines are not taken; they are kept and sent again");
            return false;
        }
        warn!(task, lost = lines.len(), error = source, "log lines were refused");
        true
    }
}

fn line(line: &LogLine) -> estiva_log_driver::LogLine {
    let time_ms = u64::try_from(line.time_ms).unwrap_or(0);
    estiva_log_driver::LogLine {
        time_ns: time_ms.saturating_mul(1_000_000),
        stream: match line.stream {
            spool::Stream::Stdout => Stream::Stdout,
            spool::Stream::Stderr => Stream::Stderr,
        },
        text: line.bytes.clone(),
        partial: None,
    }
}
