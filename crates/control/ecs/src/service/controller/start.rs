//! Starting and choosing tasks: where a service's tasks go, and which go first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::capacity::{Share, divide, order};
use estiva_planning::deployment::{Phase, Roster};
use estiva_planning::lifecycle::DesiredStatus;
use estiva_planning::placement::{self as planning, Lack, PlacedTask};
use estiva_store::{Row, Snapshot, Tx};
use rand::Rng;

use super::decision::Start;
use crate::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus};
use crate::service::event::Kind;
use crate::service::revision::find_revision;
use crate::service::rollout_table::RolloutRow;
use crate::service::table::{ServiceRevisionRow, ServiceRow};
use crate::task::constraint::Constraints;
use crate::task::launch::{Launch, OfService, Wishes};
use crate::task::placement::{self, Lacking, Placeable, Placer};
use crate::task::strategy;
use crate::task::table::{BY_STARTED_BY, TaskRow};
use crate::task_definition::table::{TaskDefinitionRow, revision_key};

/// Kinds of lack that an event counts.
const LACKS_MAX: usize = 5;

/// A service's tasks to launch, checked.
pub(in crate::service) fn launch(
    service: &ServiceRow,
    definition: &Arc<TaskDefinitionRow>,
    revision: Option<&ServiceRevisionRow>,
    deployment: &str,
    launch_type: api::LaunchType,
) -> Result<Launch, Error> {
    let settings = &service.settings;
    let passes_on = settings.propagate_tags == Some(api::PropagateTags::Service);
    let network = revision.map_or(&settings.network_configuration, |row| &row.settings.network_configuration);
    let wishes = Wishes {
        launch_type: Some(launch_type),
        network: network.clone(),
        propagate_tags: settings.propagate_tags,
        enable_execute_command: settings.enable_execute_command.unwrap_or(false),
        enable_managed_tags: settings.enable_ecs_managed_tags.unwrap_or(false),
        service: Some(OfService {
            name: service.name.clone(),
            deployment: deployment.to_owned(),
            image_digests: revision.map(|row| row.image_digests.clone()).unwrap_or_default(),
            tags: if passes_on { service.tags.clone() } else { crate::tag::Tags::default() },
        }),
        ..Wishes::default()
    };
    Launch::new(service.scope.clone(), service.cluster.clone(), Arc::clone(definition), wishes)
}

/// Starts tasks of a deployment as far as there is room, and notes what found none.
pub(super) fn start(tx: &mut Tx<'_>, service: &ServiceRow, rollout: &mut RolloutRow, what: &Start, placer: &Placer) {
    let ambient = &placer.ambient;
    let revision = rollout.deployment(&what.deployment).map(|entry| entry.revision.clone());
    let revision = revision.and_then(|id| find_revision(tx, service, &id));
    let Some(revision) = revision else { return };
    let is_set = rollout.deployment(&what.deployment).is_some_and(|entry| entry.task_set.is_some());
    let task_set = is_set.then_some(what.deployment.as_str());
    match place(tx, service, &revision, what, placer) {
        Ok(started) => {
            rollout.tell_of_tasks(tx, "has started", "tasks", &started.ids, ambient);
            rollout.note_attempt(&what.deployment, what.count - started.ids.len());
            match started.why_not {
                Some(why_not) => rollout.tell_of(tx, task_set, Kind::Unplaced, &why_not, ambient),
                None => rollout.is_over_of(task_set, Kind::Unplaced),
            }
        }
        Err(error) => {
            rollout.note_attempt(&what.deployment, what.count);
            let message = format!("was unable to place a task. Reason: {error}");
            rollout.tell_of(tx, task_set, Kind::Unplaced, &message, ambient);
        }
    }
}

struct Started {
    ids: Vec<String>,
    /// If not all were: why, in ECS's words and more.
    why_not: Option<String>,
}

