//! The operations, called through the API's trait over a store in memory and files in a directory of their own.

mod budgets;
mod events;
mod filter;
mod groups;
mod puts;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use estiva_api_logs::types::*;
use estiva_api_logs::{Error, Logs};
use estiva_model::{AccountId, Caller, Principal, Region, Timestamp};
use estiva_schema::{ApiError, Request, ResourceAuthorizer};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use tempfile::TempDir;

use crate::LogsService;
use crate::event::storage::Options;

/// The time at which every test starts.
const NOW: i64 = 1_700_000_000_000;

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// A service whose clock is a number, and the caller who uses it.
struct Bench {
    logs: LogsService,
    caller: Caller,
    now: Arc<AtomicI64>,
    backend: Memory,
    dir: TempDir,
}

fn service(backend: Memory, dir: &TempDir, now: &Arc<AtomicI64>, free_bytes_min: Option<u64>) -> LogsService {
    let store = Store::open(backend, crate::tables(Schema::new(1))).unwrap();
    let now = Arc::clone(now);
    let clock = Arc::new(move || Timestamp(now.load(Ordering::Relaxed)));
    let options = Options { segment_bytes_max: 4096, chunk_bytes: 512, files_open_max: 8, free_bytes_min };
    LogsService::open_with(store, dir.path().join("logs"), options, clock).unwrap().with_access(Arc::new(Everyone))
}

/// Who may do what to which resource is not these tests' subject.
struct Everyone;

impl ResourceAuthorizer for Everyone {
    fn authorize_on(&self, _: &Caller, _: &str, _: &str) -> Result<(), ApiError> {
        Ok(())
    }
}

fn caller(account: &str, region: &str) -> Caller {
    Caller {
        account: AccountId::parse(account).unwrap(),
        region: Region::parse(region).unwrap(),
        principal: Principal::Root,
        access_key_id: "AKIDEXAMPLE".to_owned(),
    }
}

impl Bench {
    fn new() -> Self {
        let (backend, dir, now) = (Memory::new(), tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(NOW)));
        let logs = service(backend.clone(), &dir, &now, Some(0));
        Self { logs, caller: caller("000000000000", "us-east-1"), now, backend, dir }
    }

    /// With a group `g` and streams of it.
    async fn with_streams(streams: &[&str]) -> Self {
        let bench = Self::new();
        bench.create_group("g").await.unwrap();
        for stream in streams {
            bench.create_stream("g", stream).await.unwrap();
        }
        bench
    }

    /// The service as it is after its process has ended and started again.
    fn restarted(self) -> Self {
        self.with_free_bytes_min(0)
    }

    /// Restarted, on a disk of which so much is to stay free.
    fn with_free_bytes_min(self, bytes: u64) -> Self {
        let Self { logs, caller, now, backend, dir } = self;
        drop(logs);
        Self { logs: service(backend.clone(), &dir, &now, Some(bytes)), caller, now, backend, dir }
    }

    fn advance(&self, by: i64) {
        self.now.fetch_add(by, Ordering::Relaxed);
    }

    fn ask<Input>(&self, input: Input) -> Request<Input> {
        Request { input, caller: self.caller.clone(), request_id: "request".to_owned() }
    }

    async fn create_group(&self, name: &str) -> Result<(), Error> {
        let input = CreateLogGroupRequest { log_group_name: name.to_owned(), ..Default::default() };
        self.logs.create_log_group(self.ask(input)).await
    }

    async fn create_stream(&self, group: &str, name: &str) -> Result<(), Error> {
        let input = CreateLogStreamRequest { log_group_name: group.to_owned(), log_stream_name: name.to_owned() };
        self.logs.create_log_stream(self.ask(input)).await
    }

    /// Puts events, given as (milliseconds after `NOW`, text).
    async fn put(&self, stream: &str, events: &[(i64, &str)]) -> Result<PutLogEventsResponse, Error> {
        let event = |&(after, text): &(i64, &str)| InputLogEvent { message: text.to_owned(), timestamp: NOW + after };
        let input = PutLogEventsRequest {
            log_events: events.iter().map(event).collect(),
            log_group_name: "g".to_owned(),
            log_stream_name: stream.to_owned(),
            ..Default::default()
        };
        self.logs.put_log_events(self.ask(input)).await
    }

    async fn get(&self, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Error> {
        self.logs.get_log_events(self.ask(input)).await
    }

    async fn filter(&self, input: FilterLogEventsRequest) -> Result<FilterLogEventsResponse, Error> {
        self.logs.filter_log_events(self.ask(input)).await
    }

    async fn retain(&self, days: i32) -> Result<(), Error> {
        let input = PutRetentionPolicyRequest { log_group_name: "g".to_owned(), retention_in_days: days };
        self.logs.put_retention_policy(self.ask(input)).await
    }
}

/// A request for the events of `s` in `g`.
fn of_s() -> GetLogEventsRequest {
    GetLogEventsRequest { log_group_name: text("g"), log_stream_name: "s".to_owned(), ..Default::default() }
}

/// A request for the events of `g`.
fn of_g() -> FilterLogEventsRequest {
    FilterLogEventsRequest { log_group_name: text("g"), ..Default::default() }
}

#[allow(clippy::unnecessary_wraps, reason = "what members of requests are")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(answer: &GetLogEventsResponse) -> Vec<&str> {
    answer.events.as_ref().unwrap().iter().map(|event| event.message.as_deref().unwrap()).collect()
}

fn filtered(answer: &FilterLogEventsResponse) -> Vec<&str> {
    answer.events.as_ref().unwrap().iter().map(|event| event.message.as_deref().unwrap()).collect()
}

/// The error's code and message.
#[track_caller]
fn refused<T>(result: Result<T, Error>) -> (String, String) {
    let error = result.err().expect("should have been refused");
    let error = ApiError::from(error);
    (error.code.into_owned(), error.message)
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, code: &str) {
    assert_eq!(refused(result).0, code);
}
