//! Task definition and overrides in, the task as a node reads it out: JSON on both sides.

use estiva_agent_protocol::task::Credentials;
use estiva_api_ecs::types as api;
use estiva_ecs::scope::Scope;
use estiva_ecs::task::table::{NetworkInterface, TaskRow};
use estiva_model::{AccountId, Region, Timestamp};
use estiva_planning::lifecycle::DesiredStatus;
use estiva_schema::json as codec;
use serde_json::{Value, json};

use super::{Context, Node, of_definition};

mod aws_agent;

const ID: &str = "0123456789abcdef0123456789abcdef";

#[allow(clippy::default_trait_access, reason = "the type of tags has no public name")]
fn row(overrides: &Value) -> TaskRow {
    TaskRow {
        scope: Scope { account: AccountId::default(), region: Region::default() },
        cluster: "default".to_owned(),
        id: ID.to_owned(),
        family: "web".to_owned(),
        revision: 7,
        launch_type: "EC2".to_owned(),
        capacity_provider: None,
        container_instance: "i".to_owned(),
        container_instance_cluster: "default".to_owned(),
        availability_zone: "us-east-1a".to_owned(),
        desired_status: DesiredStatus::Running,
        stop_code: None,
        stopped_reason: None,
        group: "family:web".to_owned(),
        started_by: None,
        overrides: codec::from_value(overrides).unwrap(),
        enable_execute_command: false,
        credentials_id: "c".repeat(32),
        execution_credentials_id: "e".repeat(32),
        tags: Default::default(),
        demand: estiva_planning::placement::Resources::default(),
        network_interface: None,
        created_at: Timestamp(0),
        is_live: true,
        timeout_seconds: None,
        deployment: None,
        failure: None,
        image_digests: std::collections::BTreeMap::new(),
        is_of_hook: false,
    }
}

/// A node with Estiva's own agent.
fn own_node() -> Node {
    Node { own: true, logs_as_execution_role: false, endpoint: "http://10.0.0.1:4566".to_owned() }
}

/// The task as it is sent.
fn sent(row: &TaskRow, definition: &Value) -> Value {
    sent_to(&own_node(), row, definition)
}

/// The task as it is sent to this node, with every role's credentials.
fn sent_to(node: &Node, row: &TaskRow, definition: &Value) -> Value {
    let definition: api::TaskDefinition = codec::from_value(definition).unwrap();
    let context = Context { node, log_mode: "non-blocking", issue: &credentials };
    serde_json::to_value(of_definition(row, &definition, row.desired_status, &context)).unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "as the issuer of credentials, who may give none")]
fn credentials(id: &str, role: &str) -> Option<Credentials> {
    Some(Credentials { credentials_id: id.to_owned(), role_arn: role.to_owned(), ..Credentials::default() })
}

/// The one container of a task whose definition has this one, with its Docker texts as JSON.
fn container(definition: Value, overrides: Value) -> Value {
    container_in("bridge", definition, overrides)
}

fn container_in(network_mode: &str, mut definition: Value, mut overrides: Value) -> Value {
    definition["name"] = json!("app");
    overrides["name"] = json!("app");
    let row = row(&json!({ "containerOverrides": [{ "name": "other", "command": ["other"] }, overrides] }));
    let definition = json!({ "networkMode": network_mode, "containerDefinitions": [definition] });
    let mut container = sent(&row, &definition)["containers"][0].take();
    for text in ["config", "hostConfig"] {
        let value = &mut container["dockerConfig"][text];
        *value = serde_json::from_str(value.as_str().unwrap()).unwrap();
    }
    container
}

fn host_config(definition: Value) -> Value {
    container(definition, json!({}))["dockerConfig"]["hostConfig"].take()
}

