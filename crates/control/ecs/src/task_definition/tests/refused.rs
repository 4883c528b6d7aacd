//! What cannot be registered: each rule by an example that breaks it alone.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, owner, refusal};

/// A task definition of one container, with other members.
fn definition(more: Value) -> Value {
    merged(json!({ "family": "f", "containerDefinitions": [container(json!({}))] }), more)
}

fn container(more: Value) -> Value {
    merged(json!({ "name": "app", "image": "busybox", "memory": 64 }), more)
}

fn of(containers: Value) -> Value {
    definition(Value::Object([("containerDefinitions".to_owned(), containers)].into_iter().collect()))
}

async fn check(cases: Vec<(Value, &str)>) {
    let bench = Bench::with_nodes(&[]).await;
    for (input, expected) in cases {
        let answer = bench.register_task_definition(&owner(), input.clone()).await;
        if expected.is_empty() {
            answer.unwrap_or_else(|error| panic!("{input}: {error}"));
        } else {
            let told = refusal(answer);
            assert!(told.starts_with("ClientException") && told.contains(expected), "{input}: {told}");
        }
    }
}

#[tokio::test]
async fn containers_that_need_each_other() {
    let other = |more| container(merged(json!({ "name": "other" }), more));
    let on = |condition: &str| json!({ "dependsOn": [{ "containerName": "other", "condition": condition }] });
    let healthy = json!({ "healthCheck": { "command": ["CMD", "true"] } });
    let back = json!({ "dependsOn": [{ "containerName": "app", "condition": "START" }] });
    check(vec![
        (of(json!([container(on("START")), other(json!({}))])), ""),
        (of(json!([container(on("START"))])), "Cannot depend on container + 'other' because it does not exist"),
        (of(json!([container(back.clone())])), "Cannot depend on container + 'app' because it does not exist"),
        (of(json!([container(on("HEALTHY")), other(json!({}))])), "must have health check configured"),
        (of(json!([container(on("HEALTHY")), other(healthy)])), ""),
        (of(json!([container(on("SUCCESS")), other(json!({}))])), "cannot be an essential container"),
        (of(json!([container(on("COMPLETE")), other(json!({ "essential": false }))])), ""),
        (of(json!([container(on("START")), other(back)])), "circular dependency"),
        (of(json!([container(json!({ "volumesFrom": [{ "sourceContainer": "x" }] }))])), "volumesFrom"),
        (of(json!([container(json!({ "links": ["x:alias"] }))])), "links"),
        (
            of(json!([
                container(json!({ "links": ["other"] })),
                other(json!({ "volumesFrom": [{ "sourceContainer": "app" }] }))
            ])),
            "circular dependency",
        ),
    ])
    .await;
}

#[tokio::test]
async fn volumes_and_mount_points() {
    let with = |volume: Value, mount: Value| {
        definition(
            json!({ "volumes": [volume], "containerDefinitions": [container(json!({ "mountPoints": [mount] }))] }),
        )
    };
    let at = |path: &str| json!({ "sourceVolume": "v", "containerPath": path });
    let volume = |more| merged(json!({ "name": "v" }), more);
    let efs = |more| volume(json!({ "efsVolumeConfiguration": merged(json!({ "fileSystemId": "fs-1" }), more) }));
    check(vec![
        (with(volume(json!({})), at("/data")), ""),
        (with(json!({ "name": "w" }), at("/data")), "Unknown volume 'v'."),
        (with(volume(json!({})), at("data")), "containerPath must be an absolute path"),
        (with(json!({ "name": "a b" }), at("/data")), "volumes[0]: name"),
        (with(volume(json!({ "host": { "sourcePath": "data" } })), at("/data")), "host.sourcePath"),
        (
            with(volume(json!({ "host": {}, "dockerVolumeConfiguration": {} })), at("/data")),
            "more than one kind of configuration",
        ),
        (with(volume(json!({ "dockerVolumeConfiguration": { "autoprovision": true } })), at("/data")), "autoprovision"),
        (with(efs(json!({ "authorizationConfig": { "iam": "ENABLED" } })), at("/data")), "TransitEncryption"),
        (
            with(
                efs(json!({
                    "rootDirectory": "/x", "transitEncryption": "ENABLED", "authorizationConfig": { "accessPointId": "fsap-1" },
                })),
                at("/data"),
            ),
            "root directory",
        ),
        (definition(json!({ "volumes": [{ "name": "v" }, { "name": "v" }] })), "given twice"),
        (
            definition(json!({
                "volumes": [{ "name": "v" }],
                "containerDefinitions": [container(json!({ "mountPoints": [at("/data"), at("/data")] }))],
            })),
            "two volumes are mounted at /data",
        ),
    ])
    .await;
}

