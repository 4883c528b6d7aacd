//! The services' rows: what is wanted of a service, how its deployments stand, and what it was and went through.

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::capacity_provider::StrategyItem;
use crate::scope::Scope;
use crate::tag::Tags;

/// A service as its owner wants it. Written by the operations on services; by the controller alone to end a deletion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Whose.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// Unique in the cluster among services that are not INACTIVE.
    pub name: String,
    /// Whether it runs.
    pub status: ServiceStatus,
    /// How many tasks; of a DAEMON it is not asked.
    pub desired_count: u32,
    /// One task on each container instance instead.
    pub is_daemon: bool,
    /// Its task sets are somebody else's to change.
    pub is_external: bool,
    /// Settings that are given back as they came, with ECS's defaults.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub settings: api::Service,
    /// The providers that its tasks are shared out among; empty for a launch type.
    pub capacity_provider_strategy: Vec<StrategyItem>,
    /// The owner's labels.
    pub tags: Tags,
    /// When.
    pub created_at: Timestamp,
    /// The principal's ARN.
    pub created_by: String,
    /// When it became INACTIVE.
    #[serde(default)]
    pub inactive_since: Option<Timestamp>,
    /// The request's token, so that a repeated call answers as the first did.
    pub client_token: Option<String>,
    /// SHA-256 of that request, so that the token cannot stand for another.
    #[serde(default)]
    pub request_digest: Option<String>,
}

/// ACTIVE → DRAINING → INACTIVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceStatus {
    /// Runs.
    #[serde(rename = "ACTIVE")]
    Active,
    /// Deleted; its tasks end.
    #[serde(rename = "DRAINING")]
    Draining,
    /// Deleted, and nothing of it runs.
    #[serde(rename = "INACTIVE")]
    Inactive,
}

impl ServiceStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// All services of a cluster in a status.
pub const BY_CLUSTER_STATUS: &str = "cluster_status";
/// All services of a cluster, a launch type and a status.
pub const BY_CLUSTER_LAUNCH_TYPE_STATUS: &str = "cluster_launch_type_status";

impl Row for ServiceRow {
    const TABLE: &'static str = "services";

    fn key(&self) -> String {
        self.scope.key(&[&self.cluster, &self.name])
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let status = self.status.as_str();
        vec![
            (BY_CLUSTER_STATUS, self.scope.key(&[&self.cluster, status])),
            (BY_CLUSTER_LAUNCH_TYPE_STATUS, self.scope.key(&[&self.cluster, self.launch_type().as_str(), status])),
        ]
    }
}

impl ServiceRow {
    /// `arn:aws:ecs:region:account:service/cluster/name`
    pub fn arn(&self) -> String {
        self.scope.arn(format!("service/{}/{}", self.cluster, self.name))
    }

    /// The group of its tasks.
    pub fn group(&self) -> String {
        format!("{GROUP_PREFIX}{}", self.name)
    }

    /// Where its tasks run; providers stand for a launch type too.
    pub fn launch_type(&self) -> api::LaunchType {
        let of_providers =
            if self.capacity_provider_strategy.is_empty() { api::LaunchType::Ec2 } else { api::LaunchType::Fargate };
        self.settings.launch_type.unwrap_or(of_providers)
    }

    /// The service with the workload configuration of one of its revisions: after a rollback it is not the one that was asked for
    /// last.
    pub(super) fn as_of(&self, revision: &ServiceRevisionRow) -> Self {
        let mut row = self.clone();
        row.settings.launch_type = revision.settings.launch_type;
        row.settings.network_configuration.clone_from(&revision.settings.network_configuration);
        row.settings.platform_family.clone_from(&revision.settings.platform_family);
        row.settings.platform_version.clone_from(&revision.settings.platform_version);
        row.capacity_provider_strategy = revision.strategy().iter().map(StrategyItem::of).collect();
        row
    }

    /// minimumHealthyPercent and maximumPercent.
    pub fn percents(&self) -> (usize, usize) {
        let configuration = self.settings.deployment_configuration.as_ref();
        let percent =
            |value: Option<i32>, default: usize| value.and_then(|it| usize::try_from(it).ok()).unwrap_or(default);
        let (minimum, maximum) = if self.is_daemon { (0, 100) } else { (100, 200) };
        (
            percent(configuration.and_then(|it| it.minimum_healthy_percent), minimum),
            percent(configuration.and_then(|it| it.maximum_percent), maximum),
        )
    }
}

impl ServiceRevisionRow {
    /// Where its tasks run.
    pub fn launch_type(&self) -> api::LaunchType {
        let default = if self.strategy().is_empty() { api::LaunchType::Ec2 } else { api::LaunchType::Fargate };
        self.settings.launch_type.unwrap_or(default)
    }

    /// The providers that its tasks are shared out among; empty for a launch type.
    pub fn strategy(&self) -> &[api::CapacityProviderStrategyItem] {
        self.settings.capacity_provider_strategy.as_deref().unwrap_or_default()
    }
}

/// What the groups of services' tasks start with.
pub const GROUP_PREFIX: &str = "service:";

/// A workload configuration of a service: never changed, but for the images that it stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceRevisionRow {
    /// The service's key.
    pub service: String,
    /// 19 decimal digits.
    pub id: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: u32,
    /// What it has besides, as DescribeServiceRevisions shows it.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub settings: api::ServiceRevision,
    /// The digest that each container's image stands for, once a task has found it out.
    #[serde(default)]
    pub image_digests: std::collections::BTreeMap<String, String>,
}

impl Row for ServiceRevisionRow {
    const TABLE: &'static str = "service_revisions";

    fn key(&self) -> String {
        child_key(&self.service, &self.id)
    }
}

/// The key of what belongs to a service.
pub fn child_key(service: &str, id: &str) -> String {
    format!("{service}/{id}")
}

impl ServiceRow {
    /// A service about which nothing was said.
    pub(super) fn blank(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            cluster: String::new(),
            name: String::new(),
            status: ServiceStatus::Active,
            desired_count: 0,
            is_daemon: false,
            is_external: false,
            settings: api::Service::default(),
            capacity_provider_strategy: Vec::new(),
            tags: Tags::default(),
            created_at: Timestamp(0),
            created_by: String::new(),
            inactive_since: None,
            client_token: None,
            request_digest: None,
        }
    }
}
