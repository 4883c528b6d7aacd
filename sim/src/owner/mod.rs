//! What the account's owner calls: operations with the few parameters that runs need.

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types as api;

use crate::cluster::Cluster;
use crate::definition::{Capacity, Definition};
use crate::plane::{CallError, request};

mod service;
mod task_set;

pub use service::{Change, Constraint, Hook, Kind, Placement, Service, Share, Strategy};
pub use task_set::TaskSet;

type Answer<T> = Result<T, CallError>;

/// Tasks to be run that are no service's.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The family, or family and revision.
    pub definition: String,
    /// How many.
    pub count: i32,
    /// What they run on.
    pub capacity: Capacity,
    /// The providers that they are shared out among; none: a launch type.
    pub shares: Vec<Share>,
    /// How long each may run, in seconds.
    pub timeout: Option<u64>,
    /// How many of the family may run at one time.
    pub concurrency: Option<usize>,
}

impl Cluster {
    /// Registers a revision.
    pub async fn define(&self, definition: &Definition) -> Answer<api::RegisterTaskDefinitionResponse> {
        let input = definition.input();
        self.plane.call(|ecs| async move { ecs.register_task_definition(request(input)).await }).await
    }

    /// Creates the cluster, with Fargate's providers.
    pub async fn create(&self) -> Answer<()> {
        let input = api::CreateClusterRequest {
            capacity_providers: Some(vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()]),
            ..api::CreateClusterRequest::default()
        };
        self.plane.call(|ecs| async move { ecs.create_cluster(request(input)).await }).await.map(drop)
    }

    /// Runs tasks; gives the ARNs of those that were placed.
    pub async fn run_task(&self, definition: &str, count: i32) -> Answer<Vec<String>> {
        self.run(&Run { definition: definition.to_owned(), count, ..Run::default() }).await
    }

    /// Runs tasks; gives the ARNs of those that were placed.
    pub async fn run(&self, run: &Run) -> Answer<Vec<String>> {
        let tag = |key: &str, value: String| api::Tag { key: Some(key.to_owned()), value: Some(value) };
        let timeout = run.timeout.map(|seconds| tag("estiva:timeout", format!("{seconds}s")));
        let concurrency = run.concurrency.map(|count| tag("estiva:concurrency", count.to_string()));
        let input = api::RunTaskRequest {
            task_definition: run.definition.clone(),
            count: Some(run.count),
            network_configuration: service::network(run.capacity),
            launch_type: service::launch_type(run.capacity).filter(|_| run.shares.is_empty()),
            capacity_provider_strategy: (!run.shares.is_empty()).then(|| service::strategy(&run.shares)),
            tags: Some(timeout.into_iter().chain(concurrency).collect()),
            ..api::RunTaskRequest::default()
        };
        let answer = self.plane.call(|ecs| async move { ecs.run_task(request(input)).await }).await?;
        Ok(answer.tasks.into_iter().flatten().filter_map(|task| task.task_arn).collect())
    }

    /// Protects tasks for so many minutes, or no more.
    pub async fn protect(&self, task: &str, minutes: Option<i32>) -> Answer<()> {
        let input = api::UpdateTaskProtectionRequest {
            cluster: "default".to_owned(),
            tasks: vec![task.to_owned()],
            protection_enabled: minutes.is_some(),
            expires_in_minutes: minutes,
        };
        self.plane.call(|ecs| async move { ecs.update_task_protection(request(input)).await }).await.map(drop)
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

    /// Creates a service.
    pub async fn create_service(&self, service: &Service) -> Answer<()> {
        let input = service.input();
        self.plane.call(|ecs| async move { ecs.create_service(request(input)).await }).await.map(drop)
    }

    /// Changes a service.
    pub async fn update_service(&self, name: &str, change: Change) -> Answer<()> {
        let input = change.input(name);
        self.plane.call(|ecs| async move { ecs.update_service(request(input)).await }).await.map(drop)
    }

    /// Deletes a service, whatever it runs.
    pub async fn delete_service(&self, name: &str) -> Answer<()> {
        let input = api::DeleteServiceRequest {
            service: name.to_owned(),
            force: Some(true),
            ..api::DeleteServiceRequest::default()
        };
        self.plane.call(|ecs| async move { ecs.delete_service(request(input)).await }).await.map(drop)
    }

    /// Stops the service deployment with this ARN.
    pub async fn stop_deployment(&self, deployment: &str, rolls_back: bool) -> Answer<()> {
        let kind = if rolls_back {
            api::StopServiceDeploymentStopType::Rollback
        } else {
            api::StopServiceDeploymentStopType::Abort
        };
        let input =
            api::StopServiceDeploymentRequest { service_deployment_arn: deployment.to_owned(), stop_type: Some(kind) };
        self.plane.call(|ecs| async move { ecs.stop_service_deployment(request(input)).await }).await.map(drop)
    }

    /// Answers the hook that holds up the service deployment with this ARN.
    pub async fn continue_deployment(&self, deployment: &str, hook: &str, rolls_back: bool) -> Answer<()> {
        let action = if rolls_back {
            api::DeploymentLifecycleHookAction::Rollback
        } else {
            api::DeploymentLifecycleHookAction::Continue
        };
        let input = api::ContinueServiceDeploymentRequest {
            service_deployment_arn: deployment.to_owned(),
            hook_id: hook.to_owned(),
            action: Some(action),
        };
        self.plane.call(|ecs| async move { ecs.continue_service_deployment(request(input)).await }).await.map(drop)
    }
}
