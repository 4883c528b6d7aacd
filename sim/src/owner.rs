//! What the account's owner calls: operations with the few parameters that runs need.

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types as api;

use crate::cluster::Cluster;
use crate::definition::Definition;
use crate::plane::{CallError, request};

type Answer<T> = Result<T, CallError>;

impl Cluster {
    /// Registers a revision.
    pub async fn define(&self, definition: &Definition) -> Answer<api::RegisterTaskDefinitionResponse> {
        let input = definition.input();
        self.plane.call(|ecs| async move { ecs.register_task_definition(request(input)).await }).await
    }

    /// Runs tasks; gives the ARNs of those that were placed.
    pub async fn run_task(&self, definition: &str, count: i32) -> Answer<Vec<String>> {
        let input = api::RunTaskRequest {
            task_definition: definition.to_owned(),
            count: Some(count),
            ..api::RunTaskRequest::default()
        };
        let answer = self.plane.call(|ecs| async move { ecs.run_task(request(input)).await }).await?;
        Ok(answer.tasks.into_iter().flatten().filter_map(|task| task.task_arn).collect())
    }

    /// Stops a task.
    pub async fn stop_task(&self, task: &str) -> Answer<()> {
        let input = api::StopTaskRequest { task: task.to_owned(), ..api::StopTaskRequest::default() };
        self.plane.call(|ecs| async move { ecs.stop_task(request(input)).await }).await.map(drop)
    }

    /// Sets a container instance ACTIVE or DRAINING.
    pub async fn set_state(&self, instance: &str, is_draining: bool) -> Answer<()> {
        let status =
            if is_draining { api::ContainerInstanceStatus::Draining } else { api::ContainerInstanceStatus::Active };
        let input = api::UpdateContainerInstancesStateRequest {
            container_instances: vec![instance.to_owned()],
            status,
            ..api::UpdateContainerInstancesStateRequest::default()
        };
        self.plane.call(|ecs| async move { ecs.update_container_instances_state(request(input)).await }).await.map(drop)
    }

    /// Deregisters a container instance, whatever runs there.
    pub async fn deregister(&self, instance: &str) -> Answer<()> {
        let input = api::DeregisterContainerInstanceRequest {
            container_instance: instance.to_owned(),
            force: Some(true),
            ..api::DeregisterContainerInstanceRequest::default()
        };
        self.plane.call(|ecs| async move { ecs.deregister_container_instance(request(input)).await }).await.map(drop)
    }
}
