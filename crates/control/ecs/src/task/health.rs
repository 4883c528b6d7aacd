//! What nodes say of their containers' health: it comes as telemetry, not as a report.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use estiva_model::Timestamp;
use estiva_planning::lifecycle::{ContainerReport, HealthStatus, TaskReport};
use estiva_store::{Row, Snapshot, Store, StoreError, UpdateError};

use super::report::{self, Told};
use super::table::TaskRow;
use crate::container_instance::table::ContainerInstanceRow;

/// One task's ARN, and the health of its containers that have a health check, by name.
pub type TaskHealth = (String, Vec<(String, HealthStatus)>);

/// Takes what a container instance says of its tasks; what it says of others' is passed over. Costs no transaction unless
/// something has changed.
///
/// # Errors
/// The change could not be made durable.
pub async fn take(
    store: &Store,
    instance: &ContainerInstanceRow,
    tasks: Vec<TaskHealth>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let told: Vec<(String, Told)> = tasks.into_iter().map(|(arn, health)| (arn, self::told(health, now))).collect();
    let changed = |view: &Snapshot, (arn, told): &(String, Told)| -> Option<Arc<TaskRow>> {
        let task = report::find(view, &instance.scope, None, arn).ok()?;
        let own = task.container_instance_key() == instance.key();
        (own && report::next_state(view, &task, told).is_some()).then_some(task)
    };
    let view = store.view();
    if !told.iter().any(|told| changed(&view, told).is_some()) {
        return Ok(());
    }
    let update = store.update(|tx| {
        for told in &told {
            if let Some(task) = changed(tx, told) {
                report::apply(tx, &task, &told.1);
            }
        }
        Ok::<_, Infallible>(())
    });
    update.await.map_err(UpdateError::into_store)
}

fn told(health: Vec<(String, HealthStatus)>, at: Timestamp) -> Told {
    let containers = health.into_iter().map(|(name, health)| ContainerReport {
        name,
        health: Some(health),
        ..ContainerReport::default()
    });
    let report = TaskReport { containers: containers.collect(), ..TaskReport::default() };
    Told { report, reason: None, attached: Vec::new(), at, healthy_after: Duration::ZERO }
}
