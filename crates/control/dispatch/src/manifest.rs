//! What a node ought to have: so that it can name the tasks that it should not, and stop exactly those.

use std::collections::HashSet;
use std::sync::Arc;

use estiva_agent_protocol::acs::{ManifestTask, TaskStopVerification};
use estiva_ecs::task::table::{BY_CONTAINER_INSTANCE, TaskRow};
use estiva_store::Snapshot;

use crate::assignments::is_live;

/// Every task that an instance, by its key, ought to have.
pub(crate) fn tasks(view: &Snapshot, instance: &str) -> Vec<ManifestTask> {
    live(view, instance).map(|row| manifest_task(&row)).collect()
}

/// Of the tasks that the node would stop, those that are not to run there. What it should have may have changed since
/// the manifest, so it is looked up again.
pub(crate) fn surplus(view: &Snapshot, instance: &str, candidates: TaskStopVerification) -> Vec<ManifestTask> {
    let wanted: HashSet<String> = live(view, instance).map(|row| row.arn()).collect();
    candidates.stop_candidates.into_iter().filter(|task| !wanted.contains(&task.task_arn)).collect()
}

fn live<'a>(view: &'a Snapshot, instance: &str) -> impl Iterator<Item = Arc<TaskRow>> + use<'a> {
    view.index::<TaskRow>(BY_CONTAINER_INSTANCE, instance).filter(|row| is_live(view, row))
}

fn manifest_task(row: &TaskRow) -> ManifestTask {
    ManifestTask {
        task_arn: row.arn(),
        task_cluster_arn: row.scope.arn(format!("cluster/{}", row.cluster)),
        desired_status: row.desired_status.as_str().to_owned(),
    }
}
