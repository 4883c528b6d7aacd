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

    /// Creates a service.
    pub async fn create_service(&self, service: &Service) -> Answer<()> {
        let input = service.input();
        self.plane.call(|ecs| async move { ecs.create_service(request(input)).await }).await.map(drop)
    }

    /// Changes a service.
    pub async fn update_service(&self, name: &str, change: Change) -> Answer<()> {
        let input = api::UpdateServiceRequest {
            service: name.to_owned(),
            task_definition: change.definition,
            desired_count: change.desired,
            force_new_deployment: Some(change.is_forced),
            ..api::UpdateServiceRequest::default()
        };
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
}

/// A service to be created.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The family, or family and revision.
    pub definition: String,
    /// How many tasks; of a DAEMON it is not asked.
    pub desired: i32,
    /// minimumHealthyPercent and maximumPercent.
    pub percents: (i32, i32),
    /// One task on each container instance instead.
    pub is_daemon: bool,
    /// Whether the circuit breaker is on, and rolls back.
    pub has_breaker: bool,
}

/// What changes of a service; nothing of what is absent.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The family, or family and revision.
    pub definition: Option<String>,
    /// How many tasks.
    pub desired: Option<i32>,
    /// Whether tasks are replaced though nothing else changes.
    pub is_forced: bool,
}

impl Service {
    /// With ECS's defaults.
    pub fn new(name: &str, definition: &str, desired: i32) -> Self {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        Self { name, definition, desired, percents: (100, 200), is_daemon: false, has_breaker: false }
    }

    fn input(&self) -> api::CreateServiceRequest {
        let (minimum, maximum) = self.percents;
        let breaker = api::DeploymentCircuitBreaker {
            enable: self.has_breaker,
            rollback: self.has_breaker,
            ..api::DeploymentCircuitBreaker::default()
        };
        let configuration = api::DeploymentConfiguration {
            minimum_healthy_percent: Some(minimum),
            maximum_percent: Some(maximum),
            deployment_circuit_breaker: Some(breaker),
            ..api::DeploymentConfiguration::default()
        };
        api::CreateServiceRequest {
            service_name: self.name.clone(),
            task_definition: Some(self.definition.clone()),
            desired_count: (!self.is_daemon).then_some(self.desired),
            scheduling_strategy: self.is_daemon.then_some(api::SchedulingStrategy::Daemon),
            deployment_configuration: Some(configuration),
            ..api::CreateServiceRequest::default()
        }
    }
}
