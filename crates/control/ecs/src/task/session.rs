//! The tasks behind sessions of tasks' roles: what such a session reaches follows from its task.

use std::sync::Arc;

use estiva_api_ecs::types as api;
use estiva_model::{Arn, Caller, Principal};
use estiva_planning::lifecycle::TaskStatus;
use estiva_schema::{SessionTask, SessionTasks};
use estiva_store::{Snapshot, Store};

use super::reference::status_of;
use super::table::{TaskRow, key};
use crate::cluster::table::ClusterRow;
use crate::scope::Scope;
use crate::task_definition::table::{self as task_definition, TaskDefinitionRow};

/// Options of log configurations that name a log group: of awslogs, and of Fluent Bit's output `cloudwatch_logs`.
const GROUP_OPTIONS: [&str; 2] = ["awslogs-group", "log_group_name"];

/// The tasks of a store.
pub struct TasksOfSessions {
    store: Store,
}

impl TasksOfSessions {
    /// Over a store whose schema has this crate's tables.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl SessionTasks for TasksOfSessions {
    fn of(&self, caller: &Caller) -> Option<SessionTask> {
        let Principal::AssumedRole { role, session } = &caller.principal else { return None };
        let view = self.store.view();
        let row = find(&view, &Scope::of(caller), session)?;
        let definition = &definition_of(&view, &row)?.definition;
        // AWS's agent has the containers' lines sent out as the execution role.
        let mut roles = task_role(&row, definition).into_iter().chain(execution_role(&row, definition));
        let is_own = roles.any(|arn| arn.rsplit('/').next() == Some(role));
        if !is_own || status_of(&view, &row) == Some(TaskStatus::Stopped) {
            return None;
        }
        Some(SessionTask {
            task: row.arn(),
            definition: task_definition::arn(&row.scope, &row.family, row.revision),
            log_groups: log_groups(&row.scope, definition),
            id: row.id.clone(),
        })
    }
}

/// The ARN of the role that a task has: that of its overrides, or of its definition. An empty one is none.
pub fn task_role<'a>(row: &'a TaskRow, definition: &'a api::TaskDefinition) -> Option<&'a str> {
    of_overrides(row.overrides.task_role_arn.as_deref(), definition.task_role_arn.as_deref())
}

/// The ARN of the role as which things are done for a task, from where [`task_role`] has it.
pub fn execution_role<'a>(row: &'a TaskRow, definition: &'a api::TaskDefinition) -> Option<&'a str> {
    of_overrides(row.overrides.execution_role_arn.as_deref(), definition.execution_role_arn.as_deref())
}

fn of_overrides<'a>(overridden: Option<&'a str>, defined: Option<&'a str>) -> Option<&'a str> {
    overridden.or(defined).filter(|role| !role.is_empty())
}

/// A session's name is its task's id, and does not say the cluster. A role's calls are few, and so are clusters: an index of
/// all tasks by their id would cost more than it saves.
fn find(view: &Snapshot, scope: &Scope, id: &str) -> Option<Arc<TaskRow>> {
    let mut clusters = view.scan::<ClusterRow>(&scope.key(&[""]));
    clusters.find_map(|cluster| view.get::<TaskRow>(&key(scope, &cluster.name, id))).filter(|row| row.id == id)
}

fn definition_of(view: &Snapshot, row: &TaskRow) -> Option<Arc<TaskDefinitionRow>> {
    view.get::<TaskDefinitionRow>(&task_definition::revision_key(&row.scope, &row.family, row.revision))
}

fn log_groups(scope: &Scope, definition: &api::TaskDefinition) -> Vec<String> {
    let containers = definition.container_definitions.iter().flatten();
    let options = containers.filter_map(|it| it.log_configuration.as_ref()?.options.as_ref());
    let names = options.flat_map(|options| GROUP_OPTIONS.iter().filter_map(|name| options.get(*name)));
    names.map(|name| Arn::new("logs", &scope.region, &scope.account, format!("log-group:{name}")).to_string()).collect()
}
