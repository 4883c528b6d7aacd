//! ECS's API: where its state is, and which handler answers which operation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estiva_api_ecs::{Ecs, Error, types};
use estiva_model::Ambient;
use estiva_schema::{OwnerOnly, Request, ResourceAuthorizer};
use estiva_store::Store;

use crate::alarm::{AlarmStates, NoAlarms};
use crate::container_instance::loss::LossController;
use crate::page::PageTokens;
use crate::service::controller::ServiceController;
use crate::task::limit::TimeoutController;
use crate::task::placement::Placer;
use crate::task::usage::Usages;
use crate::{
    account_setting, attribute, capacity_provider, cluster, container_instance, exec_session, service, tag, task,
    task_definition,
};

/// What an installation decides about its ECS.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where agents find the server, as a URL without a trailing slash: DiscoverPollEndpoint's answer.
    pub endpoint: String,
    /// How long stopped tasks, and the client tokens of calls, are kept. ECS keeps tasks for an hour at least.
    pub task_retention: Duration,
    /// After how long in RUNNING a service counts a task without any health check as healthy. ECS: 40 s.
    pub healthy_after: Duration,
    /// For how long a container instance whose agent is not connected is waited for before its services' tasks are replaced.
    pub lost_node_after: Duration,
}

impl Default for Options {
    /// ECS's own times, and no endpoint.
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            task_retention: Duration::from_secs(3600),
            healthy_after: Duration::from_secs(40),
            lost_node_after: Duration::from_secs(60),
        }
    }
}

/// ECS over a store. Clones are the same service.
#[derive(Clone)]
pub struct EcsService {
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) usages: Usages,
    pub(crate) ambient: Ambient,
    pub(crate) placer: Arc<Placer>,
    pub(crate) alarms: Arc<dyn AlarmStates>,
    pub(crate) access: Arc<dyn ResourceAuthorizer>,
    pub(crate) tokens: PageTokens,
}

impl EcsService {
    /// On a store whose schema has this crate's tables.
    pub fn new(store: Store, options: Options, ambient: Ambient) -> Self {
        let placer = Arc::new(Placer::new(ambient.clone()));
        Self {
            store,
            options,
            usages: Usages::default(),
            ambient,
            placer,
            alarms: Arc::new(NoAlarms),
            access: Arc::new(OwnerOnly),
            tokens: PageTokens::new(rand::random()),
        }
    }

    /// The same, with another judge of who may see and change which resources than one that lets the owner alone.
    #[must_use]
    pub fn with_access(mut self, access: Arc<dyn ResourceAuthorizer>) -> Self {
        self.access = access;
        self
    }

    /// Where the node protocol puts what nodes measure.
    pub fn usages(&self) -> Usages {
        self.usages.clone()
    }

    /// The same, with a key for the tokens of pages that outlives a restart, and so do the tokens.
    #[must_use]
    pub fn with_page_key(mut self, key: [u8; 32]) -> Self {
        self.tokens = PageTokens::new(key);
        self
    }

    /// The same, with somebody who keeps alarms.
    #[must_use]
    pub fn with_alarms(mut self, alarms: Arc<dyn AlarmStates>) -> Self {
        self.alarms = alarms;
        self
    }

    /// Keeps services' promises, and forgets stopped tasks and client tokens once they are old enough, for as long as it is
    /// polled.
    pub async fn run(&self) {
        let services =
            ServiceController::new(Arc::clone(&self.placer), self.options.healthy_after, Arc::clone(&self.alarms));
        let losses = LossController::new(self.ambient.clone(), self.options.lost_node_after);
        let timeouts = TimeoutController::new(self.ambient.clone());
        tokio::join!(
            task::retention::run(self),
            estiva_reconcile::run(&self.store, &self.ambient, services),
            estiva_reconcile::run(&self.store, &self.ambient, losses),
            estiva_reconcile::run(&self.store, &self.ambient, timeouts),
        );
    }
}

#[async_trait]
impl Ecs for EcsService {
    async fn create_cluster(
        &self,
        request: Request<types::CreateClusterRequest>,
    ) -> Result<types::CreateClusterResponse, Error> {
        cluster::handlers::create(self, request).await
    }

    async fn describe_clusters(
        &self,
        request: Request<types::DescribeClustersRequest>,
    ) -> Result<types::DescribeClustersResponse, Error> {
        cluster::handlers::describe(self, &request)
    }

