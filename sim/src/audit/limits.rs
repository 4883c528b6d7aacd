//! What tasks are promised, and held to: protection, timeouts, and how many of a group run at one time.

use std::sync::Arc;
use std::time::Duration;

use estiva_ecs::container_instance::table::ContainerInstanceStatus;
use estiva_ecs::service::table::ServiceStatus;
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::{StopCode, TaskStatus};
use estiva_store::Row;

use super::Audit;
use super::doings::Doings;
use super::services::service_of;

/// Whether what a transaction stops may be stopped. The books show what was before.
pub(super) fn check_stops(books: &Audit, doings: &Doings, now: Duration) -> Vec<String> {
    let stops = doings.stopped.iter();
    stops
        .filter_map(|task| Some(format!("task {} is told to end: {}", task.id, wrong_stop(books, task, now)?)))
        .collect()
}

fn wrong_stop(books: &Audit, task: &TaskRow, now: Duration) -> Option<String> {
    if task.stop_code == Some(StopCode::ServiceSchedulerInitiated) && !may_end_protected(books, task) {
        let until = books.protected_until(&task.key())?;
        return Some(format!("it is protected until {until:?}"));
    }
    if !task.stopped_reason.as_deref()?.starts_with("The task ran for longer") {
        return None;
    }
    let since = books.services.running_since(&task.key());
    let due = since.zip(task.timeout_seconds).map(|(since, seconds)| since + Duration::from_secs(seconds));
    due.is_none_or(|due| due > now).then(|| format!("its time is over at {due:?}"))
}

/// A service that is deleted ends everything; and what has not begun to run where nothing is to be, loses nothing.
fn may_end_protected(books: &Audit, task: &TaskRow) -> bool {
    let service = service_of(task).and_then(|key| books.services.services.get(&key).cloned());
    let is_going = service.is_none_or(|service| service.status != ServiceStatus::Active);
    let instance = books.instances.get(&task.container_instance_key());
    let is_leaving = instance.is_none_or(|row| row.status != ContainerInstanceStatus::Active);
    let has_begun = books.statuses.get(&task.key()).is_some_and(|row| row.state.last_status >= TaskStatus::Running);
    is_going || is_leaving && !has_begun
}

/// Whether there are no more of a group than a task of it says.
pub(super) fn check_starts(books: &Audit, doings: &Doings) -> Vec<String> {
    let wrong = |task: &Arc<TaskRow>| {
        let most: usize = task.tags.value("estiva:concurrency")?.parse().ok()?;
        let live = books.live().filter(|(row, _)| row.group == task.group && row.cluster == task.cluster).count();
        (live > most).then(|| format!("task {} makes {live} of {}, of {most} at most", task.id, task.group))
    };
    doings.started.iter().filter_map(wrong).collect()
}

impl Audit {
    /// Until when a task is protected, in time since the run began, if it still is.
    pub fn protected_until(&self, task: &str) -> Option<Duration> {
        let until = self.protections.get(task)?.expires_at;
        let (clock, now) = (&self.world.clock, self.world.clock.elapsed());
        (until > clock.true_now()).then(|| now + until.since(clock.true_now()))
    }
}