#[test]
fn the_least_that_a_definition_says() {
    let definition = json!({ "containerDefinitions": [{ "name": "app", "image": "busybox", "memory": 10 }] });
    let task = sent(&row(&json!({})), &definition);
    let config = json!({ "Labels": {
        "com.amazonaws.ecs.cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
        "com.amazonaws.ecs.container-name": "app",
        "com.amazonaws.ecs.task-arn": format!("arn:aws:ecs:us-east-1:000000000000:task/default/{ID}"),
        "com.amazonaws.ecs.task-definition-family": "web",
        "com.amazonaws.ecs.task-definition-version": "7",
    } });
    let expected = json!({
        "arn": format!("arn:aws:ecs:us-east-1:000000000000:task/default/{ID}"),
        "taskClusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
        "family": "web",
        "version": "7",
        "desiredStatus": "RUNNING",
        "networkMode": "bridge",
        "launchType": "EC2",
        "zone": "us-east-1a",
        "group": "family:web",
        "containers": [{
            "name": "app",
            "image": "busybox",
            "cpu": 0,
            "memory": 10,
            "essential": true,
            "environment": {},
            "portMappings": [],
            "containerArn": format!("arn:aws:ecs:us-east-1:000000000000:container/default/{ID}/000000000000"),
            "dockerConfig": {
                "config": config.to_string(),
                "hostConfig": r#"{"NetworkMode":"bridge"}"#,
                "version": "1.24",
            },
        }],
    });
    assert_eq!(task, expected);
}

#[test]
fn a_tasks_own_sizes_are_vcpus_and_mib_and_can_be_overridden() {
    let definition = json!({ "cpu": "256", "memory": "512" });
    let task = sent(&row(&json!({})), &definition);
    assert_eq!((&task["cpu"], &task["memory"]), (&json!(0.25), &json!(512)));
    let task = sent(&row(&json!({ "cpu": "2048", "memory": "1024" })), &definition);
    assert_eq!((&task["cpu"], &task["memory"]), (&json!(2.0), &json!(1024)));
    let task = sent(&row(&json!({ "memory": "64" })), &json!({}));
    assert_eq!((task.get("cpu"), &task["memory"]), (None, &json!(64)));
}

#[test]
fn a_task_to_stop_says_so() {
    let task = TaskRow { desired_status: DesiredStatus::Stopped, ..row(&json!({})) };
    assert_eq!(sent(&task, &json!({}))["desiredStatus"], "STOPPED");
}

#[test]
fn containers_keep_their_order_and_have_their_own_arns() {
    let definition = json!({ "containerDefinitions": [{ "name": "b" }, { "name": "a", "essential": false }] });
    let task = sent(&row(&json!({})), &definition);
    let containers = task["containers"].as_array().unwrap();
    let found: Vec<_> = containers.iter().map(|it| (it["name"].clone(), it["essential"].clone())).collect();
    assert_eq!(found, [(json!("b"), json!(true)), (json!("a"), json!(false))]);
    assert_ne!(containers[0]["containerArn"], containers[1]["containerArn"]);
}

#[test]
fn overrides_of_a_container_are_merged_into_it() {
    let definition = json!({
        "cpu": 10,
        "memory": 20,
        "memoryReservation": 5,
        "entryPoint": ["/entry"],
        "command": ["defined", "twice"],
        "environment": [{ "name": "KEPT", "value": "defined" }, { "name": "CHANGED", "value": "defined" }],
    });
    let found = container(definition.clone(), json!({}));
    assert_eq!((&found["cpu"], &found["memory"]), (&json!(10), &json!(20)));
    assert_eq!(found["command"], json!(["defined", "twice"]));
    let overrides = json!({
        "cpu": 11,
        "memory": 21,
        "memoryReservation": 6,
        "command": ["mine"],
        "environment": [{ "name": "CHANGED", "value": "mine" }, { "name": "ADDED", "value": "" }, { "name": "BARE" }],
    });
    let found = container(definition.clone(), overrides);
    assert_eq!((&found["cpu"], &found["memory"]), (&json!(11), &json!(21)));
    assert_eq!(found["dockerConfig"]["hostConfig"]["MemoryReservation"], 6 << 20);
    assert_eq!((&found["command"], &found["entryPoint"]), (&json!(["mine"]), &json!(["/entry"])));
    let environment = json!({ "ADDED": "", "BARE": "", "CHANGED": "mine", "KEPT": "defined" });
    assert_eq!(found["environment"], environment);
    // AWS's agent rejects a task whose container has overrides besides a command; all of them are merged in.
    assert_eq!(found.get("overrides"), None);
    // An empty command overrides nothing.
    assert_eq!(container(definition, json!({ "command": [] }))["command"], json!(["defined", "twice"]));
}

