//! Task sets of services whose owner deploys by itself.

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types as api;

use super::Answer;
use super::service::{Share, launch_type, network, strategy};
use crate::cluster::Cluster;
use crate::definition::Capacity;
use crate::plane::request;

/// The cluster of every run.
const CLUSTER: &str = "default";

/// A task set to be created.
#[derive(Debug, Clone)]
pub struct TaskSet {
    /// The family, or family and revision.
    pub definition: String,
    /// Percent of the service's desired count.
    pub scale: f64,
    /// What its tasks run on.
    pub capacity: Capacity,
    /// The providers that its tasks are shared out among; none: a launch type.
    pub shares: Vec<Share>,
}

impl Cluster {
    /// Creates a task set; gives its id.
    pub async fn create_task_set(&self, service: &str, set: &TaskSet) -> Answer<Option<String>> {
        let input = api::CreateTaskSetRequest {
            cluster: CLUSTER.to_owned(),
            service: service.to_owned(),
            task_definition: set.definition.clone(),
            scale: Some(percent(set.scale)),
            network_configuration: network(set.capacity),
            launch_type: launch_type(set.capacity).filter(|_| set.shares.is_empty()),
            capacity_provider_strategy: (!set.shares.is_empty()).then(|| strategy(&set.shares)),
            ..api::CreateTaskSetRequest::default()
        };
        let answer = self.plane.call(|ecs| async move { ecs.create_task_set(request(input)).await }).await?;
        Ok(answer.task_set.and_then(|set| set.id))
    }

    /// Changes how many tasks a task set has.
    pub async fn scale_task_set(&self, service: &str, set: &str, scale: f64) -> Answer<()> {
        let input = api::UpdateTaskSetRequest {
            cluster: CLUSTER.to_owned(),
            service: service.to_owned(),
            task_set: set.to_owned(),
            scale: percent(scale),
        };
        self.plane.call(|ecs| async move { ecs.update_task_set(request(input)).await }).await.map(drop)
    }

    /// Makes a task set the PRIMARY one.
    pub async fn promote_task_set(&self, service: &str, set: &str) -> Answer<()> {
        let input = api::UpdateServicePrimaryTaskSetRequest {
            cluster: CLUSTER.to_owned(),
            service: service.to_owned(),
            primary_task_set: set.to_owned(),
        };
        self.plane.call(|ecs| async move { ecs.update_service_primary_task_set(request(input)).await }).await.map(drop)
    }

    /// Deletes a task set, whatever it runs.
    pub async fn delete_task_set(&self, service: &str, set: &str) -> Answer<()> {
        let input = api::DeleteTaskSetRequest {
            cluster: CLUSTER.to_owned(),
            service: service.to_owned(),
            task_set: set.to_owned(),
            force: Some(true),
        };
        self.plane.call(|ecs| async move { ecs.delete_task_set(request(input)).await }).await.map(drop)
    }
}

fn percent(value: f64) -> api::Scale {
    api::Scale { unit: Some(api::ScaleUnit::Percent), value: Some(value) }
}
