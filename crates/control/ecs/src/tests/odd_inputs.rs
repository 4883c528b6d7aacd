//! Inputs of odd shape, to every operation: each member of a valid input is replaced by what nobody means. The answer is never
//! a fault of the server's, and an error is one that the model names for the operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_api_ecs::{Endpoint, SERVICE};
use estiva_model::Caller;
use estiva_schema::{ApiError, Kind, Member, OperationSchema, Protocol, RawRequest, Service, codec};
use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, node, offer, owner, text};

/// What a body that is not of the operation's shape is answered with.
const MALFORMED: &str = "SerializationException";
/// The error that says that the fault is the server's.
const FAULT: &str = "ServerException";
/// Members that mean something even when they are empty, or of which an empty one is refused as ECS refuses it.
const EMPTY_IS_NOT_ABSENT: [(&str, &str); 11] = [
    // A token that no list has given.
    ("", "nextToken"),
    // A service without a definition cannot be.
    ("UpdateService", "taskDefinition"),
    // The cluster's default strategy, where none given leaves the service as it is.
    ("UpdateService", "capacityProviderStrategy"),
    // Without constraints or strategies, where none given leaves the service as it is.
    ("UpdateService", "placementConstraints"),
    ("UpdateService", "placementStrategy"),
    // What agents alone send, and never empty.
    ("RegisterContainerInstance", "containerInstanceArn"),
    ("SubmitTaskStateChange", "status"),
    ("SubmitTaskStateChange", "task"),
    ("SubmitContainerStateChange", "task"),
    ("SubmitContainerStateChange", "containerName"),
    ("SubmitContainerStateChange", "status"),
];

/// Operations that leave what the next one needs.
const ADDS: [&str; 6] =
    ["CreateCluster", "PutAccountSetting", "RegisterTaskDefinition", "RunTask", "StartTask", "TagResource"];

/// An installation with one of everything.
struct Stage {
    bench: Bench,
    names: BTreeMap<&'static str, Value>,
}

impl Stage {
    async fn new() -> Self {
        let bench = Bench::with_nodes(&[]).await;
        let by = owner();
        let instance = bench.join("a", json!({})).await;
        let task = bench.run("web").await;
        bench.define("old", json!({ "memory": 8 }), json!({})).await;
        bench.deregister_task_definition(&by, json!({ "taskDefinition": "old:1" })).await.unwrap();
        let service = json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 1 });
        bench.create_service(&by, service).await.unwrap();
        let external = json!({ "serviceName": "sets", "deploymentController": { "type": "EXTERNAL" } });
        bench.create_service(&by, external).await.unwrap();
        let set = json!({ "cluster": "default", "service": "sets", "taskDefinition": "web" });
        let set = bench.create_task_set(&by, set).await.unwrap()["taskSet"]["id"].clone();
        let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/g";
        let provider = json!({ "name": "p", "autoScalingGroupProvider": { "autoScalingGroupArn": group } });
        bench.create_capacity_provider(&by, provider).await.unwrap();
        let listed = bench.list_service_deployments(&by, json!({ "service": "s" })).await.unwrap();
        let deployment = listed["serviceDeployments"][0].clone();
        let names = BTreeMap::from([
            ("instance", json!(instance)),
            ("task", json!(task)),
            ("set", set),
            ("deployment", deployment["serviceDeploymentArn"].clone()),
            ("revision", deployment["targetServiceRevisionArn"].clone()),
        ]);
        Self { bench, names }
    }

    async fn call(
        &self,
        operation: &'static OperationSchema,
        caller: &Caller,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let endpoint = Endpoint(Arc::new(self.bench.ecs.clone()));
        let body = serde_json::to_vec(input).unwrap();
        let request = RawRequest { body: &body, caller: caller.clone(), request_id: "a-test".to_owned() };
        let answer = endpoint.call(operation, codec::of(Protocol::AwsJson11), request).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}