#[test]
fn ports_are_published_as_asked_or_where_there_is_room() {
    let ports = json!([
        { "containerPort": 80, "hostPort": 8080, "protocol": "tcp" },
        { "containerPort": 53, "protocol": "udp" },
    ]);
    let expected = json!([
        { "containerPort": 80, "hostPort": 8080, "protocol": "tcp" },
        { "containerPort": 53, "hostPort": 0, "protocol": "udp" },
    ]);
    assert_eq!(container(json!({ "portMappings": ports }), json!({}))["portMappings"], expected);
}

#[test]
fn dockers_config_has_what_the_process_is() {
    let found = container(
        json!({
            "user": "1000:1000",
            "workingDirectory": "/srv",
            "hostname": "box",
            "interactive": true,
            "pseudoTerminal": true,
            "stopTimeout": 5,
            "dockerLabels": { "mine": "yes", "com.amazonaws.ecs.task-arn": "forged" },
        }),
        json!({}),
    );
    assert_eq!(found["stopTimeout"], 5);
    let config = &found["dockerConfig"]["config"];
    let labels = &config["Labels"];
    assert_eq!(labels["mine"], "yes");
    assert_eq!(labels["com.amazonaws.ecs.task-arn"], row(&json!({})).arn());
    let mut rest = config.clone();
    rest.as_object_mut().unwrap().remove("Labels");
    let expected = json!({
        "User": "1000:1000", "WorkingDir": "/srv", "Hostname": "box", "OpenStdin": true, "Tty": true,
    });
    assert_eq!(rest, expected);
}

#[test]
fn dockers_host_config_has_what_surrounds_the_process() {
    let found = host_config(json!({
        "readonlyRootFilesystem": true,
        "privileged": true,
        "logConfiguration": { "logDriver": "awslogs", "options": { "awslogs-group": "g", "mode": "blocking" } },
        "ulimits": [{ "name": "nofile", "softLimit": 1024, "hardLimit": 4096 }, { "name": "core", "softLimit": -1, "hardLimit": -1 }],
        "extraHosts": [{ "hostname": "db", "ipAddress": "10.0.0.9" }],
        "dnsServers": ["10.0.0.2"],
        "dnsSearchDomains": ["example.org"],
        "systemControls": [{ "namespace": "net.core.somaxconn", "value": "512" }, { "namespace": "without.value" }],
        "linuxParameters": {
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["MKNOD"] },
            "sharedMemorySize": 128,
            "initProcessEnabled": false,
            "tmpfs": [
                { "containerPath": "/run", "size": 16, "mountOptions": ["noexec", "nosuid"] },
                { "containerPath": "/tmp", "size": 1 },
            ],
        },
    }));
    let expected = json!({
        "NetworkMode": "bridge",
        "ReadonlyRootfs": true,
        "Privileged": true,
        "LogConfig": { "Type": "awslogs", "Config": { "awslogs-group": "g", "mode": "blocking" } },
        "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 4096 }, { "Name": "core", "Soft": -1, "Hard": -1 }],
        "ExtraHosts": ["db:10.0.0.9"],
        "Dns": ["10.0.0.2"],
        "DnsSearch": ["example.org"],
        "Sysctls": { "net.core.somaxconn": "512" },
        "CapAdd": ["NET_ADMIN"],
        "CapDrop": ["MKNOD"],
        "ShmSize": 128 << 20,
        "Init": false,
        "Tmpfs": { "/run": "noexec,nosuid,size=16m", "/tmp": "size=1m" },
    });
    assert_eq!(found, expected);
}