    async fn list_clusters(
        &self,
        request: Request<types::ListClustersRequest>,
    ) -> Result<types::ListClustersResponse, Error> {
        cluster::handlers::list(self, &request)
    }

    async fn update_cluster(
        &self,
        request: Request<types::UpdateClusterRequest>,
    ) -> Result<types::UpdateClusterResponse, Error> {
        cluster::handlers::update(self, request).await
    }

    async fn update_cluster_settings(
        &self,
        request: Request<types::UpdateClusterSettingsRequest>,
    ) -> Result<types::UpdateClusterSettingsResponse, Error> {
        cluster::handlers::update_settings(self, request).await
    }

    async fn delete_cluster(
        &self,
        request: Request<types::DeleteClusterRequest>,
    ) -> Result<types::DeleteClusterResponse, Error> {
        cluster::handlers::delete(self, request).await
    }

    async fn register_task_definition(
        &self,
        request: Request<types::RegisterTaskDefinitionRequest>,
    ) -> Result<types::RegisterTaskDefinitionResponse, Error> {
        task_definition::handlers::register(self, request).await
    }

    async fn describe_task_definition(
        &self,
        request: Request<types::DescribeTaskDefinitionRequest>,
    ) -> Result<types::DescribeTaskDefinitionResponse, Error> {
        task_definition::handlers::describe(self, &request)
    }

    async fn list_task_definitions(
        &self,
        request: Request<types::ListTaskDefinitionsRequest>,
    ) -> Result<types::ListTaskDefinitionsResponse, Error> {
        task_definition::handlers::list(self, &request)
    }

    async fn list_task_definition_families(
        &self,
        request: Request<types::ListTaskDefinitionFamiliesRequest>,
    ) -> Result<types::ListTaskDefinitionFamiliesResponse, Error> {
        task_definition::handlers::list_families(self, &request)
    }

    async fn deregister_task_definition(
        &self,
        request: Request<types::DeregisterTaskDefinitionRequest>,
    ) -> Result<types::DeregisterTaskDefinitionResponse, Error> {
        task_definition::handlers::deregister(self, request).await
    }

    async fn delete_task_definitions(
        &self,
        request: Request<types::DeleteTaskDefinitionsRequest>,
    ) -> Result<types::DeleteTaskDefinitionsResponse, Error> {
        task_definition::handlers::delete(self, request).await
    }

    async fn run_task(&self, request: Request<types::RunTaskRequest>) -> Result<types::RunTaskResponse, Error> {
        task::run::run(self, request).await
    }

    async fn start_task(&self, request: Request<types::StartTaskRequest>) -> Result<types::StartTaskResponse, Error> {
        task::start::start(self, request).await
    }

    async fn stop_task(&self, request: Request<types::StopTaskRequest>) -> Result<types::StopTaskResponse, Error> {
        task::stop::stop(self, request).await
    }

    async fn describe_tasks(
        &self,
        request: Request<types::DescribeTasksRequest>,
    ) -> Result<types::DescribeTasksResponse, Error> {
        task::describe::describe(self, &request)
    }

    async fn list_tasks(&self, request: Request<types::ListTasksRequest>) -> Result<types::ListTasksResponse, Error> {
        task::list::list(self, &request)
    }

    async fn register_container_instance(
        &self,
        request: Request<types::RegisterContainerInstanceRequest>,
    ) -> Result<types::RegisterContainerInstanceResponse, Error> {
        container_instance::handlers::register(self, request).await
    }

    async fn deregister_container_instance(
        &self,
        request: Request<types::DeregisterContainerInstanceRequest>,
    ) -> Result<types::DeregisterContainerInstanceResponse, Error> {
        container_instance::handlers::deregister(self, request).await
    }

    async fn describe_container_instances(
        &self,
        request: Request<types::DescribeContainerInstancesRequest>,
    ) -> Result<types::DescribeContainerInstancesResponse, Error> {
        container_instance::handlers::describe(self, &request)
    }

    async fn list_container_instances(
        &self,
        request: Request<types::ListContainerInstancesRequest>,
    ) -> Result<types::ListContainerInstancesResponse, Error> {
        container_instance::handlers::list(self, &request)
    }

    async fn update_container_instances_state(
        &self,
        request: Request<types::UpdateContainerInstancesStateRequest>,
    ) -> Result<types::UpdateContainerInstancesStateResponse, Error> {
        container_instance::handlers::update_state(self, request).await
    }

