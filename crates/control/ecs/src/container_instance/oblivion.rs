//! Deregistered container instances are shown for as long as stopped tasks are, and then forgotten.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_model::Timestamp;
use estiva_store::{Row, Snapshot};

use super::table::{BY_INACTIVE, ConnectionRow, ContainerInstanceRow};
use crate::EcsService;
use crate::error;
use crate::task::table::{BY_CONTAINER_INSTANCE, BY_FORMER_CONTAINER_INSTANCE, TaskRow};

/// Forgets those that were deregistered before `before`, once the last of their tasks has been forgotten: who reports on a
/// task is known by its instance.
pub(crate) async fn forget_inactive(service: &EcsService, before: Timestamp) -> Result<(), Error> {
    let view = service.store.view();
    let due: Vec<_> =
        view.index::<ContainerInstanceRow>(BY_INACTIVE, "").filter(|row| is_due(&view, row, before)).collect();
    if due.is_empty() {
        return Ok(());
    }
    let update = service.store.update(|tx| {
        for row in &due {
            tx.delete::<ContainerInstanceRow>(&row.key());
            tx.delete::<ConnectionRow>(&row.key());
        }
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)
}

/// That does not change any more: nothing is placed on a deregistered instance, and it is never registered again. An
/// earlier version did not note when it was deregistered.
fn is_due(view: &Snapshot, row: &Arc<ContainerInstanceRow>, before: Timestamp) -> bool {
    let key = row.key();
    let indexes = [BY_CONTAINER_INSTANCE, BY_FORMER_CONTAINER_INSTANCE];
    row.inactive_since.is_none_or(|since| since < before)
        && indexes.into_iter().all(|index| view.index_count::<TaskRow>(index, &key) == 0)
}
