//! Books of the run's own over every transaction: a reference model beside the store, which forgets nothing and is asked after
//! each revision whether what must always hold still does.

mod doings;
pub mod hooks;
mod limits;
pub mod services;
mod shares;
pub mod sites;
pub mod task_sets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use estiva_ecs::container_instance::table::{
    AddressRow, ContainerInstanceRow, ContainerInstanceStatus, ReservationRow,
};
use estiva_ecs::task::protection::TaskProtectionRow;
use estiva_ecs::task::table::{TaskRow, TaskStatusRow};
use estiva_ecs::task_definition::table::TaskDefinitionRow;
use estiva_planning::lifecycle::{TaskState, TaskStatus};
use estiva_planning::placement::Resources;
use estiva_store::{Change, Revision, Row, Snapshot};

use self::doings::Doings;
use self::hooks::Hooks;
use self::services::{Services, Tasks};
use crate::invariant::{self, Instance};
use crate::plane::scope;
use crate::world::World;

/// Transactions in a second of virtual time: many more than users, nodes and schedulers of a small cluster have reason for.
const BURST_MAX: u32 = 500;

/// Rows of a table, by key.
type Rows<R> = BTreeMap<String, Arc<R>>;

/// What all transactions of a run have come to.
pub struct Audit {
    world: Arc<World>,
    revision: Revision,
    /// Transactions that changed something.
    pub transactions: u64,
    /// By key.
    pub tasks: Rows<TaskRow>,
    /// By key.
    pub statuses: Rows<TaskStatusRow>,
    /// By key.
    pub instances: Rows<ContainerInstanceRow>,
    /// What concerns services.
    pub services: Services,
    /// What concerns lifecycle hooks.
    pub hooks: Hooks,
    addresses: Rows<AddressRow>,
    /// By the task's key.
    protections: Rows<TaskProtectionRow>,
    reservations: Rows<ReservationRow>,
    /// A second of the run, and the transactions in it.
    burst: (u64, u32),
    /// Tasks that hold something of their container instance, by the instance's key.
    holding: BTreeMap<String, BTreeSet<String>>,
}

impl Audit {
    /// Of an empty store.
    pub fn new(world: Arc<World>) -> Self {
        Self {
            world,
            revision: 0,
            transactions: 0,
            tasks: BTreeMap::new(),
            statuses: BTreeMap::new(),
            instances: BTreeMap::new(),
            services: Services::default(),
            hooks: Hooks::default(),
            addresses: BTreeMap::new(),
            protections: BTreeMap::new(),
            reservations: BTreeMap::new(),
            burst: (0, 0),
            holding: BTreeMap::new(),
        }
    }

    /// Takes over changes, and checks the state after each transaction of them.
    pub fn take(&mut self, changes: &[Change]) {
        for transaction in changes.chunk_by(|one, other| one.revision == other.revision) {
            let now = self.world.clock.elapsed();
            let moves = self.services.foresee(self.rows(), transaction, now);
            let doings = Doings::of(transaction);
            self.complain(sites::check(self, &doings));
            self.complain(limits::check_stops(self, &doings, now));
            let touched = self.apply(transaction, now);
            self.transactions += 1;
            self.check_budget(now);
            self.check(&touched);
            self.services.check(self.rows(), &moves, now, &self.world);
            self.complain(limits::check_starts(self, &doings));
            self.complain(shares::check(self, &doings));
            self.complain(task_sets::check(self, &doings));
            self.complain(hooks::check(self, &doings));
        }
    }

    fn complain(&self, wrong: Vec<String>) {
        for what in wrong {
            self.world.violated(&format!("revision {}: {what}", self.revision));
        }
    }