/// A valid input of an operation, and who sends it; `None` for an operation that the service does not implement.
fn valid(operation: &str, names: &BTreeMap<&'static str, Value>) -> Option<(Caller, Value)> {
    let [instance, task, set, deployment, revision] =
        ["instance", "task", "set", "deployment", "revision"].map(|name| names[name].clone());
    let service = |more: Value| merged(json!({ "cluster": "default", "service": "s" }), more);
    let sets = |more: Value| merged(json!({ "cluster": "default", "service": "sets" }), more);
    let tag = json!([{ "key": "k", "value": "v" }]);
    let attribute = json!([{ "name": "stack", "value": "prod", "targetId": instance }]);
    let container = json!({
        "name": "app", "image": "busybox", "memory": 64, "cpu": 1, "essential": true, "command": ["true"],
        "environment": [{ "name": "A", "value": "1" }], "portMappings": [{ "containerPort": 80, "hostPort": 0, "protocol": "tcp" }],
        "healthCheck": { "command": ["CMD", "true"], "interval": 30 },
        "mountPoints": [{ "sourceVolume": "v", "containerPath": "/v" }], "dependsOn": [], "links": [],
        "ulimits": [{ "name": "nofile", "softLimit": 1, "hardLimit": 2 }],
        "logConfiguration": { "logDriver": "json-file", "options": { "max-file": "1" } },
        "linuxParameters": { "capabilities": { "add": ["SYS_PTRACE"] }, "tmpfs": [{ "containerPath": "/t", "size": 1 }] },
        "secrets": [{ "name": "S", "valueFrom": "p" }], "systemControls": [{ "namespace": "net.a", "value": "1" }],
        "restartPolicy": { "enabled": true, "ignoredExitCodes": [1] },
    });
    let definition = json!({
        "family": "new", "containerDefinitions": [container], "volumes": [{ "name": "v", "host": { "sourcePath": "/v" } }],
        "executionRoleArn": "arn:aws:iam::000000000000:role/e", "cpu": "256", "memory": "512", "networkMode": "bridge",
        "placementConstraints": [{ "type": "memberOf", "expression": "attribute:a exists" }], "tags": tag,
        "requiresCompatibilities": ["EC2"], "runtimePlatform": { "cpuArchitecture": "X86_64" },
    });
    let run = json!({
        "taskDefinition": "web", "cluster": "default", "count": 1, "group": "g", "startedBy": "me", "tags": tag,
        "overrides": { "containerOverrides": [{ "name": "app", "command": ["true"], "environment": [{ "name": "A", "value": "1" }] }] },
        "placementConstraints": [{ "type": "distinctInstance" }], "placementStrategy": [{ "type": "spread", "field": "host" }],
        "clientToken": "t", "launchType": "EC2", "propagateTags": "TASK_DEFINITION",
    });
    let created = json!({
        "serviceName": "new", "taskDefinition": "web", "desiredCount": 0, "cluster": "default", "tags": tag, "clientToken": "t",
        "deploymentConfiguration": {
            "maximumPercent": 200, "minimumHealthyPercent": 100, "deploymentCircuitBreaker": { "enable": true, "rollback": true },
        },
        "placementConstraints": [{ "type": "memberOf", "expression": "attribute:a exists" }],
        "placementStrategy": [{ "type": "binpack", "field": "memory" }], "schedulingStrategy": "REPLICA", "launchType": "EC2",
    });
    let strategy = json!([{ "capacityProvider": "FARGATE", "base": 1, "weight": 1 }]);
    let cluster = json!({
        "clusterName": "new", "tags": tag, "settings": [{ "name": "containerInsights", "value": "enabled" }],
        "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": strategy,
        "configuration": { "executeCommandConfiguration": { "logging": "OVERRIDE", "logConfiguration": { "s3BucketName": "b" } } },
        "serviceConnectDefaults": { "namespace": "n" },
    });
    let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/other";
    let provider =
        json!({ "autoScalingGroupArn": group, "managedScaling": { "status": "ENABLED", "targetCapacity": 80 } });
    let report = json!({ "status": "RUNNING", "containers": [{ "containerName": "app", "status": "RUNNING" }] });
    let started =
        json!({ "taskDefinition": "web", "containerInstances": [instance], "cluster": "default", "startedBy": "me" });
    let wanted = match operation {
        "ContinueServiceDeployment" => {
            json!({ "serviceDeploymentArn": deployment, "hookId": "h", "action": "CONTINUE" })
        }
        "CreateCapacityProvider" => json!({ "name": "new", "autoScalingGroupProvider": provider, "tags": tag }),
        "CreateCluster" => cluster,
        "CreateService" => created,
        "CreateTaskSet" => {
            sets(json!({ "taskDefinition": "web", "scale": { "value": 1.0, "unit": "PERCENT" }, "tags": tag }))
        }
        "DeleteAccountSetting" => json!({ "name": "containerInsights" }),
        "PutAttributes" | "DeleteAttributes" => json!({ "attributes": attribute, "cluster": "default" }),
        "DeleteCapacityProvider" => json!({ "capacityProvider": "p" }),
        "DeleteCluster" => json!({ "cluster": "default" }),
        "DeleteService" => service(json!({ "force": true })),
        "DeleteTaskDefinitions" => json!({ "taskDefinitions": ["old:1"] }),
        "DeleteTaskSet" => sets(json!({ "taskSet": set, "force": true })),
        "DeregisterContainerInstance" => json!({ "containerInstance": instance, "force": true, "cluster": "default" }),
        "DeregisterTaskDefinition" => json!({ "taskDefinition": "web:1" }),
        "DescribeCapacityProviders" => json!({ "capacityProviders": ["p"], "include": ["TAGS"] }),
        "DescribeClusters" => json!({ "clusters": ["default"], "include": ["TAGS"] }),
        "DescribeContainerInstances" => json!({ "containerInstances": [instance], "include": ["TAGS"] }),
        "DescribeServiceDeployments" => json!({ "serviceDeploymentArns": [deployment] }),
        "DescribeServiceRevisions" => json!({ "serviceRevisionArns": [revision] }),
        "DescribeServices" => json!({ "services": ["s"], "cluster": "default", "include": ["TAGS"] }),
        "DescribeTaskDefinition" => json!({ "taskDefinition": "web", "include": ["TAGS"] }),
        "DescribeTaskSets" => sets(json!({ "taskSets": [set], "include": ["TAGS"] })),
        "DescribeTasks" => json!({ "tasks": [task], "cluster": "default", "include": ["TAGS"] }),
        "DiscoverPollEndpoint" => json!({ "containerInstance": instance, "cluster": "default" }),
        "ExecuteCommand" => json!({ "task": task, "command": "sh", "interactive": true, "container": "app" }),
        "GetTaskProtection" => json!({ "cluster": "default", "tasks": [task] }),
        "ListAccountSettings" => json!({ "name": "containerInsights", "value": "disabled", "effectiveSettings": true }),
        "ListAttributes" => {
            json!({ "targetType": "container-instance", "attributeName": "name", "attributeValue": "a" })
        }
        "ListClusters" | "ListTaskDefinitionFamilies" => json!({ "maxResults": 1 }),
        "ListTaskDefinitions" => json!({ "familyPrefix": "web", "status": "ACTIVE", "sort": "DESC" }),
        "ListContainerInstances" => json!({ "filter": "attribute:name == a", "status": "ACTIVE" }),
        "ListServiceDeployments" => {
            service(json!({ "status": ["IN_PROGRESS"], "createdAt": { "after": 1, "before": 2 } }))
        }
        "ListServices" => json!({ "cluster": "default", "launchType": "EC2", "schedulingStrategy": "REPLICA" }),
        "ListTagsForResource" => json!({ "resourceArn": task }),
        "ListTasks" => {
            json!({ "cluster": "default", "family": "web", "desiredStatus": "RUNNING", "launchType": "EC2" })
        }
        "PutAccountSetting" | "PutAccountSettingDefault" => json!({ "name": "containerInsights", "value": "enabled" }),
        "PutClusterCapacityProviders" => json!({
            "cluster": "default", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": strategy,
        }),
        "RegisterContainerInstance" => return Some((node("b"), offer("b"))),
        "RegisterTaskDefinition" => definition,
        "RunTask" => run,
        "StartTask" => started,
        "StopServiceDeployment" => json!({ "serviceDeploymentArn": deployment, "stopType": "ABORT" }),
        "StopTask" => json!({ "task": task, "reason": "done", "cluster": "default" }),
        "SubmitAttachmentStateChanges" => {
            json!({ "cluster": "default", "attachments": [{ "attachmentArn": "x", "status": "ATTACHED" }] })
        }
        "SubmitContainerStateChange" => {
            json!({ "task": task, "cluster": "default", "containerName": "app", "status": "RUNNING" })
        }
        "SubmitTaskStateChange" => merged(json!({ "task": task, "cluster": "default" }), report),
        "TagResource" => json!({ "resourceArn": task, "tags": tag }),
        "UntagResource" => json!({ "resourceArn": task, "tagKeys": ["k"] }),
        "UpdateCapacityProvider" => {
            json!({ "name": "p", "autoScalingGroupProvider": { "managedDraining": "DISABLED" } })
        }
        "UpdateCluster" | "UpdateClusterSettings" => {
            json!({ "cluster": "default", "settings": [{ "name": "containerInsights", "value": "enabled" }] })
        }
        "UpdateContainerAgent" => json!({ "containerInstance": instance }),
        "UpdateContainerInstancesState" => json!({ "containerInstances": [instance], "status": "DRAINING" }),
        "UpdateService" => service(json!({
            "desiredCount": 2, "taskDefinition": "web", "placementStrategy": [{ "type": "spread", "field": "attribute:ecs.availability-zone" }],
            "deploymentConfiguration": { "maximumPercent": 150 },
        })),
        "UpdateServicePrimaryTaskSet" => sets(json!({ "primaryTaskSet": set })),
        "UpdateTaskProtection" => json!({ "cluster": "default", "tasks": [task], "protectionEnabled": true }),
        "UpdateTaskSet" => sets(json!({ "taskSet": set, "scale": { "value": 50.0, "unit": "PERCENT" } })),
        _ => return None,
    };
    Some((owner(), wanted))
}