#[tokio::test]
async fn secrets_and_files() {
    let role = json!({ "executionRoleArn": "arn:aws:iam::000000000000:role/execution" });
    let secret = |from: &str| {
        let secrets = json!({ "secrets": [{ "name": "KEY", "valueFrom": from }] });
        merged(of(json!([container(secrets)])), role.clone())
    };
    let manager = "arn:aws:secretsmanager:us-east-1:000000000000:secret";
    let shadowed =
        json!({ "environment": [{ "name": "KEY", "value": "x" }], "secrets": [{ "name": "KEY", "valueFrom": "p" }] });
    let file = |value: &str| of(json!([container(json!({ "environmentFiles": [{ "type": "s3", "value": value }] }))]));
    check(vec![
        (secret("parameter"), ""),
        (secret("arn:aws:ssm:us-east-1:000000000000:parameter/a/b"), ""),
        (secret(&format!("{manager}:db-AbCdEf")), ""),
        (secret(&format!("{manager}:db-AbCdEf:password::")), ""),
        (secret(&format!("{manager}:db-AbCdEf:password:AWSCURRENT:1")), "exclude each other"),
        (secret(&format!("{manager}:db-AbCdEf:password")), "is no ARN of a parameter or of a secret"),
        (secret("arn:aws:s3:::bucket/key"), "is no ARN of a parameter or of a secret"),
        (merged(of(json!([container(shadowed)])), role.clone()), "The secret name must be unique"),
        (of(json!([container(json!({ "secrets": [{ "name": "K", "valueFrom": "p" }] }))])), "'executionRoleArn'"),
        (
            of(json!([container(json!({ "repositoryCredentials": { "credentialsParameter": "p" } }))])),
            "'executionRoleArn'",
        ),
        (file("arn:aws:s3:::bucket/a.env"), ""),
        (file("arn:aws:s3:::bucket/a.txt"), "environmentFiles"),
        (file("s3://bucket/a.env"), "Invalid arn syntax."),
    ])
    .await;
}

#[tokio::test]
async fn health_checks_timeouts_and_restarts() {
    let health = |more| {
        let check = merged(json!({ "command": ["CMD-SHELL", "true"] }), more);
        of(json!([container(json!({ "healthCheck": check }))]))
    };
    let restart = |more| {
        let policy = merged(json!({ "enabled": true }), more);
        of(json!([container(json!({ "restartPolicy": policy }))]))
    };
    check(vec![
        (health(json!({ "interval": 5, "timeout": 60, "retries": 10, "startPeriod": 0 })), ""),
        (health(json!({ "interval": 4 })), "Health check interval"),
        (health(json!({ "timeout": 61 })), "Health check timeout"),
        (health(json!({ "retries": 0 })), "Health check retries"),
        (health(json!({ "startPeriod": 301 })), "Health check start period"),
        (health(json!({ "command": [] })), "healthCheck.command"),
        (health(json!({ "command": ["CMD"] })), "healthCheck.command"),
        (health(json!({ "command": ["CMD-SHELL", "a", "b"] })), "healthCheck.command"),
        (restart(json!({ "restartAttemptPeriod": 60, "ignoredExitCodes": [0] })), ""),
        (restart(json!({ "restartAttemptPeriod": 59 })), "restartAttemptPeriod"),
        (restart(json!({ "ignoredExitCodes": vec![1; 51] })), "ignoredExitCodes"),
        (of(json!([container(json!({ "startTimeout": 1 }))])), "start timeout"),
        (of(json!([container(json!({ "stopTimeout": -1 }))])), "stopTimeout"),
    ])
    .await;
}

#[tokio::test]
async fn the_kernel_and_the_network() {
    let linux = |more: Value| of(json!([container(json!({ "linuxParameters": more }))]));
    let limits = |list: Value| of(json!([container(json!({ "ulimits": list }))]));
    let mode =
        |mode: &str, more: Value| definition(json!({ "networkMode": mode, "containerDefinitions": [container(more)] }));
    let ports = |mapping: Value| json!({ "portMappings": [mapping] });
    check(vec![
        (linux(json!({ "maxSwap": -1 })), "maxSwap"),
        (linux(json!({ "swappiness": 101 })), "swappiness"),
        (linux(json!({ "sharedMemorySize": 0 })), "sharedMemorySize"),
        (linux(json!({ "devices": [{ "hostPath": "null" }] })), "devices"),
        (linux(json!({ "tmpfs": [{ "containerPath": "/x", "size": 0 }] })), "tmpfs"),
        (limits(json!([{ "name": "nofile", "softLimit": 2, "hardLimit": 1 }])), "softLimit"),
        (limits(json!([{ "name": "nofile", "softLimit": 1, "hardLimit": -1 }])), ""),
        (
            of(json!([container(json!({ "systemControls": [{ "namespace": "net.core.somaxconn" }] }))])),
            "systemControls",
        ),
        (mode("awsvpc", json!({ "hostname": "h" })), "hostname is not supported on container when networkMode=awsvpc"),
        (mode("host", json!({ "links": ["app"] })), "Links are not supported"),
        (mode("awsvpc", json!({ "dnsServers": ["1.1.1.1"] })), "DNS servers"),
        (mode("awsvpc", json!({ "extraHosts": [{ "hostname": "h", "ipAddress": "1.1.1.1" }] })), "Extra hosts"),
        (mode("none", ports(json!({ "containerPort": 80 }))), "networkMode none"),
        (mode("bridge", ports(json!({ "containerPortRange": "100-110" }))), ""),
        (mode("bridge", ports(json!({ "containerPortRange": "110-100" }))), "containerPortRange"),
        (mode("host", ports(json!({ "containerPortRange": "100-110" }))), "containerPortRange"),
        (
            mode("bridge", ports(json!({ "containerPort": 1, "containerPortRange": "1-2" }))),
            "both single port and port range",
        ),
        (mode("bridge", ports(json!({ "hostPort": 1 }))), "containerPort must be from 1 to 65535"),
        (
            mode(
                "bridge",
                json!({ "portMappings": [{ "containerPort": 1, "name": "a" }, { "containerPort": 2, "name": "a" }] }),
            ),
            "name is already used",
        ),
    ])
    .await;
}

