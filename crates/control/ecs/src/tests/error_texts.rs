//! The words of refusals: tools and people look for them. Where they come from is in `docs/error-texts.md`.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Answer, Bench, merged, owner, refusal};

/// An input, and the code and the words of its refusal.
type Case = (Value, &'static str, &'static str);

const CLIENT: &str = "ClientException";
const INVALID: &str = "InvalidParameterException";

async fn check<F: Future<Output = Answer>>(cases: Vec<Case>, call: impl Fn(Value) -> F) {
    for (input, code, words) in cases {
        let told = refusal(call(input.clone()).await);
        assert_eq!(told, format!("{code}: {words}"), "{input}");
    }
}

fn container(more: Value) -> Value {
    merged(json!({ "name": "app", "image": "busybox", "memory": 64 }), more)
}

fn side(more: Value) -> Value {
    container(merged(json!({ "name": "side" }), more))
}

/// A task definition of these containers.
fn of(containers: Value, more: Value) -> Value {
    let mut definition = json!({ "family": "f" });
    definition["containerDefinitions"] = containers;
    merged(definition, more)
}

/// A task definition of one container with other members.
fn with(more: Value) -> Value {
    of(json!([container(more)]), json!({}))
}

/// A task definition with other members.
fn task(more: Value) -> Value {
    of(json!([container(json!({}))]), more)
}

fn fargate(of_container: Value, of_task: Value) -> Value {
    let base =
        json!({ "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512" });
    of(json!([container(of_container)]), merged(base, of_task))
}

fn awsvpc(of_container: Value) -> Value {
    of(json!([container(of_container)]), json!({ "networkMode": "awsvpc" }))
}

fn ports(mapping: &Value) -> Value {
    json!({ "portMappings": mapping })
}

fn without(mut input: Value, member: &str) -> Value {
    input.as_object_mut().unwrap().remove(member);
    input
}

#[tokio::test]
async fn containers_of_a_definition() {
    let depends = |condition: &str| json!({ "dependsOn": [{ "containerName": "side", "condition": condition }] });
    let health = |more| json!({ "healthCheck": merged(json!({ "command": ["CMD", "true"] }), more) });
    let secret = json!({ "name": "X", "valueFrom": "p" });
    let role = json!({ "executionRoleArn": "arn:aws:iam::000000000000:role/execution" });
    let secrets =
        |list: Value, more: Value| of(json!([container(merged(json!({ "secrets": list }), more))]), role.clone());
    let bench = Bench::with_nodes(&[]).await;
    let cases: Vec<Case> = vec![
        (of(json!([]), json!({})), CLIENT, "Container list cannot be empty."),
        (of(json!(vec![container(json!({})); 11]), json!({})), CLIENT, "Too many containers."),
        (
            of(json!([without(container(json!({})), "name")]), json!({})),
            CLIENT,
            "Container.name should not be null or empty.",
        ),
        (
            of(json!([without(container(json!({})), "image")]), json!({})),
            CLIENT,
            "Container.image should not be null or empty.",
        ),
        (with(json!({ "image": "" })), CLIENT, "Container.image should not be null or empty."),
        (
            of(json!([container(json!({})), container(json!({}))]), json!({})),
            CLIENT,
            "Container names must be unique within a task definition",
        ),
        (with(json!({ "essential": false })), CLIENT, "Task definition doesn't have any essential container"),
        (
            of(json!([without(container(json!({})), "memory")]), json!({})),
            CLIENT,
            "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.",
        ),
        (
            with(json!({ "memoryReservation": 128 })),
            CLIENT,
            "Invalid setting for container 'app'. 'memory' must be greater than or equal to 'memoryReservation'.",
        ),
        (
            of(json!([container(json!({ "memory": 1024 }))]), json!({ "memory": "512" })),
            CLIENT,
            "The 'memory' setting for container 'app' is greater than for the task.",
        ),
        (
            of(json!([container(json!({ "cpu": 200 })), side(json!({ "cpu": 100 }))]), json!({ "cpu": "256" })),
            CLIENT,
            "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.",
        ),
        (
            of(json!([container(depends("SUCCESS")), side(json!({}))]), json!({})),
            CLIENT,
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
        ),
        (
            of(json!([container(depends("HEALTHY")), side(json!({}))]), json!({})),
            CLIENT,
            "A dependency container with HEALTHY condition must have health check configured",
        ),
        (with(depends("START")), CLIENT, "Cannot depend on container + 'side' because it does not exist"),
        (
            with(json!({ "volumesFrom": [{ "sourceContainer": "side" }] })),
            CLIENT,
            "Invalid 'volumesFrom' setting. Unknown container: 'side'",
        ),
        (
            with(health(json!({ "interval": 301 }))),
            CLIENT,
            "Health check interval must be less than or equal to the maximum allowed value 300 for container 'app'",
        ),
        (
            with(health(json!({ "interval": 4 }))),
            CLIENT,
            "Health check interval must be greater than or equal to the minimum allowed value 5 for container 'app'",
        ),
        (
            with(json!({ "restartPolicy": { "enabled": true, "restartAttemptPeriod": 59 } })),
            CLIENT,
            "the 'restartAttemptPeriod' setting for container 'app' must be between 60 and 1800",
        ),
        (
            secrets(json!([secret, secret]), json!({})),
            CLIENT,
            "Duplicate secret names found: X. Each secret name must be unique.",
        ),
        (
            secrets(json!([secret]), json!({ "environment": [{ "name": "X", "value": "1" }] })),
            CLIENT,
            "The secret name must be unique and not shared with any new or existing environment variables set on the \
             container, such as 'X'.",
        ),
        (
            with(json!({ "secrets": [secret] })),
            CLIENT,
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ),
        (
            with(json!({ "environmentFiles": vec![json!({ "type": "s3", "value": "arn:aws:s3:::b/a.env" }); 11] })),
            CLIENT,
            "The maximum number of environment files was exceeded. Specify ten or less and try again",
        ),
        (with(json!({ "environmentFiles": [{ "type": "s3", "value": "b/a.env" }] })), CLIENT, "Invalid arn syntax."),
        (
            with(json!({ "logConfiguration": { "logDriver": "awslogs" } })),
            CLIENT,
            "Log driver awslogs requires options: awslogs-group",
        ),
        (
            with(json!({ "logConfiguration": { "logDriver": "awsfirelens" } })),
            CLIENT,
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified",
        ),
    ];
    check(cases, |input| bench.register_task_definition_as_owner(input)).await;
}

