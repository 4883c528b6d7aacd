//! The service: where its state is, and which handler answers which operation.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_api_logs::{Error, Logs, types};
use estiva_model::{Caller, Timestamp};
use estiva_schema::{OwnerOnly, Request, ResourceAuthorizer};
use estiva_store::Store;
use tokio::sync::Semaphore;

use crate::budget::Budgets;
use crate::error::OpenError;
use crate::event::storage::{Engine, EngineError, Options};
use crate::reference::Scope;
use crate::{error, event, group, stream};

/// Tells the time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often [`LogsService::run`] looks for events that are past their group's retention.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);

/// How many requests read events at one time; more wait, so that reading leaves threads for putting.
const READERS_MAX: usize = 16;

/// CloudWatch Logs over a store and a directory. Clones are the same service.
#[derive(Clone)]
pub struct LogsService {
    pub(crate) store: Store,
    engine: Arc<Engine>,
    clock: Clock,
    readers: Arc<Semaphore>,
    access: Arc<dyn ResourceAuthorizer>,
    pub(crate) budgets: Arc<Budgets>,
}

impl LogsService {
    /// Opens the service on a store whose schema has this crate's tables, with its events under `dir`. Blocks.
    pub fn open(store: Store, dir: PathBuf) -> Result<Self, OpenError> {
        Self::open_with(store, dir, Options::default(), Arc::new(Timestamp::now))
    }

    /// As [`LogsService::open`], with other sizes and another clock.
    pub fn open_with(store: Store, dir: PathBuf, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let engine = Arc::new(Engine::open(dir, options)?);
        warn_of_strangers(&store, &engine)?;
        let (readers, budgets) = (Arc::new(Semaphore::new(READERS_MAX)), Arc::default());
        Ok(Self { store, engine, clock, readers, access: Arc::new(OwnerOnly), budgets })
    }

    /// The same, with another judge of who may write to which groups and streams than one that lets the owner alone.
    #[must_use]
    pub fn with_access(mut self, access: Arc<dyn ResourceAuthorizer>) -> Self {
        self.access = access;
        self
    }

    /// Whether the caller may do this to a group, which need not exist.
    pub(crate) fn authorise_group(&self, caller: &Caller, action: &str, group: &str) -> Result<(), Error> {
        Ok(self.access.authorize_on(caller, action, &Scope::of(caller).group_arn(group))?)
    }

    /// Whether the caller may do this to a stream, which need not exist.
    pub(crate) fn authorise_stream(
        &self,
        caller: &Caller,
        action: &str,
        group: &str,
        stream: &str,
    ) -> Result<(), Error> {
        Ok(self.access.authorize_on(caller, action, &Scope::of(caller).stream_arn(group, stream))?)
    }

    /// Removes events past their retention, hourly, for as long as it is polled. Reads never show them, so nothing but the
    /// room on the disk depends on it.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
        loop {
            ticks.tick().await;
            self.expire().await;
        }
    }

    /// Removes the files whose events are all past their group's retention; returns how many bytes they had.
    pub async fn expire(&self) -> u64 {
        let rows: Vec<_> = self.store.view().scan::<group::LogGroupRow>("").collect();
        let now = self.now();
        let mut freed = 0;
        for row in rows {
            let Some(before) = row.expired_before(now) else { continue };
            let id = row.id();
            if let Ok(bytes) = self.blocking(move |engine| engine.expire(id, before)).await {
                freed += bytes;
            } else {
                // The reason has been logged where it was made into a caller's error; the next pass is the retry.
                tracing::warn!(group = row.name, "events past their retention were not removed");
            }
        }
        freed
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Runs what blocks on a thread that may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(result) => result.map_err(|error| error::engine(&error)),
            // It panicked, which the panic hook has reported, or the runtime is going down.
            Err(_) => Err(Error::internal_failure()),
        }
    }

    /// As [`LogsService::blocking`], for work that reads events: only so many at one time.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self.readers.acquire().await.map_err(|_| Error::internal_failure())?;
        self.blocking(work).await
    }
}