/// Values that nobody means, for a place where `value` stands.
fn odd(value: &Value) -> Vec<Value> {
    let mut odd = vec![
        Value::Null,
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("/"),
        json!("arn:"),
        json!("a b"),
        json!("\u{1f980}"),
        json!("x".repeat(1025)),
        json!([]),
        json!([null]),
        json!([""]),
        json!({}),
        json!({ "unknown": 1 }),
        json!(0),
        json!(-1),
        json!(2_147_483_648_i64),
        json!(1.5),
        json!(true),
        json!("arn:aws:ecs:us-west-2:000000000000:cluster/default"),
        json!("arn:aws:ecs:us-east-1:111111111111:task/default/0123"),
        json!("arn:aws:ecs:us-east-1:000000000000:service/default/a/b/c"),
        json!("arn:aws:s3:::x"),
    ];
    if let Value::String(text) = value {
        odd.extend(
            [text.to_uppercase(), text.to_lowercase(), format!(" {text} "), format!("\"{text}\"")].map(Value::String),
        );
        odd.extend(
            [text.replace("us-east-1", "us-west-2"), text.replace("000000000000", "111111111111")].map(Value::String),
        );
    }
    if let Value::Array(items) = value {
        odd.push(json!([items.clone(), items.clone()].concat()));
        odd.push(Value::Array(items.iter().cycle().take(items.len() * 101).cloned().collect()));
    }
    odd
}

