//! Which capacity the tasks of a call go to: a launch type, or the providers of a strategy.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::capacity::{Share, divide, order};

use crate::capacity_provider::{self, StrategyItem};
use crate::cluster::table::ClusterRow;
use crate::error::invalid;

/// Where some of the tasks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub launch_type: api::LaunchType,
    pub capacity_provider: Option<String>,
    pub count: usize,
}

/// The parts of `count` tasks. A caller who names neither gets the cluster's default strategy, and without one EC2.
pub(super) fn parts(
    cluster: &ClusterRow,
    launch_type: Option<api::LaunchType>,
    strategy: Option<&[api::CapacityProviderStrategyItem]>,
    count: usize,
) -> Result<Vec<Part>, Error> {
    let strategy = strategy.unwrap_or_default();
    let strategy = match launch_type {
        Some(_) if !strategy.is_empty() => {
            return Err(invalid(
                "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
            ));
        }
        Some(launch_type) => return Ok(vec![Part { launch_type, capacity_provider: None, count }]),
        None if strategy.is_empty() => cluster.default_strategy.clone(),
        None => capacity_provider::check_strategy(&cluster.scope, strategy, &cluster.capacity_providers)?,
    };
    if strategy.is_empty() {
        return Ok(vec![Part { launch_type: api::LaunchType::Ec2, capacity_provider: None, count }]);
    }
    capacity_provider::check_runnable(&strategy)?;
    let share = |item: &StrategyItem| Share {
        base: usize::try_from(item.base).unwrap_or(0),
        weight: usize::try_from(item.weight).unwrap_or(0),
    };
    let shares: Vec<Share> = strategy.iter().map(share).collect();
    let counts = divide(count, &shares);
    let part = |place: usize| Part {
        launch_type: api::LaunchType::Fargate,
        capacity_provider: Some(strategy[place].capacity_provider.clone()),
        count: counts[place],
    };
    Ok(order(&shares).into_iter().map(part).filter(|part| part.count > 0).collect())
}
