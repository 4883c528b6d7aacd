//! Placement strategies as callers write them.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::placement::{Amount, STRATEGIES_MAX, Strategies, Strategy};

use crate::error::invalid;

/// What a spread over the values of an attribute starts with.
const ATTRIBUTE_PREFIX: &str = "attribute:";

/// Reads the strategies of a request; none means the default.
pub(crate) fn parse(strategies: Option<&[api::PlacementStrategy]>) -> Result<Strategies, Error> {
    let strategies = strategies.unwrap_or_default();
    if strategies.len() > STRATEGIES_MAX {
        return Err(invalid(format!("Placement strategies cannot have more than {STRATEGIES_MAX} elements.")));
    }
    strategies.iter().map(one).collect::<Result<_, _>>().map(Strategies::new)
}

fn one(strategy: &api::PlacementStrategy) -> Result<Strategy, Error> {
    let field = strategy.field.as_deref().unwrap_or_default();
    let kind = strategy.r#type.ok_or_else(|| invalid("Placement strategy type cannot be empty."))?;
    let known = match kind {
        api::PlacementStrategyType::Random => Some(Strategy::Random),
        api::PlacementStrategyType::Binpack => amount(field).map(Strategy::Binpack),
        api::PlacementStrategyType::Spread => spread(field),
    };
    known.ok_or_else(|| invalid(format!("Invalid placement strategy field '{field}' for type {}.", kind.as_str())))
}

/// ECS takes `memory` and answers `MEMORY`; clients send back what they were given.
fn amount(field: &str) -> Option<Amount> {
    match field.to_ascii_lowercase().as_str() {
        "cpu" => Some(Amount::Cpu),
        "memory" => Some(Amount::Memory),
        _ => None,
    }
}

fn spread(field: &str) -> Option<Strategy> {
    if ["instanceId", "host"].iter().any(|name| field.eq_ignore_ascii_case(name)) {
        return Some(Strategy::SpreadInstance);
    }
    let name = field.strip_prefix(ATTRIBUTE_PREFIX).filter(|name| !name.is_empty())?;
    Some(Strategy::SpreadAttribute(name.into()))
}