#[test]
fn what_is_out_of_range_does_not_wrap() {
    let found = container(
        json!({ "memoryReservation": i32::MAX, "stopTimeout": -1, "portMappings": [{ "containerPort": 70_000 }] }),
        json!({}),
    );
    assert_eq!(found["dockerConfig"]["hostConfig"]["MemoryReservation"], i64::from(i32::MAX) << 20);
    assert_eq!(found.get("stopTimeout"), None);
    assert_eq!(found["portMappings"][0]["containerPort"], 0);
}

#[test]
fn the_network_is_dockers_affair_but_for_awsvpc() {
    for mode in ["bridge", "host", "none"] {
        let found = container_in(mode, json!({}), json!({}));
        assert_eq!(found["dockerConfig"]["hostConfig"], json!({ "NetworkMode": mode }));
    }
    assert_eq!(container_in("awsvpc", json!({}), json!({}))["dockerConfig"]["hostConfig"], json!({}));
}

#[test]
fn a_task_in_a_vpc_brings_its_interface() {
    let interface = NetworkInterface {
        attachment_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        id: "eni-0123456789abcdef0".to_owned(),
        subnet: "subnet-1".to_owned(),
        mac_address: "0a:00:00:00:00:01".to_owned(),
        private_ipv4_address: "10.1.0.10".to_owned(),
        gateway: "10.1.0.1/24".to_owned(),
    };
    let task = TaskRow { network_interface: Some(interface), ..row(&json!({})) };
    let sent = sent(&task, &json!({ "networkMode": "awsvpc" }));
    assert_eq!(sent["networkMode"], "awsvpc");
    let expected = json!([{
        "ec2Id": "eni-0123456789abcdef0",
        "attachmentArn": "arn:aws:ecs:us-east-1:000000000000:attachment/11111111-2222-3333-4444-555555555555",
        "macAddress": "0a:00:00:00:00:01",
        "ipv4Addresses": [{ "privateAddress": "10.1.0.10", "primary": true }],
        "subnetGatewayIpv4Address": "10.1.0.1/24",
    }]);
    assert_eq!(sent["ElasticNetworkInterfaces"], expected);
}

#[test]
fn the_texts_are_read_back_as_they_were_meant() {
    use estiva_agent_protocol::task::Task;
    use estiva_agent_protocol::task::docker::{Config, HostConfig};
    let definition = json!({ "containerDefinitions": [{
        "name": "app",
        "user": "näme \"quoted\"",
        "environment": [{ "name": "A", "value": "line\nline \u{1f980}" }],
        "dockerLabels": { "k": "\\ \u{1}" },
    }] });
    let row = row(&json!({}));
    let text = sent(&row, &definition).to_string();
    let task: Task = serde_json::from_str(&text).unwrap();
    let container = &task.containers[0];
    assert_eq!(container.environment["A"], "line\nline \u{1f980}");
    let config: Config = serde_json::from_str(container.docker_config.config.as_ref().unwrap()).unwrap();
    assert_eq!((config.user.as_str(), config.labels["k"].as_str()), ("näme \"quoted\"", "\\ \u{1}"));
    let host: HostConfig = serde_json::from_str(container.docker_config.host_config.as_ref().unwrap()).unwrap();
    assert_eq!(host, HostConfig { network_mode: "bridge".to_owned(), ..HostConfig::default() });
}

