//! Where tasks may be, and which container instance is the best for one: what constraints, strategies and capacity come to, not by
//! the code under test.

use std::sync::Arc;

use estiva_api_ecs::types as api;
use estiva_ecs::container_instance::table::{
    AddressRow, ContainerInstanceRow, ContainerInstanceStatus as Status, ENI_RANGE_ATTRIBUTE, FARGATE_ATTRIBUTE,
};
use estiva_ecs::service::table::ServiceRow;
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_planning::placement::Resources;

use super::Audit;
use super::doings::Doings;
use super::services::service_of;

/// What tasks ask of their container instance.
pub struct Wish<'a> {
    /// Their group.
    pub group: &'a str,
    /// What each takes.
    pub demand: &'a Resources,
    /// Whether they run on Fargate capacity.
    pub is_fargate: bool,
    /// Whether each needs an address.
    pub needs_address: bool,
    /// The service's, if they are one's.
    pub constraints: &'a [api::PlacementConstraint],
    /// Tasks that are told to end at the same time, and count no more.
    pub ending: &'a [Arc<TaskRow>],
}

/// What a task that is not placed yet asks for.
fn wish_of<'a>(task: &'a TaskRow, service: Option<&'a ServiceRow>, doings: &'a Doings) -> Wish<'a> {
    Wish {
        ending: &doings.stopped,
        group: &task.group,
        demand: &task.demand,
        is_fargate: task.launch_type == "FARGATE",
        needs_address: task.network_interface.is_some(),
        constraints: service.and_then(|row| row.settings.placement_constraints.as_deref()).unwrap_or_default(),
    }
}

/// Whether what a transaction starts may be where it is, and is where the strategies want it. The books show what was before.
pub(super) fn check(books: &Audit, doings: &Doings) -> Vec<String> {
    let mut wrong = Vec::new();
    for task in &doings.started {
        wrong.extend(misplaced(books, doings, task).map(|why| format!("task {} is started {why}", task.id)));
    }
    if let [task] = doings.started.as_slice()
        && !doings.moves_tasks
        && let Some(why) = better_elsewhere(books, doings, task)
    {
        wrong.push(format!("task {} is started on {}: {why}", task.id, task.container_instance));
    }
    for (place, task) in doings.started.iter().enumerate() {
        let is_twin =
            |other: &&Arc<TaskRow>| other.group == task.group && other.container_instance == task.container_instance;
        if is_distinct(books, task) && doings.started[..place].iter().any(|other| is_twin(&other)) {
            wrong.push(format!("two tasks are started on {}, which are to be apart", task.container_instance));
        }
    }
    wrong
}

fn service_row<'a>(books: &'a Audit, task: &TaskRow) -> Option<&'a ServiceRow> {
    books.services.services.get(&service_of(task)?).map(|row| &**row)
}