#[tokio::test]
async fn networks_and_volumes_of_a_definition() {
    let volume = |volume: Value| task(json!({ "volumes": [merged(json!({ "name": "v" }), volume)] }));
    let efs =
        |more: Value| volume(json!({ "efsVolumeConfiguration": merged(json!({ "fileSystemId": "fs-1" }), more) }));
    let bench = Bench::with_nodes(&[]).await;
    let cases: Vec<Case> = vec![
        (
            awsvpc(ports(&json!([{ "containerPortRange": "8080-8090" }, { "containerPortRange": "8085-8095" }]))),
            CLIENT,
            "TCP container port '8085' is used multiple times in task when networkMode=awsvpc.",
        ),
        (
            awsvpc(ports(&json!([{ "containerPort": 80 }, { "containerPort": 80 }]))),
            CLIENT,
            "TCP container port '80' is used multiple times in task when networkMode=awsvpc.",
        ),
        (
            awsvpc(ports(&json!([{ "containerPort": 80, "hostPort": 8080 }]))),
            CLIENT,
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ),
        (
            with(ports(&json!([{ "containerPort": 1, "containerPortRange": "1-2" }]))),
            CLIENT,
            "cannot specify both single port and port range",
        ),
        (awsvpc(json!({ "links": ["side"] })), CLIENT, "Links are not supported when networkMode=awsvpc."),
        (
            awsvpc(json!({ "dnsServers": ["10.0.0.2"] })),
            CLIENT,
            "DNS servers are not supported on container when networkMode=awsvpc.",
        ),
        (
            awsvpc(json!({ "extraHosts": [{ "hostname": "h", "ipAddress": "10.0.0.2" }] })),
            CLIENT,
            "Extra hosts are not supported on container when networkMode=awsvpc.",
        ),
        (awsvpc(json!({ "hostname": "h" })), CLIENT, "hostname is not supported on container when networkMode=awsvpc."),
        (
            awsvpc(json!({ "disableNetworking": true })),
            CLIENT,
            "Disable Networking is not supported on container when networkMode=awsvpc.",
        ),
        (
            with(json!({ "mountPoints": [{ "sourceVolume": "x", "containerPath": "/x" }] })),
            CLIENT,
            "Unknown volume 'x'.",
        ),
        (volume(json!({ "host": { "sourcePath": "" } })), CLIENT, "host.sourcePath should not be blank."),
        (
            efs(json!({ "authorizationConfig": { "iam": "ENABLED" } })),
            CLIENT,
            "EFS IAM authorization requires TransitEncryption to be enabled",
        ),
        (
            efs(json!({ "transitEncryptionPort": 2049 })),
            CLIENT,
            "TransitEncryptionPort requires that TransitEncryption is enabled",
        ),
        (
            efs(json!({
                "transitEncryption": "ENABLED", "rootDirectory": "/x", "authorizationConfig": { "accessPointId": "fsap-1" },
            })),
            CLIENT,
            "When using an EFS access point, the root directory must either be set to \"/\" or be omitted",
        ),
        (
            task(json!({ "inferenceAccelerators": [{ "deviceName": "d", "deviceType": "eia1.medium" }] })),
            CLIENT,
            "Unsupported field 'inferenceAccelerators'",
        ),
        (
            task(json!({ "ephemeralStorage": { "sizeInGiB": 21 } })),
            CLIENT,
            "Tasks using the EC2 launch type do not support EphemeralStorage",
        ),
        (
            task(json!({ "networkMode": "awsvpc", "proxyConfiguration": { "containerName": "envoy" } })),
            CLIENT,
            "Proxy container [envoy] does not exist",
        ),
        (
            task(json!({ "proxyConfiguration": { "containerName": "app" } })),
            CLIENT,
            "APPMESH proxy configuration is only supported in networkMode=awsvpc",
        ),
        (task(json!({ "tags": [{ "key": "aws:x", "value": "1" }] })), INVALID, "Tag key must not start with aws:"),
    ];
    check(cases, |input| bench.register_task_definition_as_owner(input)).await;
}

