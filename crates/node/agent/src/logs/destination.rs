//! The log group and stream that a container's output goes to.

use estiva_agent_protocol::task::Container;
use estiva_api_logs::types::{CreateLogGroupRequest, CreateLogStreamRequest};
use estiva_api_logs::{CreateLogGroup, CreateLogStream};
use estiva_model::Region;
use estiva_wire::client::{Client, ClientError, EndpointError};

use crate::engine::{ControlPlane, TranslateError, docker_config};

const ALREADY_EXISTS: &str = "ResourceAlreadyExistsException";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// Where a container's output goes.
#[derive(Clone)]
pub(super) struct Destination {
    /// CloudWatch Logs.
    pub client: Client,
    /// The log group.
    pub group: String,
    /// The log stream.
    pub stream: String,
    create_group: bool,
}

/// Why a container's output has nowhere to go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogSetupError {
    /// Docker's JSON is malformed.
    #[error(transparent)]
    Configuration(#[from] TranslateError),
    /// An option is missing or makes no sense.
    #[error("failed to initialize logging driver: {0}")]
    Option(String),
    /// `awslogs-endpoint` is no URL.
    #[error("failed to initialize logging driver: awslogs-endpoint")]
    Endpoint(#[from] EndpointError),
    /// CloudWatch Logs said no.
    #[error("failed to initialize logging driver: failed to create Cloudwatch log stream")]
    Service(#[source] ClientError),
    /// A driver's options make no sense.
    #[error("failed to initialize logging driver")]
    Driver(#[from] estiva_log_driver::OptionError),
    /// What a driver speaks with cannot be reached.
    #[error("failed to initialize logging driver")]
    Backend(#[source] estiva_log_driver::SendError),
}

impl Destination {
    /// The container's, or `None` if its driver is not awslogs.
    pub fn of(
        container: &Container,
        task_id: &str,
        runtime_id: &str,
        control_plane: &ControlPlane,
    ) -> Result<Option<Self>, LogSetupError> {
        let (_, host_config) = docker_config(container)?;
        let Some(config) = host_config.log_config.filter(|config| config.driver == "awslogs") else { return Ok(None) };
        let option = |name: &str| config.config.get(name).filter(|value| !value.is_empty());
        let group =
            option("awslogs-group").ok_or_else(|| LogSetupError::Option("awslogs-group is missing".to_owned()))?;
        // Without a name Docker gives the stream one: the container's. A prefix comes with tasks that a control plane of an
        // earlier version sent; today it names the stream itself.
        let stream = match option("awslogs-stream-prefix") {
            Some(prefix) => format!("{prefix}/{}/{task_id}", container.name),
            None => option("awslogs-stream").map_or_else(|| runtime_id.to_owned(), Clone::clone),
        };
        let client = match (option("awslogs-region"), option("awslogs-endpoint")) {
            (None, None) => control_plane.client.clone(),
            (region, endpoint) => {
                let region: Region = match region {
                    None => control_plane.region.clone(),
                    Some(name) => Region::parse(name)
                        .ok_or_else(|| LogSetupError::Option(format!("awslogs-region '{name}' is no region")))?,
                };
                match endpoint {
                    Some(endpoint) => Client::new(endpoint, control_plane.credentials.clone(), region)?,
                    None => control_plane.client.clone().with_region(region),
                }
            }
        };
        let create_group = option("awslogs-create-group").is_some_and(|value| value == "true");
        Ok(Some(Self { client, group: group.clone(), stream, create_group }))
    }

    /// Makes the stream, and the group where `awslogs-create-group` says so. Harmless when they are there.
    pub async fn create(&self) -> Result<(), ClientError> {
        match self.create_stream().await {
            Err(error) if error.code() == Some(NOT_FOUND) && self.create_group => {
                self.create_group().await?;
                self.create_stream().await
            }
            other => other,
        }
    }

    async fn create_stream(&self) -> Result<(), ClientError> {
        let request =
            CreateLogStreamRequest { log_group_name: self.group.clone(), log_stream_name: self.stream.clone() };
        unless_there(self.client.call::<CreateLogStream>(&request).await)
    }

    async fn create_group(&self) -> Result<(), ClientError> {
        let request = CreateLogGroupRequest { log_group_name: self.group.clone(), ..CreateLogGroupRequest::default() };
        unless_there(self.client.call::<CreateLogGroup>(&request).await)
    }
}

/// Whether CloudWatch Logs says that group or stream are not there.
pub(super) fn is_not_found(error: &ClientError) -> bool {
    error.code() == Some(NOT_FOUND)
}

fn unless_there(result: Result<(), ClientError>) -> Result<(), ClientError> {
    match result {
        Err(error) if error.code() == Some(ALREADY_EXISTS) => Ok(()),
        other => other,
    }
}
