//! What CreateCluster and UpdateCluster say of a cluster.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::handlers::{connect_defaults, settings};
use super::table::ClusterRow;
use crate::capacity_provider::{self, StrategyItem};
use crate::error::invalid;

/// Checks where the sessions of ExecuteCommand are to be logged.
pub(super) fn check_configuration(configuration: Option<&api::ClusterConfiguration>) -> Result<(), Error> {
    let Some(execute) = configuration.and_then(|it| it.execute_command_configuration.as_ref()) else { return Ok(()) };
    let is_override = execute.logging == Some(api::ExecuteCommandLogging::Override);
    match &execute.log_configuration {
        Some(_) if !is_override => {
            Err(invalid("You must set logging to 'OVERRIDE' when you supply a log configuration."))
        }
        logs if is_override => {
            let is_given = |name: Option<&String>| name.is_some_and(|name| !name.is_empty());
            let group = is_given(logs.as_ref().and_then(|it| it.cloud_watch_log_group_name.as_ref()));
            if group || is_given(logs.as_ref().and_then(|it| it.s3_bucket_name.as_ref())) {
                return Ok(());
            }
            Err(invalid(
                "A CloudWatch log group name or S3 bucket name must be specified when overriding the default log configuration",
            ))
        }
        _ => Ok(()),
    }
}

/// Checks that a repeated call says nothing else of a cluster than what it is. What the call leaves out may be anything.
pub(super) fn check_same(row: &ClusterRow, input: &api::CreateClusterRequest) -> Result<(), Error> {
    let names = |providers: &[String]| {
        let names = providers.iter().map(|it| capacity_provider::name_of(&row.scope, it).unwrap_or(it).to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let item = |item: &api::CapacityProviderStrategyItem| {
        let name = capacity_provider::name_of(&row.scope, &item.capacity_provider);
        StrategyItem { capacity_provider: name.unwrap_or_default().to_owned(), ..StrategyItem::of(item) }
    };
    let providers = input.capacity_providers.as_deref().unwrap_or_default();
    let strategy = input.default_capacity_provider_strategy.as_deref().unwrap_or_default();
    let settings = settings(input.settings.as_deref().unwrap_or_default())?;
    let defaults = input.service_connect_defaults.as_ref().map(connect_defaults);
    let is_same = (providers.is_empty() || names(providers) == names(&row.capacity_providers))
        && (strategy.is_empty() || strategy.iter().map(item).eq(row.default_strategy.iter().cloned()))
        && settings.iter().all(|setting| row.settings.contains(setting))
        && (input.configuration.is_none() || input.configuration == row.configuration)
        && (defaults.is_none() || defaults == row.service_connect_defaults);
    if is_same {
        return Ok(());
    }
    Err(invalid("Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."))
}
