//! What a service may ask for: the rules of CreateService and UpdateService.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::table::ServiceRow;
use crate::error::invalid;
use crate::task::{constraint::Constraints, strategy};

/// Tasks of a service (Amazon ECS service quotas).
const TASKS_MAX: i32 = 5000;
const HOOKS_MAX: usize = 20;
const ALARMS_MAX: usize = 10;
/// What a service is told that runs one task an instance.
pub(super) const NO_DESIRED_COUNT: &str = "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again";
const BAKE_MINUTES_MAX: i32 = 1440;

/// Settings that would change where traffic or names go must not be passed over in silence.
pub(super) fn unsupported(fields: &[(&str, bool)]) -> Result<(), Error> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(invalid(format!("{field}: Estiva does not support it yet"))),
        None => Ok(()),
    }
}

/// The same for a CreateServiceRequest or an UpdateServiceRequest, which have these fields in common.
macro_rules! supported {
    ($input:expr) => {
        $crate::service::check::unsupported(&[
            ("loadBalancers", $crate::service::check::given($input.load_balancers.as_ref())),
            ("serviceRegistries", $crate::service::check::given($input.service_registries.as_ref())),
            ("serviceConnectConfiguration", $input.service_connect_configuration.as_ref().is_some_and(|it| it.enabled)),
            ("volumeConfigurations", $crate::service::check::given($input.volume_configurations.as_ref())),
            ("vpcLatticeConfigurations", $crate::service::check::given($input.vpc_lattice_configurations.as_ref())),
            ("gatewayConnectors", $crate::service::check::given($input.gateway_connectors.as_ref())),
            ("monitoring", $input.monitoring.is_some()),
        ])
    };
}
pub(super) use supported;

pub(super) fn given<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// A number of tasks.
pub(super) fn desired_count(count: i32) -> Result<u32, Error> {
    if !(0..=TASKS_MAX).contains(&count) {
        return Err(invalid(format!("desiredCount: must be from 0 to {TASKS_MAX}.")));
    }
    Ok(u32::try_from(count).unwrap_or(0))
}

/// Checks the service as it is to be, with its defaults filled in.
pub(super) fn service(row: &ServiceRow) -> Result<(), Error> {
    let settings = &row.settings;
    let constraints = settings.placement_constraints.as_deref();
    Constraints::parse(constraints, None)?;
    strategy::parse(settings.placement_strategy.as_deref())?;
    let fargate = row.launch_type() == api::LaunchType::Fargate;
    if fargate && given(settings.placement_constraints.as_ref()) {
        return Err(invalid("Placement constraints are not supported with FARGATE launch type."));
    }
    if fargate && given(settings.placement_strategy.as_ref()) {
        return Err(invalid("Placement strategies are not supported with FARGATE launch type."));
    }
    if settings.platform_version.is_some() && !fargate {
        return Err(invalid("The platform version must be null when specifying an EC2 launch type."));
    }
    if settings.health_check_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        return Err(invalid("healthCheckGracePeriodSeconds: must not be negative."));
    }
    if row.is_daemon {
        daemon(row, fargate)?;
    }
    if let Some(configuration) = &settings.deployment_configuration {
        deployment_configuration(configuration, row)?;
    }
    if settings.availability_zone_rebalancing == Some(api::AvailabilityZoneRebalancing::Enabled) {
        rebalancing(row)?;
    }
    Ok(())
}

fn daemon(row: &ServiceRow, fargate: bool) -> Result<(), Error> {
    let settings = &row.settings;
    if fargate {
        return Err(invalid("The daemon scheduling strategy is not supported for FARGATE launch type."));
    }
    if given(settings.placement_strategy.as_ref()) {
        return Err(invalid(
            "The daemon scheduling strategy does not support placement strategies. Remove the placement strategy and try again",
        ));
    }
    if row.is_external {
        return Err(invalid("The daemon scheduling strategy is not supported for the EXTERNAL deployment controller."));
    }
    if row.percents().1 != 100 {
        return Err(invalid(
            "The daemon scheduling strategy does not support values above 100 for maximumPercent on a deployment configuration. \
            Change the maximumPercent value to 100, and try again",
        ));
    }
    Ok(())
}