#[test]
fn the_account_decides_on_the_log_mode_that_nobody_names() {
    let node = own_node();
    let context = Context { node: &node, log_mode: "blocking", issue: &credentials };
    let row = row(&json!({}));
    let mode = |driver: &str| {
        let log_driver = api::LogDriver::parse(driver).unwrap();
        let log = api::LogConfiguration { log_driver, ..api::LogConfiguration::default() };
        super::log::config(&row, "app", &log, &context).config.remove("mode")
    };
    assert_eq!((mode("awslogs").as_deref(), mode("json-file")), (Some("blocking"), None));
    assert_eq!(mode("awsfirelens").as_deref(), Some("blocking"));
}

#[test]
fn a_role_comes_with_credentials_and_an_override_comes_first() {
    let role = |overrides: &Value, definition: &Value| {
        let sent = sent(&row(overrides), definition);
        sent["roleCredentials"]["roleArn"].as_str().map(str::to_owned)
    };
    let with_role = json!({ "taskRoleArn": "arn:aws:iam::000000000000:role/web", "containerDefinitions": [] });
    let without = json!({ "containerDefinitions": [] });
    let other = json!({ "taskRoleArn": "arn:aws:iam::000000000000:role/other" });
    assert_eq!(role(&json!({}), &without), None);
    assert_eq!(role(&json!({}), &with_role).as_deref(), Some("arn:aws:iam::000000000000:role/web"));
    assert_eq!(role(&other, &with_role).as_deref(), Some("arn:aws:iam::000000000000:role/other"));
}

#[test]
fn what_a_container_waits_for_mounts_and_is_asked() {
    let definition = json!({
        "dependsOn": [{ "containerName": "first", "condition": "HEALTHY" }],
        "startTimeout": 7,
        "links": ["first:one"],
        "mountPoints": [{ "sourceVolume": "v", "containerPath": "/v", "readOnly": true }],
        "volumesFrom": [{ "sourceContainer": "first" }],
        "restartPolicy": { "enabled": true, "ignoredExitCodes": [3], "restartAttemptPeriod": 60 },
        "healthCheck": { "command": ["curl", "-f", "http://localhost"], "interval": 10 },
    });
    let container = container(definition, json!({}));
    assert_eq!(container["dependsOn"], json!([{ "containerName": "first", "condition": "HEALTHY" }]));
    assert_eq!((&container["startTimeout"], &container["links"]), (&json!(7), &json!(["first:one"])));
    assert_eq!(container["mountPoints"], json!([{ "sourceVolume": "v", "containerPath": "/v", "readOnly": true }]));
    assert_eq!(container["volumesFrom"], json!([{ "sourceContainer": "first", "readOnly": false }]));
    let policy = json!({ "enabled": true, "ignoredExitCodes": [3], "restartAttemptPeriod": 60 });
    assert_eq!((&container["restartPolicy"], &container["healthCheckType"]), (&policy, &json!("docker")));
    // Nanoseconds; a command without its kind is a program with its arguments.
    let check = json!({
        "Test": ["CMD", "curl", "-f", "http://localhost"],
        "Interval": 10_000_000_000_i64,
        "Timeout": 5_000_000_000_i64,
        "StartPeriod": 0,
        "Retries": 3,
    });
    assert_eq!(container["dockerConfig"]["config"]["Healthcheck"], check);
}

#[test]
fn volumes_of_each_kind() {
    let volumes = json!([
        { "name": "scratch" },
        { "name": "bound", "host": { "sourcePath": "/srv" } },
        { "name": "ours", "dockerVolumeConfiguration": { "scope": "shared", "autoprovision": true } },
    ]);
    let task = sent(&row(&json!({})), &json!({ "volumes": volumes, "containerDefinitions": [] }));
    let expected = json!([
        { "name": "scratch", "type": "host", "host": {} },
        { "name": "bound", "type": "host", "host": { "sourcePath": "/srv" } },
        {
            "name": "ours",
            "type": "docker",
            "dockerVolumeConfiguration": { "scope": "shared", "autoprovision": true, "driver": "local" },
        },
    ]);
    assert_eq!(task["volumes"], expected);
}