#[tokio::test]
async fn definitions_for_fargate() {
    let no_memory = |input: Value| {
        let mut input = without(input, "memory");
        input["containerDefinitions"][0].as_object_mut().unwrap().remove("memory");
        input
    };
    let logs =
        |driver: &str, options: Value| json!({ "logConfiguration": { "logDriver": driver, "options": options } });
    let linux = |more: Value| json!({ "linuxParameters": more });
    let volume = |more: Value| fargate(json!({}), json!({ "volumes": [merged(json!({ "name": "v" }), more)] }));
    let group = json!({ "awslogs-group": "g", "awslogs-region": "us-east-1" });
    let bench = Bench::with_nodes(&[]).await;
    let cases: Vec<Case> = vec![
        (without(fargate(json!({}), json!({})), "networkMode"), CLIENT, "Fargate only supports network mode ‘awsvpc’."),
        (
            without(fargate(json!({}), json!({})), "cpu"),
            CLIENT,
            "Fargate requires that 'cpu' be defined at the task level.",
        ),
        (
            no_memory(fargate(json!({}), json!({}))),
            CLIENT,
            "Fargate requires that 'memory' be defined at the task level.",
        ),
        (
            fargate(json!({}), json!({ "memory": "4096" })),
            CLIENT,
            "No Fargate configuration exists for given values: 256 CPU, 4096 memory. See the Amazon ECS documentation for the \
             valid values.",
        ),
        (
            fargate(json!({ "privileged": true }), json!({})),
            CLIENT,
            "Fargate requires that the 'privileged' setting be 'false'",
        ),
        (
            fargate(json!({}), json!({ "ipcMode": "task" })),
            CLIENT,
            "Fargate compatible task definitions do not support ipcMode",
        ),
        (
            fargate(json!({}), json!({ "pidMode": "host" })),
            CLIENT,
            "Tasks using the Fargate launch type do not support pidMode 'host'",
        ),
        (
            volume(json!({ "dockerVolumeConfiguration": {} })),
            CLIENT,
            "Fargate compatible task definitions do not support dockerVolumeConfiguration",
        ),
        (
            volume(json!({ "host": { "sourcePath": "/x" } })),
            CLIENT,
            "Fargate compatible task definitions do not support sourcePath",
        ),
        (
            fargate(linux(json!({ "sharedMemorySize": 64 })), json!({})),
            CLIENT,
            "Fargate compatible task definitions do not support sharedMemorySize",
        ),
        (
            fargate(json!({ "dockerSecurityOptions": ["no-new-privileges"] }), json!({})),
            CLIENT,
            "Fargate compatible task definitions do not support dockerSecurityOptions",
        ),
        (
            fargate(linux(json!({ "capabilities": { "add": ["SYS_PTRACE", "NET_ADMIN"] } })), json!({})),
            CLIENT,
            "NET_ADMIN is not allowed on Fargate.",
        ),
        (
            fargate(json!({ "resourceRequirements": [{ "type": "GPU", "value": "1" }] }), json!({})),
            CLIENT,
            "Tasks using the Fargate launch type do not support GPU resource requirements",
        ),
        (
            fargate(json!({ "stopTimeout": 121 }), json!({})),
            CLIENT,
            "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.",
        ),
        (
            fargate(logs("fluentd", json!({})), json!({})),
            CLIENT,
            "fluentd is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]",
        ),
        (
            fargate(logs("awslogs", group.clone()), json!({})),
            CLIENT,
            "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs.",
        ),
        (
            fargate(logs("awslogs", merged(group, json!({ "awslogs-stream-prefix": "p" }))), json!({})),
            CLIENT,
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        ),
        (
            fargate(json!({}), json!({ "ephemeralStorage": { "sizeInGiB": 20 } })),
            CLIENT,
            "EphemeralStorage size should be at least 21",
        ),
        (
            fargate(json!({}), json!({ "ephemeralStorage": { "sizeInGiB": 201 } })),
            CLIENT,
            "EphemeralStorage size should be at most 200",
        ),
    ];
    check(cases, |input| bench.register_task_definition_as_owner(input)).await;
}

