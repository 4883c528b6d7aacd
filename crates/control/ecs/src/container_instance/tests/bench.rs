//! A service over a store in memory, called through the API's trait with JSON in and JSON out.

use std::str::FromStr;
use std::time::Duration;

use estiva_api_ecs::{Ecs, Error};
use estiva_model::{AccountId, Ambient, Caller, Principal, Region, Timestamp};
use estiva_schema::{Request, json as codec};
use estiva_store::backend::Memory;
use estiva_store::{Row, Schema, Store};
use serde_json::{Value, json};

use crate::account_setting::table::AccountSettingRow;
use crate::capacity_provider::table::CapacityProviderRow;
use crate::cluster::table::ClusterRow;
use crate::container_instance::table::{ConnectionRow, ContainerInstanceRow, ReservationRow};
use crate::service::ServiceEventRow;
use crate::service::rollout_table::{RolloutRow, ServiceDeploymentRow};
use crate::service::table::{ServiceRevisionRow, ServiceRow};
use crate::task::table::{TaskRow, TaskStatusRow};
use crate::task_definition::table::TaskDefinitionRow;
use crate::{EcsService, Options};

const HOUR: Duration = Duration::from_secs(3600);

/// What one operation answers.
pub(crate) type Answer = Result<Value, Error>;

/// A service whose nodes are a test's words.
pub(crate) struct Bench {
    pub ecs: EcsService,
}

/// The account's owner.
pub(crate) fn owner() -> Caller {
    caller(Principal::Root)
}

/// A node's session.
pub(crate) fn node(name: &str) -> Caller {
    caller(Principal::AssumedRole { role: "estiva-node".to_owned(), session: name.to_owned() })
}

/// A session of a task's role.
pub(crate) fn session(role: &str, session: &str) -> Caller {
    caller(Principal::AssumedRole { role: role.to_owned(), session: session.to_owned() })
}

fn caller(principal: Principal) -> Caller {
    Caller {
        account: AccountId::parse("000000000000").unwrap(),
        region: Region::parse("us-east-1").unwrap(),
        principal,
        access_key_id: "AKIDEXAMPLE".to_owned(),
    }
}

macro_rules! operations {
    ($($operation:ident)*) => {
        impl Bench {
            $(pub async fn $operation(&self, caller: &Caller, input: Value) -> Answer {
                let input = codec::from_value(&input).expect("the test's input is of the operation's shape");
                let request = Request { input, caller: caller.clone(), request_id: "a-test".to_owned() };
                self.ecs.$operation(request).await.map(|answer| codec::to_value(&answer))
            })*
        }
    };
}

operations! {
    create_cluster describe_clusters update_cluster update_cluster_settings delete_cluster put_cluster_capacity_providers list_account_settings put_account_setting put_account_setting_default
    delete_account_setting create_capacity_provider update_capacity_provider delete_capacity_provider
    describe_capacity_providers get_task_protection update_task_protection
    register_task_definition describe_task_definition deregister_task_definition delete_task_definitions
    run_task start_task stop_task describe_tasks list_tasks
    register_container_instance deregister_container_instance describe_container_instances list_container_instances
    update_container_instances_state discover_poll_endpoint put_attributes delete_attributes
    tag_resource untag_resource
    submit_task_state_change submit_container_state_change submit_attachment_state_changes
    create_service update_service delete_service describe_services list_services
    describe_service_deployments list_service_deployments stop_service_deployment continue_service_deployment
    describe_service_revisions create_task_set update_task_set delete_task_set describe_task_sets
    update_service_primary_task_set execute_command
}

/// The same calls, by the account's owner.
macro_rules! as_owner {
    ($($name:ident $operation:ident)*) => {
        impl Bench {
            $(pub async fn $name(&self, input: Value) -> Answer {
                self.$operation(&owner(), input).await
            })*
        }
    };
}

as_owner! {
    register_task_definition_as_owner register_task_definition
    run_task_as_owner run_task
    create_service_as_owner create_service
    create_cluster_as_owner create_cluster
}

impl Bench {
    /// Without anything in it.
    pub fn new() -> Self {
        Self::at(Ambient::system())
    }

