//! The tasks' rows: what is wanted of a task, and, apart from it, what has been observed.

use std::collections::BTreeMap;

use estiva_api_ecs::types as api;
use estiva_model::Timestamp;
use estiva_planning::deployment::FailureKind;
use estiva_planning::lifecycle::{DesiredStatus, StopCode, TaskState, TaskStatus};
use estiva_planning::placement::Resources;
use estiva_store::Row;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;
use crate::tag::Tags;

/// A task as it was asked for. Written by RunTask and StartTask, and by [`super::stop`] when it has to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskRow {
    /// Whose.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// 32 hexadecimal digits.
    pub id: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: u32,
    /// EC2, FARGATE or EXTERNAL.
    pub launch_type: String,
    /// The capacity provider that a strategy gave the task to.
    #[serde(default)]
    pub capacity_provider: Option<String>,
    /// The id of the container instance that the task is placed on.
    pub container_instance: String,
    /// The cluster of that container instance; another than the task's own for Fargate capacity.
    pub container_instance_cluster: String,
    /// The container instance's availability zone.
    pub availability_zone: String,
    /// What the control plane wants.
    pub desired_status: DesiredStatus,
    /// Why the task has to end.
    pub stop_code: Option<StopCode>,
    /// Why the task has to end, or ended, in words.
    pub stopped_reason: Option<String>,
    /// `family:NAME` unless the caller said otherwise.
    pub group: String,
    /// The caller's word on who started the task.
    pub started_by: Option<String>,
    /// Given back as it came, but for the task's own sizes, which are plain numbers.
    #[serde(with = "estiva_schema::json::verbatim")]
    pub overrides: api::TaskOverride,
    /// Whether ExecuteCommand is allowed.
    pub enable_execute_command: bool,
    /// Names the credentials of the task's role on its node: 32 hexadecimal digits that nobody else knows.
    #[serde(default)]
    pub credentials_id: String,
    /// The same for its execution role, empty if it has none. Its containers know the other id, and must not learn this one.
    #[serde(default)]
    pub execution_credentials_id: String,
    /// The owner's labels.
    pub tags: Tags,
    /// What the task takes of its container instance.
    pub demand: Resources,
    /// The task's network interface in network mode awsvpc.
    pub network_interface: Option<NetworkInterface>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Whether it has not ended. Of a task that an earlier version knew it is not known: its status tells.
    #[serde(default = "not_known_to_have_ended")]
    pub is_live: bool,
    /// How long it may run.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// The id of the deployment that a service started it for.
    #[serde(default)]
    pub deployment: Option<String>,
    /// How it failed that deployment, if it did.
    #[serde(default)]
    pub failure: Option<FailureKind>,
    /// What the images of its containers stand for, by container, so that a deployment's tasks are all of the same images.
    #[serde(default)]
    pub image_digests: BTreeMap<String, String>,
    /// Whether a hook of a service's deployment waits for its end.
    #[serde(default)]
    pub is_of_hook: bool,
}

fn not_known_to_have_ended() -> bool {
    true
}

/// The elastic network interface of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// A UUID.
    pub attachment_id: String,
    /// `eni-` and 17 hexadecimal digits.
    pub id: String,
    /// The subnet that the caller named.
    pub subnet: String,
    /// Colon-separated.
    pub mac_address: String,
    /// Dotted decimal.
    pub private_ipv4_address: String,
    /// `address/prefix length` of the subnet's gateway.
    pub gateway: String,
}

/// What has been observed of a task. Written by [`super::report`] and [`super::stop`] alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskStatusRow {
    /// Whose.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The task's id.
    pub id: String,
    /// The task's launch type.
    #[serde(default)]
    pub launch_type: String,
    /// The lifecycle's state.
    pub state: TaskState,
    /// The id of the task's deployment.
    #[serde(default)]
    pub deployment: Option<String>,
}

