//! Capacity provider strategies: the base comes before everything by weight, and nobody gets more than its part by weight.

use std::collections::{BTreeMap, BTreeSet};

use estiva_api_ecs::types as api;
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::DesiredStatus;

use super::Audit;
use super::doings::Doings;
use super::services::service_of;

/// Whether the tasks that a transaction starts are with the providers that they should be with.
pub(super) fn check(books: &Audit, doings: &Doings) -> Vec<String> {
    let of = |task: &&TaskRow| Some((service_of(task)?, task.deployment.clone()?));
    let deployments: BTreeSet<(String, String)> = doings.started.iter().filter_map(|task| of(&&**task)).collect();
    let wrong = |(service, deployment): &(String, String)| {
        let why = wrong_with(books, doings, service, deployment)?;
        Some(format!("service {service}, {deployment}: {why}"))
    };
    deployments.iter().filter_map(wrong).collect()
}

fn wrong_with(books: &Audit, doings: &Doings, service: &str, deployment: &str) -> Option<String> {
    let rollout = books.services.rollouts.get(service)?;
    let revision = books.services.revision(service, &rollout.deployment(deployment)?.revision)?;
    let items = revision.settings.capacity_provider_strategy.as_deref().unwrap_or_default();
    if items.is_empty() {
        return None;
    }
    let is_own = |task: &TaskRow| task.deployment.as_deref() == Some(deployment);
    let members = books.services.members(service).filter_map(|key| books.tasks.get(key));
    let running = members.filter(|task| is_own(task) && task.desired_status == DesiredStatus::Running);
    let have = by_provider(running.map(|task| &**task));
    let started = by_provider(doings.started.iter().map(|task| &**task).filter(|task| is_own(task)));
    let is_short = rollout.deployment(deployment).is_some_and(|it| it.unplaced > 0);
    items.iter().find_map(|item| {
        let of = |counts: &BTreeMap<String, usize>| counts.get(&item.capacity_provider).copied().unwrap_or(0);
        let total: usize = have.values().sum();
        let others = started.keys().any(|provider| *provider != item.capacity_provider);
        let base = number(item.base);
        if others && of(&have) < base.min(total) {
            return Some(format!(
                "others are given tasks, and {} has not its {base}: {have:?}",
                item.capacity_provider
            ));
        }
        // What found no room was somebody's too.
        let most = base + by_weight(items, item, total);
        (of(&started) > 0 && !is_short && of(&have) > most)
            .then(|| format!("{} is given more than {most} of {total}: {have:?}", item.capacity_provider))
    })
}

fn by_provider<'a>(tasks: impl Iterator<Item = &'a TaskRow>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in tasks {
        *counts.entry(task.capacity_provider.clone().unwrap_or_default()).or_default() += 1;
    }
    counts
}

/// A provider's part of what is left once the bases are met, rounded up.
fn by_weight(
    items: &[api::CapacityProviderStrategyItem],
    item: &api::CapacityProviderStrategyItem,
    total: usize,
) -> usize {
    let bases: usize = items.iter().map(|item| number(item.base)).sum();
    let weights: usize = items.iter().map(|item| number(item.weight)).sum();
    (total.saturating_sub(bases) * number(item.weight)).div_ceil(weights.max(1))
}

fn number(number: Option<i32>) -> usize {
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}
