//! What a provider does with its Auto Scaling group: ranges and defaults of the API reference, ManagedScaling.

use std::ops::RangeInclusive;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use crate::error::invalid;

const TARGET_CAPACITY: RangeInclusive<i32> = 1..=100;
const STEP_SIZE: RangeInclusive<i32> = 1..=10_000;
const WARMUP_PERIOD: RangeInclusive<i32> = 0..=10_000;
const WARMUP_PERIOD_DEFAULT: i32 = 300;

/// The provider as it is kept, or why it cannot be one.
pub(super) fn filled_in(mut provider: api::AutoScalingGroupProvider) -> Result<api::AutoScalingGroupProvider, Error> {
    let scaling = provider.managed_scaling.get_or_insert_default();
    scaling.status.get_or_insert(api::ManagedScalingStatus::Disabled);
    let is_enabled = scaling.status == Some(api::ManagedScalingStatus::Enabled);
    if is_enabled {
        scaling.target_capacity.get_or_insert(*TARGET_CAPACITY.end());
        scaling.minimum_scaling_step_size.get_or_insert(*STEP_SIZE.start());
        scaling.maximum_scaling_step_size.get_or_insert(*STEP_SIZE.end());
        scaling.instance_warmup_period.get_or_insert(WARMUP_PERIOD_DEFAULT);
    }
    check(scaling)?;
    let protection = provider.managed_termination_protection.get_or_insert(api::ManagedTerminationProtection::Disabled);
    if *protection == api::ManagedTerminationProtection::Enabled && !is_enabled {
        return Err(invalid(
            "managedTerminationProtection: managed termination protection needs managed scaling to be enabled.",
        ));
    }
    provider.managed_draining.get_or_insert(api::ManagedDraining::Enabled);
    Ok(provider)
}

fn check(scaling: &api::ManagedScaling) -> Result<(), Error> {
    for (field, value, range) in [
        ("targetCapacity", scaling.target_capacity, TARGET_CAPACITY),
        ("minimumScalingStepSize", scaling.minimum_scaling_step_size, STEP_SIZE),
        ("maximumScalingStepSize", scaling.maximum_scaling_step_size, STEP_SIZE),
        ("instanceWarmupPeriod", scaling.instance_warmup_period, WARMUP_PERIOD),
    ] {
        if value.is_some_and(|value| !range.contains(&value)) {
            let (from, to) = (range.start(), range.end());
            return Err(invalid(format!("managedScaling.{field}: must be from {from} to {to}.")));
        }
    }
    if scaling.minimum_scaling_step_size > scaling.maximum_scaling_step_size {
        return Err(invalid("The minimum or maximum scaling step size value is invalid"));
    }
    Ok(())
}

/// Settings that an update names replace those that were.
pub(super) fn updated(
    mut provider: api::AutoScalingGroupProvider,
    update: &api::AutoScalingGroupProviderUpdate,
) -> Result<api::AutoScalingGroupProvider, Error> {
    if let Some(new) = &update.managed_scaling {
        let known = provider.managed_scaling.get_or_insert_default();
        known.status = new.status.or(known.status);
        known.target_capacity = new.target_capacity.or(known.target_capacity);
        known.minimum_scaling_step_size = new.minimum_scaling_step_size.or(known.minimum_scaling_step_size);
        known.maximum_scaling_step_size = new.maximum_scaling_step_size.or(known.maximum_scaling_step_size);
        known.instance_warmup_period = new.instance_warmup_period.or(known.instance_warmup_period);
    }
    provider.managed_termination_protection =
        update.managed_termination_protection.or(provider.managed_termination_protection);
    provider.managed_draining = update.managed_draining.or(provider.managed_draining);
    filled_in(provider)
}