/// The places in a value, from the top down.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    let mut deeper = |name: &str, value: &Value| {
        let place = format!("{place}/{name}");
        places(value, &place, found);
        found.push(place);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| deeper(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(place, value)| deeper(&place.to_string(), value)),
        _ => {}
    }
}

fn input_members(operation: &OperationSchema) -> &'static [Member] {
    if let Kind::Structure { members, .. } = operation.input.kind { members } else { &[] }
}

/// Every input that differs from a valid one in one place.
fn mutations(operation: &'static OperationSchema, valid: &Value) -> Vec<Value> {
    let mut inputs = vec![json!({}), merged(valid.clone(), json!({ "unknownMember": { "a": [1] } }))];
    let mut found = Vec::new();
    places(valid, "", &mut found);
    for place in found {
        let value = valid.pointer(&place).unwrap();
        for odd in odd(value) {
            let mut input = valid.clone();
            *input.pointer_mut(&place).unwrap() = odd;
            inputs.push(input);
        }
    }
    for member in input_members(operation).iter().filter(|member| valid.get(member.name).is_none()) {
        for odd in odd(&Value::Null) {
            let mut input = valid.clone();
            input[member.name] = odd;
            inputs.push(input);
        }
    }
    inputs
}

fn implemented() -> impl Iterator<Item = &'static OperationSchema> {
    let names = ["instance", "task", "set", "deployment", "revision"].map(|name| (name, json!("x")));
    let names = BTreeMap::from(names);
    SERVICE.operations.iter().copied().filter(move |operation| valid(operation.name, &names).is_some())
}

