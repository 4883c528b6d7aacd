//! Capacity provider strategies: of a cluster, and of a call.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use serde::{Deserialize, Serialize};

use super::reserved::{is_fargate, name_of};
use crate::error::invalid;
use crate::scope::Scope;

/// Ranges of the API reference, CapacityProviderStrategyItem.
const BASE: RangeInclusive<i32> = 0..=100_000;
const WEIGHT: RangeInclusive<i32> = 0..=1000;
const ITEMS_MAX: usize = 20;

/// One provider's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyItem {
    /// The provider's name.
    pub capacity_provider: String,
    /// Tasks before any by weight.
    pub base: i32,
    /// Part of the rest.
    pub weight: i32,
}

impl StrategyItem {
    /// One that has been checked, and is kept as the API has it.
    pub fn of(item: &api::CapacityProviderStrategyItem) -> Self {
        let (base, weight) = (item.base.unwrap_or(0), item.weight.unwrap_or(0));
        Self { capacity_provider: item.capacity_provider.clone(), base, weight }
    }

    /// As the API has it.
    pub fn to_api(&self) -> api::CapacityProviderStrategyItem {
        api::CapacityProviderStrategyItem {
            capacity_provider: self.capacity_provider.clone(),
            base: Some(self.base),
            weight: Some(self.weight),
        }
    }
}

/// Checks a strategy of providers that a cluster has.
pub fn check(
    scope: &Scope,
    items: &[api::CapacityProviderStrategyItem],
    of_cluster: &[String],
) -> Result<Vec<StrategyItem>, Error> {
    if items.len() > ITEMS_MAX {
        return Err(invalid(format!("A capacity provider strategy can have at most {ITEMS_MAX} capacity providers.")));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for item in items {
        let unknown =
            || invalid(format!("The specified capacity provider '{}' was not found.", item.capacity_provider));
        let name = name_of(scope, &item.capacity_provider).ok_or_else(unknown)?;
        if !of_cluster.iter().any(|known| known == name) {
            return Err(invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the \
                cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and try again.",
            ));
        }
        if !names.insert(name) {
            return Err(invalid(format!("A capacity provider strategy cannot contain '{name}' twice.")));
        }
        let (base, weight) = (item.base.unwrap_or(0), item.weight.unwrap_or(0));
        if !BASE.contains(&base) || !WEIGHT.contains(&weight) {
            return Err(invalid(format!("'{name}': base must be from 0 to 100000, and weight from 0 to 1000.")));
        }
        checked.push(StrategyItem { capacity_provider: name.to_owned(), base, weight });
    }
    check_together(&checked)?;
    Ok(checked)
}

/// Checks that tasks of the strategy can run here: providers that stand for Auto Scaling groups have no instances yet.
pub fn check_runnable(items: &[StrategyItem]) -> Result<(), Error> {
    match items.iter().find(|item| !is_fargate(&item.capacity_provider)) {
        Some(item) => Err(invalid(format!(
            "capacityProviderStrategy: '{}': Estiva does not start instances of Auto Scaling groups yet",
            item.capacity_provider
        ))),
        None => Ok(()),
    }
}

fn check_together(items: &[StrategyItem]) -> Result<(), Error> {
    if items.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid(
            "There are multiple capacity providers in the specified capacity provider strategy with a base value defined",
        ));
    }
    if !items.is_empty() && items.iter().all(|item| item.weight == 0) {
        return Err(invalid(
            "There are no capacity providers in the capacity provider strategy with a weight value greater than zero",
        ));
    }
    let fargate = items.iter().filter(|item| is_fargate(&item.capacity_provider)).count();
    if fargate > 0 && fargate < items.len() {
        return Err(invalid(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups and Fargate \
            providers.",
        ));
    }
    Ok(())
}
