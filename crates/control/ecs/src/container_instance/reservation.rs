//! What tasks take of container instances: the sole writer of [`ReservationRow`] once an instance is registered.

use estiva_planning::lifecycle::TaskStatus;
use estiva_planning::placement::Resources;
use estiva_store::Tx;

use super::table::{ContainerInstanceRow, ReservationRow};

/// A task was placed: it takes what it needs and waits.
pub(crate) fn reserve(tx: &mut Tx<'_>, instance: &str, demand: &Resources) {
    change(tx, instance, |row| {
        row.remaining.reserve(demand);
        row.pending_tasks += 1;
    });
}

/// A task moved on: the counts follow it, and once it is STOPPED it gives back what it took.
pub(crate) fn moved(tx: &mut Tx<'_>, instance: &str, demand: &Resources, before: TaskStatus, after: TaskStatus) {
    if count_of(before) == count_of(after) {
        return;
    }
    let registered = tx.get::<ContainerInstanceRow>(instance).filter(|_| after == TaskStatus::Stopped);
    change(tx, instance, |row| {
        for (status, by) in [(before, -1), (after, 1)] {
            match count_of(status) {
                Count::Pending => row.pending_tasks += by,
                Count::Running => row.running_tasks += by,
                Count::Ended => {}
            }
        }
        if after == TaskStatus::Stopped {
            row.remaining.release(demand);
            // Ports that the agent has come to keep for itself were not the task's to give back.
            if let Some(registered) = registered {
                row.remaining.take_ports(&registered.registered);
            }
        }
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Pending,
    Running,
    Ended,
}

fn count_of(status: TaskStatus) -> Count {
    match status {
        TaskStatus::Stopped => Count::Ended,
        status if status < TaskStatus::Running => Count::Pending,
        _ => Count::Running,
    }
}

fn change(tx: &mut Tx<'_>, instance: &str, change: impl FnOnce(&mut ReservationRow)) {
    // A deregistered instance has no reservation any more.
    let Some(row) = tx.get::<ReservationRow>(instance) else { return };
    let mut row = (*row).clone();
    change(&mut row);
    tx.put(row);
}