#[tokio::test]
async fn every_operation_that_is_implemented_is_tried() {
    let stage = Stage::new().await;
    let tried: BTreeSet<&str> = implemented().map(|operation| operation.name).collect();
    for operation in SERVICE.operations {
        let input = json!({});
        let answer = stage.call(operation, &owner(), &input).await;
        let is_missing =
            answer.is_err_and(|error| error.code == "NotImplemented" || input_members(operation).is_empty());
        // An operation that lacks a required member is refused before it could say that there is none.
        assert!(tried.contains(operation.name) || is_missing || has_required(operation), "{}", operation.name);
    }
    assert_eq!(tried.len(), 60, "{tried:?}");
}

fn has_required(operation: &OperationSchema) -> bool {
    input_members(operation).iter().any(|member| member.required)
}

#[tokio::test]
async fn valid_inputs_are_valid() {
    // What a stage has not: a hook that waits, a session, an attachment, another version of the agent.
    let refused =
        ["ContinueServiceDeployment", "ExecuteCommand", "SubmitAttachmentStateChanges", "UpdateContainerAgent"];
    let in_use = ["DeleteCluster", "UpdateTaskProtection"];
    for operation in implemented() {
        let stage = Stage::new().await;
        let (caller, input) = valid(operation.name, &stage.names).unwrap();
        let answer = stage.call(operation, &caller, &input).await;
        let is_refused = refused.contains(&operation.name) || in_use.contains(&operation.name);
        assert!(answer.is_ok() || is_refused, "{}: {input}: {answer:?}", operation.name);
    }
}

