//! Health checks of containers.

use std::ops::RangeInclusive;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;

/// Seconds, and a number: the API reference's ranges for HealthCheck.
const INTERVAL: RangeInclusive<i32> = 5..=300;
const TIMEOUT: RangeInclusive<i32> = 2..=60;
const RETRIES: RangeInclusive<i32> = 1..=10;
const START_PERIOD: RangeInclusive<i32> = 0..=300;

/// Checks the health check of the container at `place`.
pub(super) fn check(place: usize, container: &api::ContainerDefinition) -> Result<(), Error> {
    let Some(health_check) = &container.health_check else { return Ok(()) };
    let refuse = |field: &str, text: String| Err(field_error(place, &format!("healthCheck.{field}"), text));
    match health_check.command.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => return refuse("command", "must not be empty".to_owned()),
        ["CMD" | "CMD-SHELL"] => return refuse("command", "lacks what is to be run".to_owned()),
        ["CMD-SHELL", _, _, ..] => return refuse("command", "CMD-SHELL takes one command line".to_owned()),
        _ => {}
    }
    let name = container.name.as_deref().unwrap_or_default();
    for (words, value, range) in [
        ("interval", health_check.interval, INTERVAL),
        ("timeout", health_check.timeout, TIMEOUT),
        ("retries", health_check.retries, RETRIES),
        ("start period", health_check.start_period, START_PERIOD),
    ] {
        let bound = match value {
            Some(value) if value > *range.end() => {
                format!("less than or equal to the maximum allowed value {}", range.end())
            }
            Some(value) if value < *range.start() => {
                format!("greater than or equal to the minimum allowed value {}", range.start())
            }
            _ => continue,
        };
        let text = format!("Health check {words} must be {bound} for container '{name}'");
        return Err(Error::client_exception(text));
    }
    Ok(())
}
