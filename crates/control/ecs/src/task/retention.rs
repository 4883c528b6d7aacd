//! Forgetting: tasks that stopped, and client tokens, are kept for a while and then go. Everything else that goes with time
//! goes in the same passes.

use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_model::Timestamp;
use estiva_store::{Row, Snapshot, Tx};

use super::protection::TaskProtectionRow;
use super::table::{BY_MINUTE, BY_TASK_DEFINITION, ClientTokenRow, TaskRow, TaskStatusRow, minute_of, minute_value};
use crate::EcsService;
use crate::container_instance;
use crate::error;
use crate::exec_session;
use crate::image_pull;
use crate::service;
use crate::task_definition::table::{TaskDefinitionRow, TaskDefinitionStatus, revision_key};

const INTERVAL: Duration = Duration::from_secs(60);
/// Rows of a table that one transaction forgets.
pub(super) const BATCH_ROWS: usize = 500;

/// Forgets what is due, for as long as it is polled.
pub(crate) async fn run(service: &EcsService) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut from = None;
    loop {
        ticks.tick().await;
        let now = minute_of(service.ambient.now());
        let from_minute = from.or_else(|| oldest(&service.store.view())).unwrap_or(now);
        match forget_due(service, from_minute, now).await {
            Ok(until) => from = Some(until),
            // The reason has been logged; the next pass begins where this one did.
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "stopped tasks were not forgotten"),
        }
    }
}

/// Forgets what stopped or was made from the minute `from` on, and is due in the minute `now`. Gives the minute where
/// the next pass has to begin.
pub(crate) async fn forget_due(ecs: &EcsService, from: i64, now: i64) -> Result<i64, Error> {
    let minutes = i64::try_from(ecs.options.task_retention.as_secs() / 60).unwrap_or(i64::MAX);
    let until = now.saturating_sub(minutes);
    forget(ecs, from, until).await?;
    let before = Timestamp(until.saturating_mul(60_000));
    service::forget_inactive(ecs, before).await?;
    container_instance::forget_inactive(ecs, before).await?;
    let now = Timestamp(now.saturating_mul(60_000));
    exec_session::forget_unopened(ecs, now).await?;
    image_pull::give_up(ecs, now).await?;
    Ok(from.max(until))
}

/// The minute of the oldest row. All are looked at: once, when the service starts.
fn oldest(view: &Snapshot) -> Option<i64> {
    let tasks = view.scan::<TaskStatusRow>("").filter_map(|row| row.state.stopped_at);
    let tokens = view.scan::<ClientTokenRow>("").map(|row| row.created_at);
    tasks.chain(tokens).map(minute_of).min()
}

/// Forgets what stopped or was made in the minutes `from..until`.
async fn forget(service: &EcsService, from: i64, until: i64) -> Result<(), Error> {
    for minute in from..until {
        let value = minute_value(minute);
        while is_left(&service.store.view(), &value) {
            let update = service.store.update(|tx| {
                forget_some(tx, &value);
                Ok::<_, Error>(())
            });
            update.await.map_err(error::update)?;
        }
    }
    Ok(())
}

fn is_left(view: &Snapshot, minute: &str) -> bool {
    view.index_count::<TaskStatusRow>(BY_MINUTE, minute) + view.index_count::<ClientTokenRow>(BY_MINUTE, minute) > 0
}

/// Forgets a batch: a minute can hold more than others should have to wait for.
fn forget_some(tx: &mut Tx<'_>, minute: &str) {
    let tasks: Vec<_> = tx.index::<TaskStatusRow>(BY_MINUTE, minute).take(BATCH_ROWS).map(|row| row.key()).collect();
    let tokens: Vec<_> = tx.index::<ClientTokenRow>(BY_MINUTE, minute).take(BATCH_ROWS).map(|row| row.key()).collect();
    for key in tokens {
        tx.delete::<ClientTokenRow>(&key);
    }
    for key in tasks {
        tx.delete::<TaskStatusRow>(&key);
        tx.delete::<TaskProtectionRow>(&key);
        if let Some(task) = tx.delete::<TaskRow>(&key) {
            finish_deletion(tx, &task);
        }
    }
}

/// A task definition whose deletion was asked for goes with the last task that used it.
fn finish_deletion(tx: &mut Tx<'_>, task: &TaskRow) {
    let key = revision_key(&task.scope, &task.family, task.revision);
    let deleting =
        tx.get::<TaskDefinitionRow>(&key).is_some_and(|row| row.status == TaskDefinitionStatus::DeleteInProgress);
    if deleting && tx.index_count::<TaskRow>(BY_TASK_DEFINITION, &key) == 0 {
        tx.delete::<TaskDefinitionRow>(&key);
    }
}