/// All tasks of a cluster with a desired status.
pub const BY_CLUSTER_DESIRED: &str = "cluster_desired";
/// The tasks on a container instance that have not ended.
pub const BY_CONTAINER_INSTANCE: &str = "container_instance";
/// The tasks that have ended on a container instance: apart, because only ListTasks wants them and they soon are the most.
pub const BY_FORMER_CONTAINER_INSTANCE: &str = "former_container_instance";
/// All tasks of a family in a cluster.
pub const BY_FAMILY: &str = "family";
/// All tasks of a cluster with a startedBy.
pub const BY_STARTED_BY: &str = "started_by";
/// All tasks of a group in a cluster.
pub const BY_GROUP: &str = "group";
/// The tasks of a group in a cluster that have not ended.
pub const BY_LIVE_GROUP: &str = "live_group";
/// The tasks of a group in a cluster that are to run on a container instance; on Fargate capacity tasks of several clusters meet.
pub const BY_PLACED_GROUP: &str = "placed_group";
/// All tasks that use a revision of a task definition.
pub const BY_TASK_DEFINITION: &str = "task_definition";
/// The task that a network interface is attached to.
pub const BY_ATTACHMENT: &str = "attachment";

impl Row for TaskRow {
    const TABLE: &'static str = "tasks";

    fn key(&self) -> String {
        key(&self.scope, &self.cluster, &self.id)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let scope = &self.scope;
        let mut indexes = vec![
            (BY_CLUSTER_DESIRED, scope.key(&[&self.cluster, self.desired_status.as_str()])),
            (
                if self.is_live { BY_CONTAINER_INSTANCE } else { BY_FORMER_CONTAINER_INSTANCE },
                self.container_instance_key(),
            ),
            (BY_FAMILY, scope.key(&[&self.cluster, &self.family])),
            (BY_GROUP, scope.key(&[&self.cluster, &self.group])),
            (
                BY_TASK_DEFINITION,
                super::super::task_definition::table::revision_key(scope, &self.family, self.revision),
            ),
        ];
        if self.desired_status == DesiredStatus::Running {
            let value = placed_group_value(&self.container_instance_key(), &self.cluster, &self.group);
            indexes.push((BY_PLACED_GROUP, value));
        }
        if let Some(started_by) = &self.started_by {
            indexes.push((BY_STARTED_BY, scope.key(&[&self.cluster, started_by])));
        }
        if self.is_live {
            indexes.push((BY_LIVE_GROUP, scope.key(&[&self.cluster, &self.group])));
        }
        if let (Some(deployment), Some(kind)) = (&self.deployment, self.failure) {
            indexes.push((BY_FAILURE, failure_value(deployment, kind)));
        }
        if let Some(interface) = &self.network_interface {
            indexes.push((BY_ATTACHMENT, scope.key(&[&interface.attachment_id])));
        }
        indexes
    }
}

/// The tasks that failed a deployment, in one way.
pub const BY_FAILURE: &str = "failure";

/// The value of [`BY_FAILURE`].
pub fn failure_value(deployment: &str, kind: FailureKind) -> String {
    format!("{deployment}/{kind:?}")
}

/// The tasks of a deployment in a status, as `deployment/status`.
pub const BY_DEPLOYMENT_STATUS: &str = "deployment_status";
/// All tasks of a cluster in a status.
pub const BY_CLUSTER_STATUS: &str = "cluster_status";
/// All tasks of a cluster and a launch type in a status.
pub const BY_CLUSTER_LAUNCH_TYPE_STATUS: &str = "cluster_launch_type_status";
/// The tasks that stopped, and the client tokens that were made, in one minute.
pub const BY_MINUTE: &str = "minute";

/// The value of [`BY_MINUTE`].
pub fn minute_value(minute: i64) -> String {
    minute.to_string()
}

/// The minute, counted from 1970, of a point in time.
pub fn minute_of(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(60_000)
}

impl Row for TaskStatusRow {
    const TABLE: &'static str = "task_statuses";

    fn key(&self) -> String {
        key(&self.scope, &self.cluster, &self.id)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let status = self.state.last_status;
        let mut indexes = vec![
            (BY_CLUSTER_STATUS, cluster_status_value(&self.scope, &self.cluster, status)),
            (
                BY_CLUSTER_LAUNCH_TYPE_STATUS,
                cluster_launch_type_status_value(&self.scope, &self.cluster, &self.launch_type, status),
            ),
        ];
        indexes.extend(self.deployment.iter().map(|id| (BY_DEPLOYMENT_STATUS, format!("{id}/{}", status.as_str()))));
        indexes.extend(self.state.stopped_at.map(|time| (BY_MINUTE, minute_value(minute_of(time)))));
        indexes
    }
}