    async fn discover_poll_endpoint(
        &self,
        request: Request<types::DiscoverPollEndpointRequest>,
    ) -> Result<types::DiscoverPollEndpointResponse, Error> {
        container_instance::handlers::discover_poll_endpoint(self, &request)
    }

    async fn submit_task_state_change(
        &self,
        request: Request<types::SubmitTaskStateChangeRequest>,
    ) -> Result<types::SubmitTaskStateChangeResponse, Error> {
        task::report::submit_task(self, request).await
    }

    async fn submit_container_state_change(
        &self,
        request: Request<types::SubmitContainerStateChangeRequest>,
    ) -> Result<types::SubmitContainerStateChangeResponse, Error> {
        task::report::submit_container(self, request).await
    }

    async fn submit_attachment_state_changes(
        &self,
        request: Request<types::SubmitAttachmentStateChangesRequest>,
    ) -> Result<types::SubmitAttachmentStateChangesResponse, Error> {
        task::report::submit_attachments(self, request).await
    }

    async fn put_attributes(
        &self,
        request: Request<types::PutAttributesRequest>,
    ) -> Result<types::PutAttributesResponse, Error> {
        attribute::handlers::put(self, request).await
    }

    async fn delete_attributes(
        &self,
        request: Request<types::DeleteAttributesRequest>,
    ) -> Result<types::DeleteAttributesResponse, Error> {
        attribute::handlers::delete(self, request).await
    }

    async fn list_attributes(
        &self,
        request: Request<types::ListAttributesRequest>,
    ) -> Result<types::ListAttributesResponse, Error> {
        attribute::handlers::list(self, &request)
    }

    async fn tag_resource(
        &self,
        request: Request<types::TagResourceRequest>,
    ) -> Result<types::TagResourceResponse, Error> {
        tag::handlers::tag(self, request).await
    }

    async fn untag_resource(
        &self,
        request: Request<types::UntagResourceRequest>,
    ) -> Result<types::UntagResourceResponse, Error> {
        tag::handlers::untag(self, request).await
    }

    async fn list_tags_for_resource(
        &self,
        request: Request<types::ListTagsForResourceRequest>,
    ) -> Result<types::ListTagsForResourceResponse, Error> {
        tag::handlers::list(self, &request)
    }

    async fn put_account_setting(
        &self,
        request: Request<types::PutAccountSettingRequest>,
    ) -> Result<types::PutAccountSettingResponse, Error> {
        account_setting::handlers::put(self, request).await
    }

    async fn put_account_setting_default(
        &self,
        request: Request<types::PutAccountSettingDefaultRequest>,
    ) -> Result<types::PutAccountSettingDefaultResponse, Error> {
        account_setting::handlers::put_default(self, request).await
    }

    async fn delete_account_setting(
        &self,
        request: Request<types::DeleteAccountSettingRequest>,
    ) -> Result<types::DeleteAccountSettingResponse, Error> {
        account_setting::handlers::delete(self, request).await
    }

    async fn list_account_settings(
        &self,
        request: Request<types::ListAccountSettingsRequest>,
    ) -> Result<types::ListAccountSettingsResponse, Error> {
        account_setting::handlers::list(self, &request)
    }

    async fn create_capacity_provider(
        &self,
        request: Request<types::CreateCapacityProviderRequest>,
    ) -> Result<types::CreateCapacityProviderResponse, Error> {
        capacity_provider::handlers::create(self, request).await
    }

    async fn update_capacity_provider(
        &self,
        request: Request<types::UpdateCapacityProviderRequest>,
    ) -> Result<types::UpdateCapacityProviderResponse, Error> {
        capacity_provider::handlers::update(self, request).await
    }

    async fn delete_capacity_provider(
        &self,
        request: Request<types::DeleteCapacityProviderRequest>,
    ) -> Result<types::DeleteCapacityProviderResponse, Error> {
        capacity_provider::handlers::delete(self, request).await
    }

    async fn describe_capacity_providers(
        &self,
        request: Request<types::DescribeCapacityProvidersRequest>,
    ) -> Result<types::DescribeCapacityProvidersResponse, Error> {
        capacity_provider::handlers::describe(self, &request)
    }