#[tokio::test]
async fn tasks() {
    let bench = Bench::with_nodes(&["a"]).await;
    bench.define("eni", json!({ "memory": 64 }), json!({ "networkMode": "awsvpc" })).await;
    let shared = json!([
        container(ports(&json!([{ "containerPort": 80, "hostPort": 0 }]))),
        side(ports(&json!([{ "containerPort": 80, "hostPort": 0 }]))),
    ]);
    bench
        .register_task_definition_as_owner(merged(of(shared, json!({})), json!({ "family": "shared" })))
        .await
        .unwrap();
    let run = |more: Value| merged(json!({ "taskDefinition": "web" }), more);
    let provider = |weight: i32| json!({ "capacityProvider": "FARGATE", "weight": weight });
    let elsewhere = "arn:aws:ecs:us-west-2:000000000000:cluster/default";
    let here = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let cases: Vec<Case> = vec![
        (run(json!({ "cluster": elsewhere })), INVALID, "Invalid Region in ARN"),
        (run(json!({ "cluster": format!("\"{here}\"") })), INVALID, "Unsupported resource type: cluster"),
        (
            run(json!({ "cluster": format!("arn:aws:ecs:us-east-1:000000000000:cluster/{here}") })),
            INVALID,
            "Unsupported resource type: cluster",
        ),
        (run(json!({ "cluster": "a b" })), INVALID, "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b"),
        (run(json!({ "cluster": "nowhere" })), "ClusterNotFoundException", "Cluster not found."),
        (run(json!({ "taskDefinition": "none" })), CLIENT, "TaskDefinition not found."),
        (
            run(json!({ "taskDefinition": "arn:aws:ecs:us-west-2:000000000000:task-definition/web:1" })),
            CLIENT,
            "Invalid task definition: arn:aws:ecs:us-west-2:000000000000:task-definition/web:1",
        ),
        (
            run(json!({ "capacityProviderStrategy": [provider(1)] })),
            INVALID,
            "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the \
             cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and try again.",
        ),
        (
            run(json!({ "launchType": "EC2", "capacityProviderStrategy": [provider(1)] })),
            INVALID,
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ),
        (
            run(json!({ "placementStrategy": [{ "type": "binpack", "field": "instanceId" }] })),
            INVALID,
            "binpack field 'instanceId' is invalid",
        ),
        (
            run(json!({ "placementStrategy": [{ "type": "random", "field": "cpu" }] })),
            INVALID,
            "random field should not be specified",
        ),
        (
            run(json!({ "placementStrategy": vec![json!({ "type": "random" }); 6] })),
            INVALID,
            "Maximum number of strategies is 5",
        ),
        (
            run(json!({ "placementConstraints": [{ "type": "distinctInstance", "expression": "x" }] })),
            INVALID,
            "distinctInstance expression should not be specified.",
        ),
        (
            run(json!({ "taskDefinition": "eni" })),
            INVALID,
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        (
            run(json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["s"] } } })),
            INVALID,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (run(json!({ "tags": [{ "key": "aws:x", "value": "1" }] })), INVALID, "Tag key must not start with aws:"),
        (
            run(json!({ "overrides": { "containerOverrides": [{ "name": "x" }] } })),
            INVALID,
            "Override for container named x is not a container in the TaskDefinition.",
        ),
        (
            run(json!({ "taskDefinition": "shared" })),
            INVALID,
            "portMappings: containers app and side publish port 80 of one network (network mode bridge): Estiva does not \
             support it yet",
        ),
    ];
    check(cases, |input| bench.run_task_as_owner(input)).await;
}

