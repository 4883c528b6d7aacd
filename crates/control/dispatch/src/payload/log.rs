//! A container's log configuration: ECS's words turned into Docker's.

use estiva_agent_protocol::task::docker::LogConfig;
use estiva_api_ecs::types as api;
use estiva_ecs::task::table::TaskRow;

use super::Context;

const PREFIX: &str = "awslogs-stream-prefix";

pub(super) fn config(row: &TaskRow, container: &str, log: &api::LogConfiguration, context: &Context<'_>) -> LogConfig {
    let mut config = log.options.clone().unwrap_or_default();
    let mut default = |name: &str, value: &str| {
        config.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    if takes_mode(log.log_driver, context.node.own) {
        // The account decides on the mode where the task definition does not.
        default("mode", context.log_mode);
    }
    if log.log_driver == api::LogDriver::Awslogs {
        if !context.node.own {
            // Docker would ask EC2 for the region, and look for AWS itself.
            default("awslogs-endpoint", &context.node.endpoint);
            default("awslogs-region", row.scope.region.as_str());
        }
        // Docker does not know the prefix, and refuses it.
        if let Some(prefix) = config.remove(PREFIX).filter(|prefix| !prefix.is_empty()) {
            config.insert("awslogs-stream".to_owned(), format!("{prefix}/{container}/{}", row.id));
        }
    }
    LogConfig { driver: log.log_driver.as_str().to_owned(), config }
}

/// Whether `mode` is an option of the driver. AWS's agent writes every option of awsfirelens into the output of the log router, which
/// refuses what it does not know; Estiva's agent takes this one for itself.
fn takes_mode(driver: api::LogDriver, own: bool) -> bool {
    match driver {
        api::LogDriver::JsonFile => false,
        api::LogDriver::Awsfirelens => own,
        _ => true,
    }
}