    async fn put_cluster_capacity_providers(
        &self,
        request: Request<types::PutClusterCapacityProvidersRequest>,
    ) -> Result<types::PutClusterCapacityProvidersResponse, Error> {
        cluster::handlers::put_capacity_providers(self, request).await
    }

    async fn get_task_protection(
        &self,
        request: Request<types::GetTaskProtectionRequest>,
    ) -> Result<types::GetTaskProtectionResponse, Error> {
        task::protection::get(self, &request)
    }

    async fn update_task_protection(
        &self,
        request: Request<types::UpdateTaskProtectionRequest>,
    ) -> Result<types::UpdateTaskProtectionResponse, Error> {
        task::protection::update(self, request).await
    }

    async fn update_container_agent(
        &self,
        request: Request<types::UpdateContainerAgentRequest>,
    ) -> Result<types::UpdateContainerAgentResponse, Error> {
        container_instance::handlers::update_agent(self, &request)
    }

    async fn execute_command(
        &self,
        request: Request<types::ExecuteCommandRequest>,
    ) -> Result<types::ExecuteCommandResponse, Error> {
        exec_session::handlers::execute(self, request).await
    }

    async fn create_service(
        &self,
        request: Request<types::CreateServiceRequest>,
    ) -> Result<types::CreateServiceResponse, Error> {
        service::create(self, request).await
    }

    async fn update_service(
        &self,
        request: Request<types::UpdateServiceRequest>,
    ) -> Result<types::UpdateServiceResponse, Error> {
        service::update(self, request).await
    }

    async fn delete_service(
        &self,
        request: Request<types::DeleteServiceRequest>,
    ) -> Result<types::DeleteServiceResponse, Error> {
        service::delete(self, request).await
    }

    async fn describe_services(
        &self,
        request: Request<types::DescribeServicesRequest>,
    ) -> Result<types::DescribeServicesResponse, Error> {
        service::describe(self, &request)
    }

    async fn list_services(
        &self,
        request: Request<types::ListServicesRequest>,
    ) -> Result<types::ListServicesResponse, Error> {
        service::list(self, &request)
    }

    async fn describe_service_deployments(
        &self,
        request: Request<types::DescribeServiceDeploymentsRequest>,
    ) -> Result<types::DescribeServiceDeploymentsResponse, Error> {
        service::deployment_operations::describe(self, &request)
    }

    async fn list_service_deployments(
        &self,
        request: Request<types::ListServiceDeploymentsRequest>,
    ) -> Result<types::ListServiceDeploymentsResponse, Error> {
        service::deployment_operations::list(self, &request)
    }

    async fn stop_service_deployment(
        &self,
        request: Request<types::StopServiceDeploymentRequest>,
    ) -> Result<types::StopServiceDeploymentResponse, Error> {
        service::deployment_operations::stop(self, request).await
    }

    async fn continue_service_deployment(
        &self,
        request: Request<types::ContinueServiceDeploymentRequest>,
    ) -> Result<types::ContinueServiceDeploymentResponse, Error> {
        service::deployment_operations::proceed(self, request).await
    }

    async fn describe_service_revisions(
        &self,
        request: Request<types::DescribeServiceRevisionsRequest>,
    ) -> Result<types::DescribeServiceRevisionsResponse, Error> {
        service::describe_revisions(self, &request)
    }

    async fn create_task_set(
        &self,
        request: Request<types::CreateTaskSetRequest>,
    ) -> Result<types::CreateTaskSetResponse, Error> {
        service::task_set_operations::create(self, request).await
    }

    async fn update_task_set(
        &self,
        request: Request<types::UpdateTaskSetRequest>,
    ) -> Result<types::UpdateTaskSetResponse, Error> {
        service::task_set_operations::update(self, request).await
    }

    async fn delete_task_set(
        &self,
        request: Request<types::DeleteTaskSetRequest>,
    ) -> Result<types::DeleteTaskSetResponse, Error> {
        service::task_set_operations::delete(self, request).await
    }

    async fn describe_task_sets(
        &self,
        request: Request<types::DescribeTaskSetsRequest>,
    ) -> Result<types::DescribeTaskSetsResponse, Error> {
        service::task_set_operations::describe(self, &request)
    }

    async fn update_service_primary_task_set(
        &self,
        request: Request<types::UpdateServicePrimaryTaskSetRequest>,
    ) -> Result<types::UpdateServicePrimaryTaskSetResponse, Error> {
        service::task_set_operations::set_primary(self, request).await
    }
}