fn is_distinct(books: &Audit, task: &TaskRow) -> bool {
    let constraints = service_row(books, task).and_then(|row| row.settings.placement_constraints.as_ref());
    let distinct = Some(api::PlacementConstraintType::DistinctInstance);
    constraints.into_iter().flatten().any(|constraint| constraint.r#type == distinct)
}

fn misplaced(books: &Audit, doings: &Doings, task: &TaskRow) -> Option<String> {
    let key = task.container_instance_key();
    let Some(row) = books.instances.get(&key) else { return Some("nowhere".to_owned()) };
    // A hook's task, and one that its caller runs, has no constraints.
    let wish = wish_of(task, service_row(books, task), doings);
    books.refusal(&wish, &key, row).map(|why| format!("on {}, which {why}", task.container_instance))
}

/// Why another container instance would have been the better one.
fn better_elsewhere(books: &Audit, doings: &Doings, task: &TaskRow) -> Option<String> {
    let service = service_row(books, task);
    if service.is_some_and(|row| row.is_daemon) {
        return None;
    }
    let wish = wish_of(task, service, doings);
    let sites: Vec<Site<'_>> = books.sites(&wish).collect();
    let mut best: Vec<&Site<'_>> = sites.iter().filter(|site| site.is_free).collect();
    let chosen = task.container_instance_key();
    for (kind, field) in strategies(service) {
        let cost = |site: &Site<'_>| site.cost(kind, &field, &sites);
        let least = best.iter().map(|site| cost(site)).min()?;
        best.retain(|site| cost(site) == least);
        if best.iter().all(|site| *site.key != chosen) {
            return Some(format!("{} {field} wants another", kind.as_str()));
        }
    }
    None
}

/// The type and the field of each, ECS's default where there are none.
fn strategies(service: Option<&ServiceRow>) -> Vec<(api::PlacementStrategyType, String)> {
    let given = service.and_then(|row| row.settings.placement_strategy.as_deref()).unwrap_or_default();
    if given.is_empty() {
        let spread = |field: &str| (api::PlacementStrategyType::Spread, field.to_owned());
        return vec![spread("attribute:ecs.availability-zone"), spread("instanceId")];
    }
    given.iter().filter_map(|it| Some((it.r#type?, it.field.clone()?))).collect()
}

/// A container instance that could be chosen, or at least counts.
struct Site<'a> {
    key: &'a String,
    row: &'a ContainerInstanceRow,
    remaining: &'a Resources,
    group_tasks: i64,
    /// Whether such a task may be there.
    is_free: bool,
}

impl Site<'_> {
    /// What a strategy counts of it, the least being the best.
    fn cost(&self, kind: api::PlacementStrategyType, field: &str, sites: &[Self]) -> i64 {
        let zone = self.row.availability_zone();
        match (kind, field) {
            (api::PlacementStrategyType::Binpack, "CPU") => self.remaining.cpu,
            (api::PlacementStrategyType::Binpack, _) => self.remaining.memory,
            (api::PlacementStrategyType::Spread, "instanceId") => self.group_tasks,
            (api::PlacementStrategyType::Spread, _) => {
                let neighbours = sites.iter().filter(|site| site.row.availability_zone() == zone);
                neighbours.map(|site| site.group_tasks).sum()
            }
            (api::PlacementStrategyType::Random, _) => 0,
        }
    }
}

impl Audit {
    fn sites<'a>(&'a self, wish: &'a Wish<'a>) -> impl Iterator<Item = Site<'a>> {
        let counts = |row: &ContainerInstanceRow| {
            row.status == Status::Active && (!wish.is_fargate || row.attribute(FARGATE_ATTRIBUTE).is_some())
        };
        self.instances.iter().filter(move |(_, row)| counts(row)).filter_map(|(key, row)| {
            let group = self.wanted_on(key, wish.ending).filter(|task| task.group == wish.group);
            Some(Site {
                key,
                row,
                remaining: self.remaining(key)?,
                group_tasks: i64::try_from(group.count()).unwrap_or(i64::MAX),
                is_free: self.refusal(wish, key, row).is_none(),
            })
        })
    }

    /// Why such a task may not be on a container instance now.
    pub fn refusal(&self, wish: &Wish<'_>, key: &str, row: &ContainerInstanceRow) -> Option<&'static str> {
        let remaining = self.remaining(key);
        self.standing_refusal(wish, key, row).or_else(|| {
            if wish.needs_address && self.addresses_of(key).count() >= addresses(row) {
                Some("has no address left")
            } else if remaining.is_none_or(|remaining| !fits(remaining, wish.demand)) {
                Some("has no room")
            } else {
                None
            }
        })
    }

    /// Why such a task may not be on a container instance, whatever room it has.
    pub fn standing_refusal(&self, wish: &Wish<'_>, key: &str, row: &ContainerInstanceRow) -> Option<&'static str> {
        if row.status != Status::Active {
            Some("takes no tasks")
        } else if self.services.connections.get(key).is_none_or(|row| !row.connected) {
            Some("is not connected")
        } else if wish.is_fargate && row.attribute(FARGATE_ATTRIBUTE).is_none() {
            Some("is no Fargate capacity")
        } else if wish.needs_address && addresses(row) == 0 {
            Some("has no addresses")
        } else if wish.constraints.iter().any(|constraint| !self.meets(constraint, wish, key, row)) {
            Some("does not meet a constraint")
        } else {
            None
        }
    }

    fn meets(
        &self,
        constraint: &api::PlacementConstraint,
        wish: &Wish<'_>,
        key: &str,
        row: &ContainerInstanceRow,
    ) -> bool {
        let has = |group: &str| self.wanted_on(key, wish.ending).any(|task| task.group == group);
        let Some(expression) = &constraint.expression else { return !has(wish.group) };
        if let Some(zone) = expression.strip_prefix("attribute:ecs.availability-zone == ") {
            return row.availability_zone() == zone;
        }
        match expression.strip_prefix("not(task:group == ") {
            Some(rest) => !has(rest.trim_end_matches(')')),
            None => has(expression.trim_start_matches("task:group == ")),
        }
    }

    /// The tasks that are to run on a container instance, without those that are told to end.
    fn wanted_on(&self, instance: &str, ending: &[Arc<TaskRow>]) -> impl Iterator<Item = &TaskRow> {
        let stays = |task: &&TaskRow| {
            task.desired_status == DesiredStatus::Running && !ending.iter().any(|it| it.id == task.id)
        };
        self.holders(instance).filter(stays)
    }

    /// The addresses of a container instance that are given away.
    pub(super) fn addresses_of(&self, instance: &str) -> impl Iterator<Item = &AddressRow> {
        let prefix = format!("{instance}/");
        let rows = self.addresses.range(prefix.clone()..);
        rows.take_while(move |(key, _)| key.starts_with(&prefix)).map(|(_, row)| &**row)
    }
}

/// How many addresses a container instance has for tasks.
fn addresses(row: &ContainerInstanceRow) -> usize {
    let last = |range: &str| range.rsplit('.').next().and_then(|number| number.parse().ok());
    row.attribute(ENI_RANGE_ATTRIBUTE).and_then(last).unwrap_or(0)
}

fn fits(free: &Resources, demand: &Resources) -> bool {
    free.cpu >= demand.cpu
        && free.memory >= demand.memory
        && free.task_slots.is_none_or(|slots| slots > 0)
        && free.has_ports_for(demand)
}
