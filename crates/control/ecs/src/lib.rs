//! Amazon ECS: clusters, task definitions, tasks, container instances, attributes and tags.
//!
//! A handler checks a request, writes what is desired, and answers. What is observed comes back through
//! SubmitTaskStateChange: [`task::report`] is its sole writer. Nothing here talks to a node.

pub mod account_setting;
pub mod alarm;
mod attribute;
mod capacity_provider;
pub mod cluster;
pub mod container_instance;
mod ecs_api;
mod error;
mod estiva_api;
pub mod exec_session;
mod failure;
mod idempotency;
pub mod image_pull;
mod name;
mod page;
pub mod scope;
pub mod service;
mod tag;
pub mod task;
pub mod task_definition;
pub mod throttling;

pub use ecs_api::{EcsService, Options};

use estiva_store::Schema;

/// Adds this crate's tables.
pub fn tables(schema: Schema) -> Schema {
    schema
        .table::<account_setting::table::AccountSettingRow>()
        .table::<capacity_provider::table::CapacityProviderRow>()
        .table::<cluster::table::ClusterRow>()
        .table::<task_definition::table::TaskDefinitionRow>()
        .table::<task_definition::table::FamilyRow>()
        .table::<task::table::TaskRow>()
        .table::<task::table::TaskStatusRow>()
        .table::<task::protection::TaskProtectionRow>()
        .table::<task::table::ClientTokenRow>()
        .table::<container_instance::table::ContainerInstanceRow>()
        .table::<container_instance::table::ConnectionRow>()
        .table::<container_instance::table::ReservationRow>()
        .table::<container_instance::table::AddressRow>()
        .table::<service::table::ServiceRow>()
        .table::<service::table::ServiceRevisionRow>()
        .table::<service::rollout_table::RolloutRow>()
        .table::<service::rollout_table::ServiceDeploymentRow>()
        .table::<service::ServiceEventRow>()
        .table::<exec_session::table::ExecSessionRow>()
        .table::<image_pull::table::ImagePullRow>()
}

#[cfg(test)]
mod tests;
