//! What a principal may do. Two steps: the edge asks about the action, and a handler about each resource.

use std::sync::Arc;

use estiva_model::{Caller, Principal};
use estiva_schema::{ApiError, Authorizer, ResourceAuthorizer, SessionTask, SessionTasks, denied};

use crate::NODE_ROLE;

/// The owner may do everything, a node what nodes need, and a session of a task's role what concerns its own task alone.
/// What is in no list here is denied.
#[derive(Clone)]
pub struct RolePolicies {
    tasks: Arc<dyn SessionTasks>,
}

/// What AWS's managed policy AmazonEC2ContainerServiceforEC2Role allows, less what concerns ECR and EC2, which do not
/// exist here yet; `ecs:Poll` and `ecs:StartTelemetrySession` stand for the two sessions.
pub(crate) const NODE_ACTIONS: [&str; 15] = [
    "ecs:CreateCluster",
    "ecs:DeregisterContainerInstance",
    "ecs:DiscoverPollEndpoint",
    "ecs:ListTagsForResource",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
    "ecs:UpdateContainerInstancesState",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sts:GetCallerIdentity",
];

/// Whether a resource is one that the session of a task's role reaches.
type Reach = fn(&SessionTask, &str) -> bool;

/// What a task's role may do until it has policies of its own, and to which resources. An action that is not here is denied;
/// a handler of one that is here asks [`ResourceAuthorizer`].
pub(crate) const TASK_ACTIONS: [(&str, Reach); 8] = [
    ("ecs:DescribeTaskDefinition", |task, resource| resource == task.definition),
    ("ecs:DescribeTasks", is_own_task),
    ("ecs:GetTaskProtection", is_own_task),
    ("ecs:UpdateTaskProtection", is_own_task),
    ("logs:CreateLogGroup", |task, resource| task.log_groups.iter().any(|group| group == resource)),
    ("logs:CreateLogStream", is_own_stream),
    ("logs:PutLogEvents", is_own_stream),
    // It tells callers who they are, and is about nothing else.
    ("sts:GetCallerIdentity", |_, _| false),
];

fn is_own_task(task: &SessionTask, resource: &str) -> bool {
    resource == task.task
}

/// A stream of a group that the task's definition names, whose name ends with the task's id: as ECS and FireLens name streams.
fn is_own_stream(task: &SessionTask, resource: &str) -> bool {
    let stream = |group: &String| resource.strip_prefix(group.as_str())?.strip_prefix(":log-stream:");
    let is_own = |stream: &str| {
        let prefix = stream.strip_suffix(task.id.as_str());
        let ends_a_word = |prefix: &str| !prefix.ends_with(char::is_alphanumeric);
        !stream.contains(':') && prefix.is_some_and(ends_a_word)
    };
    task.log_groups.iter().filter_map(stream).any(is_own)
}

impl RolePolicies {
    /// Over what knows the tasks behind sessions.
    pub fn new(tasks: Arc<dyn SessionTasks>) -> Self {
        Self { tasks }
    }
}

impl Authorizer for RolePolicies {
    fn authorize(&self, caller: &Caller, action: &str) -> Result<(), ApiError> {
        let allowed = match &caller.principal {
            Principal::Root => true,
            Principal::AssumedRole { role, .. } if role == NODE_ROLE => NODE_ACTIONS.contains(&action),
            Principal::AssumedRole { .. } => reach_of(action).is_some(),
        };
        if allowed { Ok(()) } else { Err(denied(caller, action, None)) }
    }
}

impl ResourceAuthorizer for RolePolicies {
    fn authorize_on(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError> {
        let allowed = match &caller.principal {
            Principal::Root => true,
            // Which container instance a node speaks for, ECS knows.
            Principal::AssumedRole { role, .. } if role == NODE_ROLE => NODE_ACTIONS.contains(&action),
            Principal::AssumedRole { .. } => {
                let reach = reach_of(action);
                reach.is_some_and(|reach| self.tasks.of(caller).is_some_and(|task| reach(&task, resource)))
            }
        };
        if allowed { Ok(()) } else { Err(denied(caller, action, Some(resource))) }
    }
}

fn reach_of(action: &str) -> Option<Reach> {
    TASK_ACTIONS.iter().find(|(name, _)| *name == action).map(|(_, reach)| *reach)
}

#[cfg(test)]
mod tests;
