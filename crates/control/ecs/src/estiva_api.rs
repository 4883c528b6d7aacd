//! Which handler answers which operation of Estiva's own API.

use async_trait::async_trait;
use estiva_api_estiva::{Error, Estiva, types};
use estiva_schema::Request;

use crate::EcsService;
use crate::image_pull;
use crate::service;
use crate::task::{history, usage};

#[async_trait]
impl Estiva for EcsService {
    async fn describe_task_history(
        &self,
        request: Request<types::DescribeTaskHistoryRequest>,
    ) -> Result<types::DescribeTaskHistoryResponse, Error> {
        history::describe(self, request)
    }

    async fn list_service_events(
        &self,
        request: Request<types::ListServiceEventsRequest>,
    ) -> Result<types::ListServiceEventsResponse, Error> {
        service::list_events(self, &request)
    }

    async fn list_task_usage(
        &self,
        request: Request<types::ListTaskUsageRequest>,
    ) -> Result<types::ListTaskUsageResponse, Error> {
        usage::list(self, &request)
    }

    async fn start_image_pull(
        &self,
        request: Request<types::StartImagePullRequest>,
    ) -> Result<types::StartImagePullResponse, Error> {
        image_pull::start(self, request).await
    }

    async fn describe_image_pull(
        &self,
        request: Request<types::DescribeImagePullRequest>,
    ) -> Result<types::DescribeImagePullResponse, Error> {
        image_pull::describe(self, &request)
    }
}
