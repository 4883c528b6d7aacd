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
        return Err(invalid(format!("Maximum number of strategies is {STRATEGIES_MAX}")));
    }
    strategies.iter().map(one).collect::<Result<_, _>>().map(Strategies::new)
}

/// The strategies as ECS shows them: it takes `memory` and answers `MEMORY`, and `host` is another word for `instanceId`.
pub(crate) fn shown(strategies: Option<&[api::PlacementStrategy]>) -> Vec<api::PlacementStrategy> {
    let shown = |strategy: &api::PlacementStrategy| {
        let field = strategy.field.as_deref().map(|field| match strategy.r#type {
            Some(api::PlacementStrategyType::Binpack) if amount(field).is_some() => field.to_ascii_uppercase(),
            Some(api::PlacementStrategyType::Spread) if is_instance(field) => "instanceId".to_owned(),
            _ => field.to_owned(),
        });
        api::PlacementStrategy { field, r#type: strategy.r#type }
    };
    strategies.unwrap_or_default().iter().map(shown).collect()
}

fn one(strategy: &api::PlacementStrategy) -> Result<Strategy, Error> {
    let field = strategy.field.as_deref().unwrap_or_default();
    let kind = strategy.r#type.ok_or_else(|| invalid("Placement strategy type cannot be empty."))?;
    if kind == api::PlacementStrategyType::Random && !field.is_empty() {
        return Err(invalid("random field should not be specified"));
    }
    let known = match kind {
        api::PlacementStrategyType::Random => Some(Strategy::Random),
        api::PlacementStrategyType::Binpack => amount(field).map(Strategy::Binpack),
        api::PlacementStrategyType::Spread => spread(field),
    };
    known.ok_or_else(|| invalid(format!("{} field '{field}' is invalid", kind.as_str())))
}

/// Clients send back what they were given.
fn amount(field: &str) -> Option<Amount> {
    match field.to_ascii_lowercase().as_str() {
        "cpu" => Some(Amount::Cpu),
        "memory" => Some(Amount::Memory),
        _ => None,
    }
}

fn is_instance(field: &str) -> bool {
    ["instanceId", "host"].iter().any(|name| field.eq_ignore_ascii_case(name))
}

fn spread(field: &str) -> Option<Strategy> {
    if is_instance(field) {
        return Some(Strategy::SpreadInstance);
    }
    let name = field.strip_prefix(ATTRIBUTE_PREFIX).filter(|name| !name.is_empty())?;
    Some(Strategy::SpreadAttribute(name.into()))
}