fn place(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    revision: &ServiceRevisionRow,
    what: &Start,
    placer: &Placer,
) -> Result<Started, Error> {
    let definition = tx.get::<TaskDefinitionRow>(&revision_key(&service.scope, &revision.family, revision.revision));
    let definition = definition.ok_or_else(|| Error::client_exception("TaskDefinition not found."))?;
    let defined = definition.definition.placement_constraints.as_deref();
    let mut constraints = Constraints::parse(service.settings.placement_constraints.as_deref(), defined)?;
    constraints.only_on.clone_from(&what.only_on);
    // Of several that are to have a task, the one that fits best must not get two.
    constraints.distinct_instance |= service.is_daemon;
    let strategies = strategy::parse(service.settings.placement_strategy.as_deref())?;
    let mut started = Started { ids: Vec::new(), why_not: None };
    for (provider, count) in parts(tx, service, revision, &what.deployment, what.count) {
        let launch = launch(service, &definition, Some(revision), &what.deployment, revision.launch_type())?;
        let launch = launch.of_provider(provider);
        let what = Placeable { launch: &launch, constraints: &constraints, strategies: &strategies };
        let Some(made) = placer.make(tx, &what, count) else {
            started.why_not = Some(no_instances());
            continue;
        };
        if !made.lacking.is_empty() {
            started.why_not = Some(why_not(&made.lacking));
        }
        started.ids.extend(made.tasks.iter().map(|task| task.id.clone()));
    }
    Ok(started)
}

