//! A container's health check: a program that is run in it again and again.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use estiva_agent_protocol::task::docker::Healthcheck;
use estiva_planning::lifecycle::{HealthStatus, HealthTally};
use estiva_shim::client::{self, Client, ExecStreams};
use estiva_shim::spec::ExecSpec;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::execs::Execs;

/// Docker's default where the control plane left a time open.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
/// A container that was just started is asked after this long, then after twice that, until its interval is reached. Early
/// failures do not count: it is only sooner HEALTHY, never sooner UNHEALTHY than Docker would have it.
const FIRST_CHECK: Duration = Duration::from_secs(1);
/// What a check may still say after it was killed.
const KILL_WAIT: Duration = Duration::from_secs(5);
const SIGKILL: i32 = 9;

/// The health check of one container.
pub(super) struct Monitor {
    /// The shim's.
    pub socket: PathBuf,
    pub client: Client,
    pub execs: Execs,
    pub container: String,
    pub check: Healthcheck,
    /// As it was known before.
    pub status: HealthStatus,
    pub started: Instant,
    /// A name and its health, whenever that changes.
    pub news: mpsc::UnboundedSender<(String, HealthStatus)>,
}

impl Monitor {
    /// Checks until it is dropped, or nobody hears of it.
    pub async fn run(self) {
        let Some(args) = command(&self.check.test) else { return };
        let or = |value: i64, default| duration(value).unwrap_or(default);
        let interval = or(self.check.interval, INTERVAL_DEFAULT);
        let timeout = or(self.check.timeout, INTERVAL_DEFAULT);
        let start_period = duration(self.check.start_period).unwrap_or_default();
        let mut tally = HealthTally::new(u32::try_from(self.check.retries).unwrap_or(0), self.status);
        let mut status = self.status;
        let mut pause = if self.started.elapsed() < interval { FIRST_CHECK.min(interval) } else { interval };
        for number in 0_u64.. {
            tokio::time::sleep(pause).await;
            let early = pause < interval && self.started.elapsed() < interval;
            pause = if early { (pause * 2).min(interval) } else { interval };
            let succeeded = self.ask(&args, number, timeout).await;
            if !succeeded && early {
                continue;
            }
            let next = tally.count(succeeded, self.started.elapsed() < start_period);
            if next != status {
                status = next;
                if self.news.send((self.container.clone(), status)).is_err() {
                    return;
                }
            }
        }
    }

    /// Whether one check succeeds.
    async fn ask(&self, args: &[String], number: u64, timeout: Duration) -> bool {
        let spec = ExecSpec {
            container: self.container.clone(),
            id: format!("health-{number}"),
            args: args.to_vec(),
            env: Vec::new(),
            cwd: None,
            user: None,
            tty: false,
        };
        let ended = self.execs.expect(&spec.container, &spec.id);
        let streams = match client::exec(&self.socket, &spec).await {
            Ok(streams) => streams,
            Err(error) => {
                debug!(
                    container = self.container,
                    error = &error as &dyn std::error::Error,
                    "a health check did not start"
                );
                return false;
            }
        };
        let check = async {
            let drained = drain(streams);
            tokio::pin!(ended, drained);
            tokio::select! {
                code = &mut ended => code,
                () = &mut drained => ended.await,
            }
        };
        tokio::pin!(check);
        if let Ok(code) = tokio::time::timeout(timeout, &mut check).await {
            return code == Ok(0);
        }
        // Gone meanwhile, or with the container.
        let _ = self.client.signal_exec(&spec.container, &spec.id, SIGKILL).await;
        let _ = tokio::time::timeout(KILL_WAIT, check).await;
        false
    }
}

/// What is to be executed. `NONE` and nothing at all are no health check.
fn command(test: &[String]) -> Option<Vec<String>> {
    match test.split_first()? {
        (kind, [line, ..]) if kind == "CMD-SHELL" => Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]),
        (kind, args) if kind == "CMD" && !args.is_empty() => Some(args.to_vec()),
        _ => None,
    }
}

fn duration(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
}

/// Reads what the check writes, which nobody wants to know, to its end: it must not wait for a reader, nor lack one.
async fn drain(streams: ExecStreams) {
    let ExecStreams::Pipes { stdin, stdout, stderr } = streams else { return };
    drop(stdin);
    tokio::join!(read_to_end(stdout), read_to_end(stderr));
}

async fn read_to_end(stream: OwnedFd) {
    let Ok(mut stream) = pipe::Receiver::from_owned_fd(stream) else { return };
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_docker_reads_them() {
        let command = |words: &[&str]| command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(command(&["CMD-SHELL", "a b"]).unwrap(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(command(&["CMD", "a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!((command(&["NONE"]), command(&[]), command(&["CMD"])), (None, None, None));
    }
}