    /// With a clock that is tokio's, and controllers that run: for tests whose time is paused.
    pub async fn running() -> Self {
        let started = tokio::time::Instant::now();
        let now = move || Timestamp(1_790_000_000_000).plus(started.elapsed());
        let bench = Self::at(Ambient::simulated(now, 1));
        bench.define("web", json!({ "memory": 100, "cpu": 256 }), json!({})).await;
        let ecs = bench.ecs.clone();
        tokio::spawn(async move { ecs.run().await });
        bench
    }

    fn at(ambient: Ambient) -> Self {
        let options = estiva_store::Options { commit_inline: true, ..estiva_store::Options::default() };
        let store = Store::open_with(Memory::new(), crate::tables(Schema::new(1)), options).unwrap();
        Self {
            ecs: EcsService::new(
                store,
                Options {
                    endpoint: "http://127.0.0.1:4566".to_owned(),
                    task_retention: HOUR,
                    healthy_after: Duration::from_secs(40),
                    lost_node_after: Duration::from_secs(60),
                },
                ambient,
            ),
        }
    }

    /// With the task definition `web` (256 CPU units, 100 MiB) and connected nodes of these names in `default`.
    pub async fn with_nodes(names: &[&str]) -> Self {
        let bench = Self::new();
        bench.define("web", json!({ "memory": 100, "cpu": 256 }), json!({})).await;
        for name in names {
            bench.join(name, json!({})).await;
        }
        bench
    }

    /// Registers a task definition with one container `app`.
    pub async fn define(&self, family: &str, container: Value, more: Value) {
        let container = merged(json!({ "name": "app", "image": "busybox", "essential": true }), container);
        let input = merged(json!({ "family": family, "containerDefinitions": [container] }), more);
        self.register_task_definition(&owner(), input).await.unwrap();
    }

    /// Registers and connects a node of 1024 CPU units and 1000 MiB; gives its ARN.
    pub async fn join(&self, name: &str, more: Value) -> String {
        let arn = self.register(name, more).await.unwrap();
        self.connect(&arn, true).await;
        arn
    }

    /// Registers a node; gives its ARN.
    pub async fn register(&self, name: &str, more: Value) -> Result<String, Error> {
        let answer = self.register_container_instance(&node(name), merged(offer(name), more)).await?;
        Ok(text(&answer["containerInstance"]["containerInstanceArn"]))
    }

    /// Reports every task that is to run as RUNNING, and every other as STOPPED, as nodes would that do as they are told.
    pub async fn obey(&self) {
        use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
        let view = self.ecs.store.view();
        let rows: Vec<_> = view.scan::<TaskRow>("").collect();
        for row in rows {
            let last = view.get::<TaskStatusRow>(&row.key()).map(|row| row.state.last_status);
            let status = match row.desired_status {
                DesiredStatus::Running if last < Some(TaskStatus::Running) => "RUNNING",
                DesiredStatus::Stopped if last < Some(TaskStatus::Stopped) => "STOPPED",
                _ => continue,
            };
            self.submit_task_state_change(&owner(), json!({ "task": row.arn(), "status": status })).await.unwrap();
        }
    }