/// The value of [`BY_CLUSTER_STATUS`].
pub fn cluster_status_value(scope: &Scope, cluster: &str, status: TaskStatus) -> String {
    scope.key(&[cluster, status.as_str()])
}

/// The value of [`BY_CLUSTER_LAUNCH_TYPE_STATUS`].
pub fn cluster_launch_type_status_value(scope: &Scope, cluster: &str, launch_type: &str, status: TaskStatus) -> String {
    scope.key(&[cluster, launch_type, status.as_str()])
}

/// The key of a task in both tables.
pub fn key(scope: &Scope, cluster: &str, id: &str) -> String {
    scope.key(&[cluster, id])
}

impl TaskRow {
    /// `arn:aws:ecs:region:account:task/cluster/id`
    pub fn arn(&self) -> String {
        self.scope.arn(format!("task/{}/{}", self.cluster, self.id))
    }

    /// The key of the container instance that the task is placed on.
    pub fn container_instance_key(&self) -> String {
        self.scope.key(&[&self.container_instance_cluster, &self.container_instance])
    }

    /// What the caller overrides of a container.
    pub fn override_of(&self, container: &str) -> Option<&api::ContainerOverride> {
        let overrides = self.overrides.container_overrides.as_ref()?;
        overrides.iter().find(|it| it.name.as_deref() == Some(container))
    }

    /// The task's own CPU units and MiB of memory, overrides applied; for a task without such limits, what it takes of its
    /// container instance.
    pub fn sizes(&self, definition: Option<&api::TaskDefinition>) -> (Option<i64>, Option<i64>) {
        let own = |overridden: &Option<String>, defined: Option<&String>| {
            overridden.as_ref().or(defined).and_then(|text| text.parse().ok())
        };
        let cpu = own(&self.overrides.cpu, definition.and_then(|it| it.cpu.as_ref()));
        let memory = own(&self.overrides.memory, definition.and_then(|it| it.memory.as_ref()));
        (cpu.or(Some(self.demand.cpu)), memory.or(Some(self.demand.memory)))
    }

    /// The ARN of one of its containers. ECS gives each container an id of its own; here it follows from the task's
    /// id and the container's place, so that it need not be kept.
    pub fn container_arn(&self, place: usize) -> String {
        self.scope.arn(format!("container/{}/{}/{place:012x}", self.cluster, self.id))
    }
}

/// The value of [`BY_PLACED_GROUP`].
pub fn placed_group_value(instance: &str, cluster: &str, group: &str) -> String {
    format!("{instance}/{cluster}/{group}")
}

/// What a client token was used for, so that a repeated call answers as the first did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientTokenRow {
    /// Whose.
    pub scope: Scope,
    /// RunTask.
    pub operation: String,
    /// The caller's.
    pub token: String,
    /// SHA-256 of the request, so that the token cannot stand for another.
    pub request_digest: String,
    /// The keys of the tasks that the first call made.
    pub tasks: Vec<String>,
    /// What the first call said of those that it did not make.
    #[serde(default)]
    pub failures: Vec<KeptFailure>,
    /// When the first call was made.
    pub created_at: Timestamp,
}

/// One of the `failures[]` of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptFailure {
    arn: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
}

impl KeptFailure {
    /// To be kept.
    pub fn of(failure: &api::Failure) -> Self {
        Self { arn: failure.arn.clone(), reason: failure.reason.clone(), detail: failure.detail.clone() }
    }

    /// As it was.
    pub fn to_api(&self) -> api::Failure {
        api::Failure { arn: self.arn.clone(), reason: self.reason.clone(), detail: self.detail.clone() }
    }
}

impl Row for ClientTokenRow {
    const TABLE: &'static str = "client_tokens";

    fn key(&self) -> String {
        self.scope.key(&[&self.operation, &self.token])
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(BY_MINUTE, minute_value(minute_of(self.created_at)))]
    }
}