/// How many of some new tasks each provider of the service's strategy gets, with those that it has already in view.
fn parts(
    view: &Snapshot,
    service: &ServiceRow,
    revision: &ServiceRevisionRow,
    deployment: &str,
    count: usize,
) -> Vec<(Option<String>, usize)> {
    let strategy = revision.strategy();
    if strategy.len() < 2 {
        return vec![(strategy.first().map(|item| item.capacity_provider.clone()), count)];
    }
    let number = |number: Option<i32>| number.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let shares: Vec<Share> =
        strategy.iter().map(|item| Share { base: number(item.base), weight: number(item.weight) }).collect();
    let mut have: BTreeMap<String, usize> = BTreeMap::new();
    for task in view.index::<TaskRow>(BY_STARTED_BY, &service.scope.key(&[&service.cluster, deployment])) {
        if let Some(provider) = task.capacity_provider.clone().filter(|_| task.desired_status == DesiredStatus::Running)
        {
            *have.entry(provider).or_default() += 1;
        }
    }
    let total = count + have.values().sum::<usize>();
    let mut left = count;
    let mut parts: Vec<(Option<String>, usize)> = Vec::new();
    let wanted = divide(total, &shares);
    for place in order(&shares) {
        let item = &strategy[place];
        let more = wanted[place].saturating_sub(have.get(&item.capacity_provider).copied().unwrap_or(0)).min(left);
        left -= more;
        parts.push((Some(item.capacity_provider.clone()), more));
    }
    if let Some((_, first)) = parts.first_mut() {
        *first += left;
    }
    parts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn no_instances() -> String {
    unable("Reason: No Container Instances were found in your cluster.")
}

/// ECS names the closest match; here what the others lack is counted too.
fn why_not(lacking: &Lacking) -> String {
    let lacks: Vec<(usize, Lack)> = lacking.iter().map(|(_, lack)| *lack).enumerate().collect();
    let Some((index, lack)) = planning::closest(&lacks) else { return no_instances() };
    let closest = &lacking[index].0;
    let mut counts: BTreeMap<Lack, usize> = BTreeMap::new();
    for (_, lack) in &lacks {
        *counts.entry(*lack).or_default() += 1;
    }
    let counted = counts
        .iter()
        .rev()
        .take(LACKS_MAX)
        .map(|(lack, count)| format!("{count} {}", lack.reason().trim_end_matches('.')));
    let counted = counted.collect::<Vec<_>>().join(", ");
    unable(&format!(
        "The closest matching (container-instance {}) {}. Of {} container instances: {counted}.",
        closest.id,
        lack.sentence(),
        lacks.len(),
    ))
}

fn unable(why: &str) -> String {
    format!(
        "was unable to place a task because no container instance met all of its requirements. {why} For more information, see the \
        Troubleshooting section of the Amazon ECS Developer Guide."
    )
}

/// The service's placement constraints and those of the task definition. `None` if it has been deleted.
pub(super) fn constraints(view: &Snapshot, service: &ServiceRow, revision: &ServiceRevisionRow) -> Option<Constraints> {
    let definition =
        view.get::<TaskDefinitionRow>(&revision_key(&service.scope, &revision.family, revision.revision))?;
    let defined = definition.definition.placement_constraints.as_deref();
    Constraints::parse(service.settings.placement_constraints.as_deref(), defined).ok()
}

/// The keys of the container instances on which a DAEMON is to have a task. One whose agent is away keeps the task that it has.
pub(in crate::service) fn eligible(
    view: &Snapshot,
    service: &ServiceRow,
    revision: Option<&ServiceRevisionRow>,
    roster: &Roster,
) -> BTreeSet<String> {
    let Some(revision) = revision else { return BTreeSet::new() };
    let definition = view.get::<TaskDefinitionRow>(&revision_key(&service.scope, &revision.family, revision.revision));
    let Some(definition) = definition else { return BTreeSet::new() };
    let Some(constraints) = constraints(view, service, revision) else { return BTreeSet::new() };
    let Ok(launch) = launch(service, &definition, Some(revision), "", revision.launch_type()) else {
        return BTreeSet::new();
    };
    let occupied: BTreeSet<&str> =
        roster.members().filter(|(_, it)| !it.is_stopping).map(|(_, member)| member.instance.as_str()).collect();
    let active =
        crate::container_instance::in_status(view, &service.scope, &service.cluster, ContainerInstanceStatus::Active);
    active
        .filter(|row| match placement::standing_refusal(view, &launch, &constraints, row) {
            None => true,
            Some(Lack::Agent) => occupied.contains(row.key().as_str()),
            Some(_) => false,
        })
        .map(|row| row.key())
        .collect()
}

/// The keys of the healthy tasks of a deployment that go when there are too many.
pub(super) fn select_to_stop(
    view: &Snapshot,
    service: &ServiceRow,
    deployment: &str,
    roster: &Roster,
    count: usize,
    now: Timestamp,
    rng: &mut impl Rng,
) -> Vec<String> {
    let strategies = strategy::parse(service.settings.placement_strategy.as_deref()).unwrap_or_default();
    let keys: Vec<&String> = roster.in_phase(deployment, Phase::Healthy).collect();
    let mut rows: Vec<Arc<ContainerInstanceRow>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tasks = Vec::new();
    let mut of_task = Vec::new();
    let mut demand = planning::Demand::default();
    for key in keys {
        let Some(member) = roster.get(key) else { continue };
        let Some(instance) = view.get::<ContainerInstanceRow>(&member.instance) else { continue };
        let next = rows.len();
        let candidate = *places.entry(&member.instance).or_insert(next);
        if candidate == next {
            rows.push(instance);
        }
        if tasks.is_empty()
            && let Some(task) = view.get::<TaskRow>(key)
        {
            demand.resources = task.demand.clone();
        }
        tasks.push(PlacedTask { candidate, stoppable: !member.is_protected(now) });
        of_task.push(key.clone());
    }
    let sites: Vec<_> = rows.iter().map(|row| placement::Standing::new(view, row)).collect();
    let candidates: Vec<_> = sites.iter().map(|site| site.candidate(&strategies)).collect();
    let chosen = planning::select_to_stop(count, &strategies, &candidates, &tasks, &demand, rng);
    chosen.into_iter().map(|place| of_task[place].clone()).collect()
}
