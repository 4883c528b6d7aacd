//! What is registered is given back as it came, with what ECS adds to it.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, owner};

#[tokio::test]
async fn every_field_is_given_back() {
    let bench = Bench::with_nodes(&[]).await;
    let runs = json!({
        "name": "app",
        "image": "registry.example/app:1",
        "memory": 128,
        "memoryReservation": 64,
        "cpu": 10,
        "essential": true,
        "command": ["serve"],
        "entryPoint": ["/bin/app"],
        "environment": [{ "name": "A", "value": "1" }],
        "environmentFiles": [{ "type": "s3", "value": "arn:aws:s3:::bucket/app.env" }],
        "secrets": [{ "name": "KEY", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf" }],
        "dependsOn": [{ "containerName": "side", "condition": "HEALTHY" }],
        "startTimeout": 30,
        "stopTimeout": 30,
        "healthCheck": { "command": ["CMD", "/check"], "interval": 10, "timeout": 5, "retries": 2, "startPeriod": 1 },
        "mountPoints": [{ "sourceVolume": "data", "containerPath": "/data", "readOnly": true }],
        "volumesFrom": [{ "sourceContainer": "side", "readOnly": false }],
        "linuxParameters": { "initProcessEnabled": true, "capabilities": { "add": ["NET_ADMIN"], "drop": [] } },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": { "awslogs-group": "/app", "awslogs-multiline-pattern": "^x" },
            "secretOptions": [],
        },
        "portMappings": [{ "containerPort": 80, "hostPort": 8080, "protocol": "tcp", "name": "web", "appProtocol": "http" }],
        "repositoryCredentials": { "credentialsParameter": "arn:aws:secretsmanager:us-east-1:000000000000:secret:r-AbCdEf" },
        "restartPolicy": { "enabled": true, "ignoredExitCodes": [3], "restartAttemptPeriod": 120 },
    });
    let is_isolated = json!({
        "systemControls": [{ "namespace": "net.core.somaxconn", "value": "1024" }],
        "ulimits": [{ "name": "nofile", "softLimit": 1024, "hardLimit": 4096 }],
        "dockerLabels": { "team": "a" },
        "dockerSecurityOptions": ["no-new-privileges"],
        "extraHosts": [{ "hostname": "db", "ipAddress": "10.0.0.1" }],
        "dnsServers": ["10.0.0.2"],
        "dnsSearchDomains": ["example.com"],
        "hostname": "app",
        "user": "1000:1000",
        "workingDirectory": "/srv",
        "interactive": true,
        "pseudoTerminal": true,
        "privileged": true,
        "readonlyRootFilesystem": true,
        "versionConsistency": "disabled",
        "resourceRequirements": [{ "type": "GPU", "value": "1" }],
    });
    let container = merged(runs, is_isolated);
    let side = json!({
        "name": "side", "image": "side", "memory": 64, "cpu": 0,
        "healthCheck": { "command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3 },
        "essential": true, "environment": [], "mountPoints": [], "volumesFrom": [], "systemControls": [], "portMappings": [],
    });
    let request = json!({
        "family": "whole",
        "containerDefinitions": [container, side],
        "taskRoleArn": "arn:aws:iam::000000000000:role/task",
        "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
        "networkMode": "bridge",
        "cpu": "512",
        "memory": "1024",
        "pidMode": "task",
        "ipcMode": "task",
        "volumes": [{ "name": "data", "host": { "sourcePath": "/srv/data" } }],
        "placementConstraints": [{ "type": "memberOf", "expression": "attribute:stack == prod" }],
        "requiresCompatibilities": ["EC2"],
        "runtimePlatform": { "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX" },
    });
    let registered = bench.register_task_definition(&owner(), request.clone()).await.unwrap()["taskDefinition"].clone();
    for (field, value) in request.as_object().unwrap() {
        assert_eq!(&registered[field], value, "{field}");
    }
    let described = bench.describe_task_definition(&owner(), json!({ "taskDefinition": "whole" })).await.unwrap();
    assert_eq!(described["taskDefinition"], registered);
    assert_eq!(registered["compatibilities"], json!(["EXTERNAL", "EC2"]));
    let names: Vec<&str> =
        registered["requiresAttributes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let expected = [
        "com.amazonaws.ecs.capability.logging-driver.awslogs",
        "com.amazonaws.ecs.capability.privileged-container",
        "com.amazonaws.ecs.capability.task-iam-role",
        "ecs.capability.container-health-check",
        "ecs.capability.container-ordering",
        "ecs.capability.container-restart-policy",
        "ecs.capability.env-files.s3",
        "ecs.capability.execution-role-awslogs",
        "ecs.capability.pid-ipc-namespace-sharing",
        "ecs.capability.private-registry-authentication.secretsmanager",
        "ecs.capability.secrets.asm.environment-variables",
        "ecs.capability.task-cpu-mem-limit",
        "ecs.cpu-architecture",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn what_was_not_said_is_filled_in_as_ecs_does() {
    let bench = Bench::with_nodes(&[]).await;
    let request = json!({
        "family": "small",
        "containerDefinitions": [{ "name": "app", "image": "app", "memory": 8, "portMappings": [{ "containerPort": 80 }],
            "healthCheck": { "command": ["CMD", "true"] } }],
        "taskRoleArn": "",
        "executionRoleArn": "",
    });
    let registered = bench.register_task_definition(&owner(), request).await.unwrap()["taskDefinition"].clone();
    let container = &registered["containerDefinitions"][0];
    assert_eq!((&container["cpu"], &container["essential"]), (&json!(0), &json!(true)));
    assert_eq!(container["portMappings"], json!([{ "containerPort": 80, "hostPort": 0, "protocol": "tcp" }]));
    for field in ["environment", "mountPoints", "volumesFrom", "systemControls"] {
        assert_eq!(container[field], json!([]), "{field}");
    }
    let health_check = json!({ "command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3 });
    assert_eq!(container["healthCheck"], health_check);
    // An empty role is no role.
    for field in ["taskRoleArn", "executionRoleArn"] {
        assert_eq!(registered.get(field), None, "{field}");
    }
    assert_eq!(registered["requiresAttributes"], json!([{ "name": "ecs.capability.container-health-check" }]));
    for field in ["volumes", "placementConstraints"] {
        assert_eq!(registered[field], json!([]), "{field}");
    }
    assert_eq!((&registered["revision"], &registered["status"]), (&json!(1), &json!("ACTIVE")));
    assert_eq!(registered["registeredBy"], json!("arn:aws:iam::000000000000:root"));
    assert_eq!(registered["networkMode"], Value::Null);
}