    /// Takes over one transaction; gives the keys of the instances that it concerns.
    fn apply(&mut self, transaction: &[Change], now: Duration) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for change in transaction {
            self.revision = change.revision;
            let key = change.key.to_string();
            if let Some(task) = change.row::<TaskRow>() {
                touched.extend(task.after.iter().chain(&task.before).map(|row| row.container_instance_key()));
                replace(&mut self.tasks, key, task.after);
            } else if let Some(status) = change.row::<TaskStatusRow>() {
                if let (Some(before), Some(after)) = (&status.before, &status.after)
                    && let Err(why) = invariant::moves_on(&before.state, &after.state)
                {
                    self.world.violated(&format!("task {key}: {why}"));
                }
                touched.extend(self.tasks.get(&key).map(|row| row.container_instance_key()));
                replace(&mut self.statuses, key, status.after);
            } else if let Some(instance) = change.row::<ContainerInstanceRow>() {
                touched.insert(key.clone());
                replace(&mut self.instances, key, instance.after);
            } else if let Some(reservation) = change.row::<ReservationRow>() {
                touched.insert(key.clone());
                replace(&mut self.reservations, key, reservation.after);
            } else if let Some(address) = change.row::<AddressRow>() {
                touched.extend(address.after.iter().chain(&address.before).map(|row| row.instance.clone()));
                replace(&mut self.addresses, key, address.after);
            } else if let Some(protection) = change.row::<TaskProtectionRow>() {
                replace(&mut self.protections, key, protection.after);
            }
        }
        self.follow_holders(transaction);
        for change in transaction {
            let tasks = Tasks { rows: &self.tasks, statuses: &self.statuses };
            self.services.take(tasks, change, now);
        }
        touched
    }

    fn follow_holders(&mut self, transaction: &[Change]) {
        for change in transaction {
            if change.row::<TaskStatusRow>().is_some() {
                self.follow_holder(&change.key);
            }
        }
    }

    fn follow_holder(&mut self, key: &str) {
        let Some(task) = self.tasks.get(key) else { return };
        let holders = self.holding.entry(task.container_instance_key()).or_default();
        if self.statuses.get(key).is_some_and(|row| invariant::holds_resources(&row.state)) {
            holders.insert(key.to_owned());
        } else {
            holders.remove(key);
        }
    }

    /// Whoever writes again and again without end finds no rest, and lets nobody else have any.
    fn check_budget(&mut self, now: Duration) {
        let second = now.as_secs();
        let (of, count) = self.burst;
        self.burst = if of == second { (second, count + 1) } else { (second, 1) };
        if self.burst.1 == BURST_MAX {
            self.world.violated(&format!("{BURST_MAX} transactions in a second"));
        }
    }

    fn check(&self, touched: &BTreeSet<String>) {
        for key in touched {
            let Some(row) = self.instances.get(key) else { continue };
            let tasks: Vec<&TaskRow> = self.holders(key).collect();
            let reservation = self.reservations.get(key).map(|row| &**row);
            let is_active = row.status != ContainerInstanceStatus::Inactive;
            let instance = Instance { registered: &row.registered, is_active, reservation, tasks: &tasks };
            let addresses: Vec<&AddressRow> = self.addresses_of(key).collect();
            let why = invariant::adds_up(&instance).and_then(|()| invariant::has_one_each(&tasks, &addresses));
            if let Err(why) = why {
                self.world.violated(&format!("revision {}, instance {key}: {why}", self.revision));
            }
        }
    }

    fn rows(&self) -> Tasks<'_> {
        Tasks { rows: &self.tasks, statuses: &self.statuses }
    }

    /// Whether a task, by its key, counts as healthy for its service.
    pub fn is_healthy(&self, task: &str) -> bool {
        self.services.is_healthy(self.rows(), task, self.world.clock.elapsed())
    }

    /// Whether a task's health checks fail.
    pub fn is_unhealthy(&self, task: &str) -> bool {
        self.services.is_unhealthy(self.rows(), task)
    }

    /// The task with that ARN.
    pub fn task(&self, arn: &str) -> Option<&TaskRow> {
        let resource = arn.rsplit_once(":task/")?.1;
        self.tasks.get(&scope().key(&[resource])).map(|row| &**row)
    }

    /// What remains of a container instance, by its key.
    pub fn remaining(&self, instance: &str) -> Option<&Resources> {
        self.reservations.get(instance).map(|row| &row.remaining)
    }

    /// The task definition of a service's revision.
    pub fn definition_of(&self, service: &str, revision: &str) -> Option<&TaskDefinitionRow> {
        self.services.definition_of(service, revision)
    }

    /// The tasks that have not ended, and how far they are.
    pub fn live(&self) -> impl Iterator<Item = (&TaskRow, &TaskState)> {
        let known = self.tasks.iter().filter_map(|(key, row)| Some((&**row, &self.statuses.get(key)?.state)));
        known.filter(|(_, state)| state.last_status != TaskStatus::Stopped)
    }

    /// The tasks that hold something of an instance.
    pub fn holders(&self, instance: &str) -> impl Iterator<Item = &TaskRow> {
        let keys = self.holding.get(instance).into_iter().flatten();
        keys.filter_map(|key| self.tasks.get(key)).map(|row| &**row)
    }

    /// A store that was opened again must show exactly what was committed before; but the last transaction of a former life
    /// may have become durable without anybody being told.
    pub fn check_reopened(&mut self, view: &Snapshot) {
        if !(self.revision..=self.revision + 1).contains(&view.revision()) {
            let (known, found) = (self.revision, view.revision());
            self.world.violated(&format!("the store begins at revision {found}, after {known}"));
        }
        let before = self.statuses.clone();
        reread(&self.world, self.revision, view, &mut self.tasks);
        reread(&self.world, self.revision, view, &mut self.statuses);
        reread(&self.world, self.revision, view, &mut self.instances);
        reread(&self.world, self.revision, view, &mut self.reservations);
        reread(&self.world, self.revision, view, &mut self.addresses);
        reread(&self.world, self.revision, view, &mut self.protections);
        self.services.reread(&self.world, self.revision, view);
        for (key, after) in &self.statuses {
            let is_backward = |row: &Arc<TaskStatusRow>| invariant::moves_on(&row.state, &after.state).is_err();
            if before.get(key).is_some_and(|row| !Arc::ptr_eq(row, after) && is_backward(row)) {
                self.world.violated(&format!("task {key} went backwards over a restart"));
            }
        }
        self.revision = view.revision();
        let keys: Vec<String> = self.statuses.keys().cloned().collect();
        for key in &keys {
            self.follow_holder(key);
            let tasks = Tasks { rows: &self.tasks, statuses: &self.statuses };
            let started_at = self.statuses.get(key).and_then(|row| row.state.started_at);
            let seen_at = started_at.map_or(self.world.clock.elapsed(), |at| self.world.clock.elapsed_at(at));
            self.services.follow(tasks, key, seen_at);
        }
        self.check(&self.instances.keys().cloned().collect());
    }
}

/// Takes over a table of a store that was opened again. What is not newer than `known` must be as it was.
fn reread<R: Row>(world: &World, known: Revision, view: &Snapshot, rows: &mut Rows<R>) {
    let json = |row: &R| serde_json::to_string(row).unwrap_or_default();
    let is_new = view.revision() > known;
    for row in view.scan::<R>("") {
        let key = row.key();
        let is_newer = view.revision_of::<R>(&key) > known;
        match rows.get(&key) {
            Some(former) if is_newer || json(former) == json(&row) => {}
            None if is_newer => {}
            _ => world.violated(&format!("{}/{key} is not what was acknowledged", R::TABLE)),
        }
        if is_newer {
            rows.insert(key, row);
        }
    }
    if view.count::<R>() != rows.len() {
        if !is_new {
            world.violated(&format!("{} rows of {}, not {}", view.count::<R>(), R::TABLE, rows.len()));
        }
        rows.retain(|key, _| view.contains::<R>(key));
    }
}

fn replace<R>(rows: &mut Rows<R>, key: String, after: Option<Arc<R>>) {
    match after {
        Some(row) => rows.insert(key, row),
        None => rows.remove(&key),
    };
}