/// Events of groups that the store does not know: of another store, or of a group whose deletion ended with the process. They
/// are not removed, for a store that was lost may come back.
fn warn_of_strangers(store: &Store, engine: &Engine) -> Result<(), EngineError> {
    let known: HashSet<_> = store.view().scan::<group::LogGroupRow>("").map(|row| row.id()).collect();
    let strangers: Vec<_> = engine.groups()?.into_iter().filter(|id| !known.contains(id)).collect();
    if let Some(first) = strangers.first() {
        let groups = strangers.len();
        tracing::warn!(groups, %first, "there are log events of groups that do not exist; nobody can read them");
    }
    Ok(())
}

#[async_trait]
impl Logs for LogsService {
    async fn create_log_group(&self, request: Request<types::CreateLogGroupRequest>) -> Result<(), Error> {
        group::create(self, request).await
    }

    async fn delete_log_group(&self, request: Request<types::DeleteLogGroupRequest>) -> Result<(), Error> {
        group::delete(self, request).await
    }

    async fn describe_log_groups(
        &self,
        request: Request<types::DescribeLogGroupsRequest>,
    ) -> Result<types::DescribeLogGroupsResponse, Error> {
        group::describe(self, request).await
    }

    async fn put_retention_policy(&self, request: Request<types::PutRetentionPolicyRequest>) -> Result<(), Error> {
        group::put_retention(self, request).await
    }

    async fn delete_retention_policy(
        &self,
        request: Request<types::DeleteRetentionPolicyRequest>,
    ) -> Result<(), Error> {
        group::delete_retention(self, request).await
    }

    async fn put_log_group_deletion_protection(
        &self,
        request: Request<types::PutLogGroupDeletionProtectionRequest>,
    ) -> Result<(), Error> {
        group::put_deletion_protection(self, request).await
    }

    async fn tag_resource(&self, request: Request<types::TagResourceRequest>) -> Result<(), Error> {
        group::tag_resource(self, request).await
    }

    async fn untag_resource(&self, request: Request<types::UntagResourceRequest>) -> Result<(), Error> {
        group::untag_resource(self, request).await
    }

    async fn list_tags_for_resource(
        &self,
        request: Request<types::ListTagsForResourceRequest>,
    ) -> Result<types::ListTagsForResourceResponse, Error> {
        group::list_tags_for_resource(self, &request)
    }

    async fn tag_log_group(&self, request: Request<types::TagLogGroupRequest>) -> Result<(), Error> {
        group::tag_log_group(self, request).await
    }

    async fn untag_log_group(&self, request: Request<types::UntagLogGroupRequest>) -> Result<(), Error> {
        group::untag_log_group(self, request).await
    }

    async fn list_tags_log_group(
        &self,
        request: Request<types::ListTagsLogGroupRequest>,
    ) -> Result<types::ListTagsLogGroupResponse, Error> {
        group::list_tags_log_group(self, &request)
    }

    async fn create_log_stream(&self, request: Request<types::CreateLogStreamRequest>) -> Result<(), Error> {
        stream::create(self, request).await
    }

    async fn delete_log_stream(&self, request: Request<types::DeleteLogStreamRequest>) -> Result<(), Error> {
        stream::delete(self, request).await
    }

    async fn describe_log_streams(
        &self,
        request: Request<types::DescribeLogStreamsRequest>,
    ) -> Result<types::DescribeLogStreamsResponse, Error> {
        stream::describe(self, request).await
    }

    async fn put_log_events(
        &self,
        request: Request<types::PutLogEventsRequest>,
    ) -> Result<types::PutLogEventsResponse, Error> {
        event::put(self, request).await
    }

    async fn get_log_events(
        &self,
        request: Request<types::GetLogEventsRequest>,
    ) -> Result<types::GetLogEventsResponse, Error> {
        event::get(self, request).await
    }

    async fn filter_log_events(
        &self,
        request: Request<types::FilterLogEventsRequest>,
    ) -> Result<types::FilterLogEventsResponse, Error> {
        event::filter(self, request).await
    }
}
