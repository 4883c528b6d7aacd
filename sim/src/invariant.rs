//! What must hold after every transaction, whatever the faults: each a predicate with a name that says why it does not.

use std::collections::{BTreeMap, BTreeSet};

use estiva_ecs::container_instance::table::{AddressRow, ReservationRow};
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::{TaskState, TaskStatus, follows};
use estiva_planning::placement::Resources;
use estiva_store::Row;

/// A container instance as its rows show it.
#[derive(Debug)]
pub struct Instance<'a> {
    /// What it offered.
    pub registered: &'a Resources,
    /// Whether it is not deregistered.
    pub is_active: bool,
    /// What is written of its reservations.
    pub reservation: Option<&'a ReservationRow>,
    /// The tasks that hold something of it.
    pub tasks: &'a [&'a TaskRow],
}

/// Whether a task takes something of its container instance.
pub fn holds_resources(state: &TaskState) -> bool {
    state.last_status != TaskStatus::Stopped
}

/// STOPPED is final, nothing goes backwards, and every change makes the version grow.
pub fn moves_on(before: &TaskState, after: &TaskState) -> Result<(), String> {
    if before == after || follows(before, after) {
        return Ok(());
    }
    let (from, to) = (before.last_status.as_str(), after.last_status.as_str());
    Err(format!("{from} version {} is followed by {to} version {}", before.version, after.version))
}

/// What remains of an instance is what it offered without what its tasks hold: never negative, no port twice.
pub fn adds_up(instance: &Instance<'_>) -> Result<(), String> {
    let Some(reservation) = instance.reservation.filter(|_| instance.is_active) else {
        return if instance.is_active {
            Err("there is no reservation".to_owned())
        } else if instance.tasks.is_empty() {
            Ok(())
        } else {
            Err(format!("{} tasks are left on a deregistered instance", instance.tasks.len()))
        };
    };
    let mut remaining = instance.registered.clone();
    for task in instance.tasks {
        let twice = ports_twice(&remaining.tcp_ports, &task.demand.tcp_ports)
            .or_else(|| ports_twice(&remaining.udp_ports, &task.demand.udp_ports));
        if let Some(port) = twice {
            return Err(format!("port {port} is sold twice"));
        }
        remaining.reserve(&task.demand);
    }
    if remaining.cpu < 0 || remaining.memory < 0 || remaining.task_slots.is_some_and(|slots| slots < 0) {
        return Err(format!("more is sold than there is: {remaining:?}"));
    }
    if remaining != reservation.remaining {
        return Err(format!("{remaining:?} remains, but it is written {:?}", reservation.remaining));
    }
    let counted = reservation.running_tasks + reservation.pending_tasks;
    if usize::try_from(counted) != Ok(instance.tasks.len()) {
        return Err(format!("{} tasks, but {counted} are counted", instance.tasks.len()));
    }
    Ok(())
}

/// Every task that has an address holds it alone, and no address is held by a task that has ended. `tasks` and `addresses` are those
/// of one container instance.
pub fn has_one_each(tasks: &[&TaskRow], addresses: &[&AddressRow]) -> Result<(), String> {
    let mut held: BTreeMap<&str, String> = BTreeMap::new();
    for task in tasks {
        let Some(interface) = &task.network_interface else { continue };
        if let Some(other) = held.insert(&interface.private_ipv4_address, task.key()) {
            return Err(format!("{} is that of {other} and of {}", interface.private_ipv4_address, task.key()));
        }
    }
    let given: BTreeMap<&str, String> = addresses.iter().map(|row| (row.address.as_str(), row.task.clone())).collect();
    if held == given { Ok(()) } else { Err(format!("the addresses {given:?} are given away, and {held:?} are held")) }
}

fn ports_twice(taken: &BTreeSet<u16>, wanted: &BTreeSet<u16>) -> Option<u16> {
    taken.intersection(wanted).next().copied()
}