/// Why a service that asks for it cannot have its tasks evened out over availability zones.
pub(super) fn no_rebalancing(row: &ServiceRow) -> Option<&'static str> {
    let spreads_elsewhere = row.settings.placement_strategy.as_deref().unwrap_or_default().first().is_some_and(|it| {
        let field = it.field.as_deref().unwrap_or_default();
        it.r#type != Some(api::PlacementStrategyType::Spread) || field != "attribute:ecs.availability-zone"
    });
    let constraints = row.settings.placement_constraints.as_deref().unwrap_or_default();
    let of_zone = |it: &api::PlacementConstraint| {
        it.expression.as_deref().is_some_and(|expression| expression.contains("ecs.availability-zone"))
    };
    if row.is_daemon {
        Some("the daemon scheduling strategy")
    } else if row.is_external || row.launch_type() == api::LaunchType::External {
        Some("the EXTERNAL launch type or deployment controller")
    } else if row.percents().1 <= 100 {
        Some("a maximumPercent of 100 or less")
    } else if spreads_elsewhere {
        Some("a placement strategy that does not spread over availability zones first")
    } else if constraints.iter().any(of_zone) {
        Some("a placement constraint on availability zones")
    } else {
        None
    }
}

fn rebalancing(row: &ServiceRow) -> Result<(), Error> {
    if row.is_daemon {
        return Err(invalid(
            "The service couldn't be created because Availability Zone Rebalancing does not support DAEMON as scheduling \
            strategy. Update scheduling strategy and try again.",
        ));
    }
    match no_rebalancing(row) {
        Some(reason) => Err(invalid(format!("Availability Zone rebalancing is not supported with {reason}."))),
        None => Ok(()),
    }
}

/// What a request says of percents; a service that an earlier version took stays as it is.
pub(super) fn percents(configuration: Option<&api::DeploymentConfiguration>) -> Result<(), Error> {
    if configuration.and_then(|it| it.minimum_healthy_percent).is_some_and(|percent| percent > 100) {
        return Err(invalid("minimumHealthyPercent must be at most 100"));
    }
    Ok(())
}

fn deployment_configuration(configuration: &api::DeploymentConfiguration, row: &ServiceRow) -> Result<(), Error> {
    let (minimum, maximum) = (configuration.minimum_healthy_percent, configuration.maximum_percent);
    if minimum.is_some_and(|percent| percent < 0) || maximum.is_some_and(|percent| percent < 0) {
        return Err(invalid("minimumHealthyPercent and maximumPercent must not be negative."));
    }
    let (minimum, maximum) = row.percents();
    if !row.is_daemon && maximum < 100 {
        return Err(invalid("maximumPercent must be at least 100"));
    }
    if minimum > maximum {
        return Err(invalid("minimumHealthyPercent must not be greater than maximumPercent."));
    }
    if configuration.strategy.is_some_and(|strategy| strategy != api::DeploymentStrategy::Rolling) {
        return Err(invalid("deploymentConfiguration.strategy: Estiva supports ROLLING alone yet"));
    }
    for (field, given, strategy) in [
        ("linearConfiguration", configuration.linear_configuration.is_some(), "LINEAR"),
        ("canaryConfiguration", configuration.canary_configuration.is_some(), "CANARY"),
    ] {
        if given {
            return Err(invalid(format!("{field}: can be given with the deployment strategy {strategy} alone.")));
        }
    }
    let breaker = configuration.deployment_circuit_breaker.as_ref();
    if breaker.and_then(|it| it.threshold_configuration.as_ref()).is_some_and(|threshold| threshold.value < 1) {
        return Err(invalid("thresholdConfiguration: value must be 1 or more."));
    }
    if configuration.bake_time_in_minutes.is_some_and(|minutes| !(0..=BAKE_MINUTES_MAX).contains(&minutes)) {
        return Err(invalid(format!("bakeTimeInMinutes: must be from 0 to {BAKE_MINUTES_MAX}.")));
    }
    let alarms = configuration.alarms.as_ref();
    if alarms.is_some_and(|alarms| alarms.enable && !(1..=ALARMS_MAX).contains(&alarms.alarm_names.len())) {
        return Err(invalid(format!("alarms: 1 to {ALARMS_MAX} alarm names must be given.")));
    }
    let early = configuration.early_success_criteria.as_ref().and_then(|criteria| criteria.healthy_percent);
    if early.is_some_and(|percent| !(1..=100).contains(&percent)) {
        return Err(invalid("earlySuccessCriteria: healthyPercent must be from 1 to 100."));
    }
    if row.is_external && (breaker.is_some_and(|it| it.enable) || alarms.is_some_and(|it| it.enable)) {
        return Err(invalid(
            "deploymentCircuitBreaker and alarms are not supported with the EXTERNAL deployment controller.",
        ));
    }
    let hooks = configuration.lifecycle_hooks.as_deref().unwrap_or_default();
    if hooks.len() > HOOKS_MAX {
        return Err(invalid(format!("lifecycleHooks: at most {HOOKS_MAX} are allowed.")));
    }
    hooks.iter().try_for_each(super::hook::check)
}