#[tokio::test]
async fn fargate() {
    let fargate = |more| {
        let base =
            json!({ "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512" });
        definition(merged(base, more))
    };
    let with = |more| fargate(json!({ "containerDefinitions": [container(more)] }));
    let logs =
        |driver: &str, options: Value| with(json!({ "logConfiguration": { "logDriver": driver, "options": options } }));
    check(vec![
        (fargate(json!({ "ephemeralStorage": { "sizeInGiB": 21 }, "pidMode": "task" })), ""),
        (fargate(json!({ "ephemeralStorage": { "sizeInGiB": 201 } })), "EphemeralStorage"),
        (definition(json!({ "ephemeralStorage": { "sizeInGiB": 21 } })), "do not support EphemeralStorage"),
        (fargate(json!({ "pidMode": "host" })), "pidMode"),
        (fargate(json!({ "ipcMode": "task" })), "ipcMode"),
        (fargate(json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/x" } }] })), "sourcePath"),
        (
            fargate(json!({ "placementConstraints": [{ "type": "memberOf", "expression": "attribute:a exists" }] })),
            "do not support constraints",
        ),
        (with(json!({ "privileged": true })), "privileged"),
        (with(json!({ "stopTimeout": 121 })), "stop timeout"),
        (with(json!({ "linuxParameters": { "tmpfs": [{ "containerPath": "/x", "size": 1 }] } })), "tmpfs"),
        (with(json!({ "linuxParameters": { "capabilities": { "add": ["SYS_PTRACE"] } } })), ""),
        (with(json!({ "linuxParameters": { "capabilities": { "add": ["SYS_ADMIN"] } } })), "SYS_ADMIN is not allowed"),
        (with(json!({ "ulimits": [{ "name": "nproc", "softLimit": 1, "hardLimit": 1 }] })), "ulimits"),
        (logs("json-file", json!({})), "is not a valid log driver"),
        (logs("awslogs", json!({ "awslogs-group": "g" })), "awslogs-stream-prefix"),
        (
            merged(
                logs("awslogs", json!({ "awslogs-group": "g", "awslogs-stream-prefix": "p" })),
                json!({ "executionRoleArn": "arn:aws:iam::000000000000:role/execution" }),
            ),
            "",
        ),
        (fargate(json!({ "memory": "4096" })), "No Fargate configuration exists for given values"),
    ])
    .await;
}

#[tokio::test]
async fn the_task_as_a_whole() {
    let constraint = |expression: &str| {
        definition(json!({ "placementConstraints": [{ "type": "memberOf", "expression": expression }] }))
    };
    let sends = json!({ "logConfiguration": { "logDriver": "awsfirelens" } });
    let router = json!({ "name": "router", "firelensConfiguration": { "type": "fluentbit" } });
    let many: Vec<Value> = (0..11).map(|number| container(json!({ "name": format!("c{number}") }))).collect();
    check(vec![
        (constraint("attribute:stack == prod"), ""),
        (constraint("stack == prod"), "placementConstraints[0]"),
        (of(json!(many)), "Too many containers"),
        (of(json!([container(json!({ "command": ["x".repeat(65_536)] }))])), "larger than 65536 bytes"),
        (of(json!([container(sends.clone())])), "a firelens configuration object"),
        (of(json!([container(sends), container(router.clone())])), ""),
        (
            of(json!([container(router.clone()), container(merged(router, json!({ "name": "second" })))])),
            "Only one container",
        ),
        (
            definition(json!({ "networkMode": "awsvpc", "proxyConfiguration": { "containerName": "envoy" } })),
            "Proxy container [envoy] does not exist",
        ),
        (definition(json!({ "proxyConfiguration": { "containerName": "app" } })), "networkMode=awsvpc"),
    ])
    .await;
}