async fn try_operations(operations: impl Iterator<Item = &'static OperationSchema>) {
    let mut wrong = Vec::new();
    for operation in operations {
        let mut stage = Stage::new().await;
        let (caller, input) = valid(operation.name, &stage.names).unwrap();
        let mut inputs = mutations(operation, &input);
        for number in 0..inputs.len() {
            match stage.call(operation, &caller, &inputs[number]).await {
                Ok(_) if operation.readonly || ADDS.contains(&operation.name) => {}
                Ok(_) => {
                    stage = Stage::new().await;
                    let (_, input) = valid(operation.name, &stage.names).unwrap();
                    inputs = mutations(operation, &input);
                }
                Err(error) => {
                    let code = error.code.as_ref();
                    let is_modelled = operation.errors.contains(&code) && code != FAULT;
                    if error.is_fault() || !(is_modelled || code == MALFORMED) {
                        wrong.push(format!("{}: {}: {code}: {}", operation.name, inputs[number], error.message));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

#[tokio::test]
async fn odd_inputs_are_never_the_servers_fault() {
    try_operations(implemented().filter(|it| it.name != "RegisterTaskDefinition")).await;
}

#[tokio::test]
async fn odd_definitions_are_never_the_servers_fault() {
    try_operations(implemented().filter(|it| it.name == "RegisterTaskDefinition")).await;
}

#[tokio::test]
async fn empty_texts_and_lists_are_as_if_they_were_not_there() {
    let mut wrong = Vec::new();
    for operation in implemented() {
        for member in input_members(operation).iter().filter(|member| !member.required) {
            let empty = match member.shape.kind {
                Kind::String => json!(""),
                Kind::List { .. } => json!([]),
                _ => continue,
            };
            let is = |(of, name): &(&str, &str)| (of.is_empty() || *of == operation.name) && *name == member.name;
            if EMPTY_IS_NOT_ABSENT.iter().any(is) {
                continue;
            }
            let mut answers = Vec::new();
            for value in [Some(empty), None] {
                let stage = Stage::new().await;
                let (caller, mut input) = valid(operation.name, &stage.names).unwrap();
                match value {
                    Some(value) => input[member.name] = value,
                    None => drop(input.as_object_mut().unwrap().remove(member.name)),
                }
                let answer = stage.call(operation, &caller, &input).await;
                answers.push(answer.map(|_| ()).map_err(|error| format!("{}: {}", error.code, error.message)));
            }
            if answers[0] != answers[1] {
                wrong.push(format!("{}.{}: {answers:?}", operation.name, member.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_value_that_is_none_of_an_enumeration() {
    let stage = Stage::new().await;
    let task = text(&stage.names["task"]);
    let definition = json!({ "family": "f", "networkMode": "x", "containerDefinitions": [{ "name": "a", "image": "b", "memory": 8 }] });
    let cases = [
        (
            "DescribeClusters",
            json!({ "include": ["FOO"] }),
            "InvalidParameterException: include should be one of [ATTACHMENTS,CONFIGURATIONS,SETTINGS,STATISTICS,TAGS]",
        ),
        (
            "DescribeTasks",
            json!({ "tasks": [task], "include": ["tags"] }),
            "InvalidParameterException: include should be one of [TAGS]",
        ),
        (
            "RunTask",
            json!({ "taskDefinition": "web", "launchType": "FOO" }),
            "InvalidParameterException: launch type should be one of [EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES]",
        ),
        (
            "ListServices",
            json!({ "schedulingStrategy": "FOO" }),
            "InvalidParameterException: Scheduling strategy should be one of [REPLICA,DAEMON]",
        ),
        (
            "RegisterTaskDefinition",
            definition,
            "ClientException: networkMode should be one of [bridge,host,awsvpc,none]",
        ),
    ];
    for (name, input, expected) in cases {
        let operation = SERVICE.operations.iter().find(|operation| operation.name == name).unwrap();
        let error = stage.call(operation, &owner(), &input).await.unwrap_err();
        assert_eq!(format!("{}: {}", error.code, error.message), expected, "{input}");
    }
    let setting = SERVICE.operations.iter().find(|operation| operation.name == "PutAccountSetting").unwrap();
    let error = stage.call(setting, &owner(), &json!({ "name": "FOO", "value": "x" })).await.unwrap_err();
    assert!(error.message.starts_with("FOO should be one of [serviceLongArnFormat,"), "{}", error.message);
}