    /// Lets controllers do what there is to do now, and nodes obey, until nothing changes.
    pub async fn rest(&self) {
        for _ in 0..100 {
            let before = self.ecs.store.view().revision();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.obey().await;
            if self.ecs.store.view().revision() == before {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// The service as DescribeServices shows it.
    pub async fn service(&self, name: &str) -> Value {
        let answer = self.describe_services(&owner(), json!({ "services": [name] })).await.unwrap();
        answer["services"][0].clone()
    }

    /// What the node's session would write.
    pub async fn connect(&self, arn: &str, connected: bool) {
        let row = ConnectionRow { instance: instance_key(arn), connected, changed_at: self.ecs.ambient.now() };
        let update = self.ecs.store.update(|tx| {
            tx.put(row);
            Ok::<_, Error>(())
        });
        update.await.unwrap();
    }

    /// Runs one task; gives its ARN.
    pub async fn run(&self, definition: &str) -> String {
        let answer = self.run_task(&owner(), json!({ "taskDefinition": definition })).await.unwrap();
        assert_eq!(answer["failures"], json!([]));
        text(&answer["tasks"][0]["taskArn"])
    }

    /// Gives a task another group, as a service would.
    pub async fn regroup(&self, task: &str, group: &str) {
        let arn = estiva_model::Arn::from_str(task).unwrap();
        let key = format!("{}/{}/{}", arn.account, arn.region, arn.resource.strip_prefix("task/").unwrap());
        let update = self.ecs.store.update(|tx| {
            let mut row = (*tx.get::<TaskRow>(&key).unwrap()).clone();
            group.clone_into(&mut row.group);
            tx.put(row);
            Ok::<_, Error>(())
        });
        update.await.unwrap();
    }

    /// The task as DescribeTasks shows it.
    pub async fn task(&self, arn: &str) -> Value {
        let answer = self.describe_tasks(&owner(), json!({ "tasks": [arn], "include": ["TAGS"] })).await.unwrap();
        answer["tasks"][0].clone()
    }

    /// A node's word on a task of its.
    pub async fn report(&self, name: &str, task: &str, more: Value) -> Answer {
        self.submit_task_state_change(&node(name), merged(json!({ "cluster": "default", "task": task }), more)).await
    }

    /// The instance as DescribeContainerInstances shows it.
    pub async fn instance(&self, arn: &str) -> Value {
        let input = json!({ "containerInstances": [arn] });
        let answer = self.describe_container_instances(&owner(), input).await.unwrap();
        answer["containerInstances"][0].clone()
    }

    /// Remaining CPU and memory, running and pending tasks.
    pub fn reservation(&self, arn: &str) -> (i64, i64, i64, i64) {
        let row = self.ecs.store.view().get::<ReservationRow>(&instance_key(arn)).unwrap();
        (row.remaining.cpu, row.remaining.memory, row.running_tasks, row.pending_tasks)
    }

    /// Every row of every table, as text.
    pub fn everything(&self) -> Vec<String> {
        let view = self.ecs.store.view();
        let mut rows = Vec::new();
        rows.extend(view.scan::<AccountSettingRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<CapacityProviderRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ClusterRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ContainerInstanceRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ReservationRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<TaskDefinitionRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<TaskRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<TaskStatusRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ServiceRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ServiceRevisionRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<RolloutRow>("").map(|row| format!("{row:?}")));
        rows.extend(view.scan::<ServiceDeploymentRow>("").map(|row| serde_json::to_string(&*row).unwrap()));
        rows.extend(view.scan::<ServiceEventRow>("").map(|row| format!("{row:?}")));
        rows
    }

    /// How many rows a table has.
    pub fn count<R: Row>(&self) -> usize {
        self.ecs.store.view().count::<R>()
    }
}

/// What an agent sends of itself. The node's name is also an attribute's value.
pub(crate) fn offer(name: &str) -> Value {
    let integer = |name: &str, value: i64| json!({ "name": name, "type": "INTEGER", "integerValue": value });
    json!({
        "cluster": "default",
        "totalResources": [
            integer("CPU", 1024),
            integer("MEMORY", 1000),
            { "name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"] },
            { "name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": [] },
        ],
        "attributes": [
            { "name": "ecs.os-type", "value": "linux" },
            { "name": "ecs.capability.task-eni" },
            { "name": "ecs.capability.task-cpu-mem-limit" },
            { "name": "estiva.eni-range", "value": "10.1.0.10-10.1.0.11" },
            { "name": "estiva.eni-gateway", "value": "10.1.0.1/24" },
            { "name": "name", "value": name },
        ],
    })
}

/// `base` with the members of `more` in place of its own.
pub(crate) fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The reasons of an answer's failures.
pub(crate) fn reasons(answer: &Value) -> Vec<String> {
    answer["failures"].as_array().unwrap().iter().map(|failure| text(&failure["reason"])).collect()
}

/// An error's code and message, as one text.
pub(crate) fn refusal(answer: Answer) -> String {
    answer.expect_err("it is refused").to_string()
}

fn instance_key(arn: &str) -> String {
    let arn = estiva_model::Arn::from_str(arn).unwrap();
    let resource = arn.resource.strip_prefix("container-instance/").unwrap();
    format!("{}/{}/{resource}", arn.account, arn.region)
}