#[tokio::test]
async fn services() {
    let bench = Bench::with_nodes(&["a"]).await;
    let service = |more: Value| {
        let base = json!({ "serviceName": "s", "taskDefinition": "web", "desiredCount": 1 });
        merged(base, more)
    };
    let daemon =
        |more: Value| without(merged(service(json!({ "schedulingStrategy": "DAEMON" })), more), "desiredCount");
    let percents = |minimum: i32, maximum: i32| json!({ "deploymentConfiguration": { "minimumHealthyPercent": minimum, "maximumPercent": maximum } });
    let desired_count = "The daemon scheduling strategy does not support a desired count for services. Remove the desired \
                         count value and try again";
    let mut cases: Vec<Case> = vec![
        (
            service(json!({ "serviceName": "a b" })),
            INVALID,
            "ServiceName must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b",
        ),
        (service(percents(101, 200)), INVALID, "minimumHealthyPercent must be at most 100"),
        (service(percents(50, 99)), INVALID, "maximumPercent must be at least 100"),
        (
            daemon(percents(0, 200)),
            INVALID,
            "The daemon scheduling strategy does not support values above 100 for maximumPercent on a deployment \
             configuration. Change the maximumPercent value to 100, and try again",
        ),
        (
            daemon(json!({ "placementStrategy": [{ "type": "random" }] })),
            INVALID,
            "The daemon scheduling strategy does not support placement strategies. Remove the placement strategy and try again",
        ),
        (
            daemon(json!({ "availabilityZoneRebalancing": "ENABLED" })),
            INVALID,
            "The service couldn't be created because Availability Zone Rebalancing does not support DAEMON as scheduling \
             strategy. Update scheduling strategy and try again.",
        ),
        (service(json!({ "deploymentController": { "type": "EXTERNAL" } })), INVALID, "TaskDefinition must be blank"),
        (
            service(json!({ "platformVersion": "1.4.0" })),
            INVALID,
            "The platform version must be null when specifying an EC2 launch type.",
        ),
    ];
    for count in [0, 2] {
        let counted = merged(daemon(json!({})), json!({ "desiredCount": count }));
        cases.push((counted, INVALID, desired_count));
    }
    check(cases, |input| bench.create_service_as_owner(input)).await;
    let told = refusal(bench.delete_service(&owner(), json!({ "service": "none" })).await);
    assert_eq!(told, "ServiceNotFoundException: Service not found.");
    let elsewhere = json!({ "services": ["arn:aws:ecs:us-west-2:000000000000:service/default/s"] });
    let told = refusal(bench.describe_services(&owner(), elsewhere).await);
    assert_eq!(told, "InvalidParameterException: Invalid Region in ARN");
}

#[tokio::test]
async fn clusters() {
    let bench = Bench::with_nodes(&[]).await;
    let execute = |more: Value| json!({ "clusterName": "x", "configuration": { "executeCommandConfiguration": more } });
    let logs = json!({ "cloudWatchLogGroupName": "g" });
    bench.create_cluster(&owner(), json!({ "clusterName": "c" })).await.unwrap();
    bench.create_cluster(&owner(), json!({ "clusterName": "c" })).await.unwrap();
    let inconsistent =
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
    let cases: Vec<Case> = vec![
        (json!({ "clusterName": "a b" }), INVALID, "ClusterName must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b"),
        (
            execute(json!({ "logging": "DEFAULT", "logConfiguration": logs })),
            INVALID,
            "You must set logging to 'OVERRIDE' when you supply a log configuration.",
        ),
        (
            execute(json!({ "logging": "OVERRIDE" })),
            INVALID,
            "A CloudWatch log group name or S3 bucket name must be specified when overriding the default log configuration",
        ),
        (json!({ "clusterName": "c", "capacityProviders": ["FARGATE"] }), INVALID, inconsistent),
        (
            json!({ "clusterName": "c", "settings": [{ "name": "containerInsights", "value": "enabled" }] }),
            INVALID,
            inconsistent,
        ),
        (json!({ "clusterName": "c", "serviceConnectDefaults": { "namespace": "n" } }), INVALID, inconsistent),
    ];
    check(cases, |input| bench.create_cluster_as_owner(input)).await;
    let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/g";
    let provider = json!({ "name": "aws-x", "autoScalingGroupProvider": { "autoScalingGroupArn": group } });
    let told = refusal(bench.create_capacity_provider(&owner(), provider).await);
    let words = "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters (upper \
                 and lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with \"aws\", \"ecs\", or \
                 \"fargate\". Specify a valid name and try again.";
    assert_eq!(told, format!("InvalidParameterException: {words}"));
}
