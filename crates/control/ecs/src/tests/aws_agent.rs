//! A node that runs AWS's agent: what it says of itself and of its tasks, and what it is not asked.

use std::time::Duration;

use estiva_api_ecs::types::VersionInfo;
use estiva_api_estiva::Estiva;
use estiva_api_estiva::types::{DescribeImagePullRequest, ImagePull, StartImagePullRequest};
use estiva_model::Timestamp;
use estiva_schema::Request;
use serde_json::{Value, json};

use crate::container_instance::table::ContainerInstanceRow;
use crate::container_instance::tests::bench::{Bench, merged, node, offer, owner, reasons, refusal, text};
use crate::container_instance::version;
use crate::image_pull;

/// What the agent registers on EC2: neither a version, nor a zone, a type or an architecture.
fn awss(more: &[Value]) -> Value {
    let capabilities = ["com.amazonaws.ecs.capability.logging-driver.awslogs", "ecs.capability.container-health-check"];
    let mut attributes: Vec<_> = capabilities.iter().map(|name| json!({ "name": name })).collect();
    attributes.push(json!({ "name": "ecs.os-type", "value": "linux" }));
    attributes.extend_from_slice(more);
    json!({ "attributes": attributes })
}

fn document(more: Value) -> Value {
    let document = json!({ "instanceId": "i-0123456789abcdef0", "availabilityZone": "us-east-1b", "region": "us-east-1",
        "instanceType": "t3.large", "architecture": "x86_64", "imageId": "ami-0123456789abcdef0", "ramdiskId": null });
    merged(awss(&[]), json!({ "instanceIdentityDocument": merged(document, more).to_string() }))
}

async fn attribute(bench: &Bench, arn: &str, name: &str) -> Option<String> {
    let instance = bench.instance(arn).await;
    let mut attributes = instance["attributes"].as_array().unwrap().iter().filter(|it| it["name"] == name);
    let found = attributes.next().map(|it| text(&it["value"]));
    assert_eq!(attributes.next(), None);
    found
}

#[tokio::test]
async fn an_identity_document_says_what_the_agent_does_not() {
    let bench = Bench::new();
    let platform = json!({ "runtimePlatform": { "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX" } });
    bench.define("intel", json!({ "memory": 100 }), platform).await;
    let arn = bench.join("a", document(json!({}))).await;
    let expected = [
        ("ecs.availability-zone", "us-east-1b"),
        ("ecs.instance-type", "t3.large"),
        ("ecs.cpu-architecture", "x86_64"),
        ("ecs.ami-id", "ami-0123456789abcdef0"),
    ];
    for (name, value) in expected {
        assert_eq!(attribute(&bench, &arn, name).await.as_deref(), Some(value), "{name}");
    }
    let task = bench.run("intel").await;
    assert_eq!(bench.task(&task).await["availabilityZone"], "us-east-1b");
    // Again it is the same, and a document of other hardware is refused.
    let again = |more: Value| merged(document(more), json!({ "containerInstanceArn": arn }));
    let before = bench.instance(&arn).await["attributes"].clone();
    bench.register("a", again(json!({}))).await.unwrap();
    assert_eq!(bench.instance(&arn).await["attributes"], before);
    bench.connect(&arn, false).await;
    let moved = refusal(bench.register("a", again(json!({ "instanceType": "m5.large" }))).await.map(Value::from));
    assert_eq!(moved, "ClientException: Container instance type changes are not supported.");
}

#[tokio::test]
async fn what_an_agent_says_itself_comes_before_its_document() {
    let bench = Bench::new();
    let said = json!({ "attributes": [{ "name": "ecs.availability-zone", "value": "rack-7" }] });
    let arn = bench.join("a", merged(document(json!({})), said)).await;
    assert_eq!(attribute(&bench, &arn, "ecs.availability-zone").await.as_deref(), Some("rack-7"));
    let odd = json!({ "availabilityZone": "<b>", "instanceType": 7, "architecture": "", "imageId": "x".repeat(129) });
    let odd = bench.join("b", document(odd)).await;
    assert_eq!(attribute(&bench, &odd, "ecs.availability-zone").await.as_deref(), Some("us-east-1a"));
    for name in ["ecs.instance-type", "ecs.cpu-architecture", "ecs.ami-id"] {
        assert_eq!(attribute(&bench, &odd, name).await, None, "{name}");
    }
    for none in ["", "no JSON", "[]", "null"] {
        let document = merged(awss(&[]), json!({ "instanceIdentityDocument": none }));
        bench.register("c", document).await.unwrap();
    }
}

#[tokio::test]
async fn the_version_that_an_agent_connects_with_is_kept() {
    let bench = Bench::new();
    let arn = bench.join("a", awss(&[])).await;
    let rows: Vec<_> = bench.ecs.store.view().scan::<ContainerInstanceRow>("").collect();
    let key = estiva_store::Row::key(&*rows[0]);
    let said = |agent: &str, docker: &str| VersionInfo {
        agent_hash: Some("*fd4a1de2".to_owned()),
        agent_version: Some(agent.to_owned()),
        docker_version: Some(docker.to_owned()),
    };
    let docker = "DockerVersion: 20.10.24+dfsg1";
    version::note(&bench.ecs.store, &key, &said("1.105.1", docker)).await.unwrap();
    let expected = json!({ "agentHash": "*fd4a1de2", "agentVersion": "1.105.1", "dockerVersion": docker });
    assert_eq!(bench.instance(&arn).await["versionInfo"], expected);
    let newer = json!({ "filter": "agentVersion >= 1.100.0" });
    let found = bench.list_container_instances(&owner(), newer).await.unwrap();
    assert_eq!(found["containerInstanceArns"], json!([arn]));
    // What it says again, or says nothing of, or says at too great a length, changes nothing.
    let before = bench.ecs.store.view().revision();
    version::note(&bench.ecs.store, &key, &said("1.105.1", docker)).await.unwrap();
    version::note(&bench.ecs.store, &key, &said("", &"x".repeat(256))).await.unwrap();
    version::note(&bench.ecs.store, &key, &VersionInfo::default()).await.unwrap();
    assert_eq!(bench.ecs.store.view().revision(), before);
    // A registration brings none, and takes none away.
    bench.register("a", merged(awss(&[]), json!({ "containerInstanceArn": arn }))).await.unwrap();
    assert_eq!(bench.instance(&arn).await["versionInfo"], expected);
    version::note(&bench.ecs.store, &key, &said("1.106.0", docker)).await.unwrap();
    assert_eq!(bench.instance(&arn).await["versionInfo"]["agentVersion"], "1.106.0");
}

#[tokio::test]
async fn an_empty_reason_is_none() {
    let bench = Bench::with_nodes(&[]).await;
    bench.join("a", awss(&[])).await;
    let container =
        |status: &str, more: Value| merged(json!({ "containerName": "app", "status": status, "reason": "" }), more);
    let ended = bench.run("web").await;
    // Nothing was pulled: the agent names no times.
    let running = container("RUNNING", json!({ "imageDigest": "", "runtimeId": "r1" }));
    bench.report("a", &ended, json!({ "status": "RUNNING", "reason": "", "containers": [running] })).await.unwrap();
    let task = bench.task(&ended).await;
    assert_eq!((&task["connectivity"], &task["connectivityAt"]), (&json!("CONNECTED"), &task["startedAt"]));
    assert_eq!(task["containers"][0].get("imageDigest"), None);
    let stopped = container("STOPPED", json!({ "exitCode": 0 }));
    bench.report("a", &ended, json!({ "status": "STOPPED", "reason": "", "containers": [stopped] })).await.unwrap();
    let task = bench.task(&ended).await;
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    assert_eq!(task["containers"][0].get("reason"), None);

    let failed = bench.run("web").await;
    let single = json!({ "task": failed, "containerName": "app", "status": "PENDING", "reason": "" });
    bench.submit_container_state_change(&node("a"), single).await.unwrap();
    let why = container("STOPPED", json!({ "reason": "CannotStartContainerError: no such program" }));
    bench.report("a", &failed, json!({ "status": "STOPPED", "reason": "", "containers": [why] })).await.unwrap();
    assert_eq!(bench.task(&failed).await["stoppedReason"], "CannotStartContainerError: no such program");
}

#[tokio::test]
async fn commands_run_on_nodes_with_estivas_agent_alone() {
    let bench = Bench::with_nodes(&[]).await;
    let awss_node = bench.join("a", awss(&[json!({ "name": "ecs.capability.execute-command" })])).await;
    let wanted = json!({ "taskDefinition": "web", "enableExecuteCommand": true });
    assert_eq!(reasons(&bench.run_task(&owner(), wanted.clone()).await.unwrap()), ["ATTRIBUTE"]);
    let there = merged(wanted.clone(), json!({ "containerInstances": [awss_node] }));
    assert_eq!(reasons(&bench.start_task(&owner(), there).await.unwrap()), ["ATTRIBUTE"]);
    // Another task of the same definition is not kept from it, before or after.
    bench.run("web").await;
    assert_eq!(reasons(&bench.run_task(&owner(), wanted.clone()).await.unwrap()), ["ATTRIBUTE"]);
    // Today's own agent, and one that registered before there was the attribute.
    let own = bench.join("b", merged(awss(&[json!({ "name": "estiva.agent" })]), json!({}))).await;
    let answer = bench.run_task(&owner(), wanted.clone()).await.unwrap();
    assert_eq!(answer["tasks"][0]["containerInstanceArn"], own);
    bench.deregister_container_instance(&owner(), json!({ "containerInstance": own, "force": true })).await.unwrap();
    let former = bench.join("c", json!({})).await;
    let answer = bench.run_task(&owner(), wanted).await.unwrap();
    assert_eq!(answer["tasks"][0]["containerInstanceArn"], former);
    assert_eq!(
        offer("c")["attributes"].as_array().unwrap().iter().filter(|it| it["name"] == "estiva.agent").count(),
        0
    );
}

#[tokio::test]
async fn a_command_for_a_node_that_cannot_run_it_is_refused_at_once() {
    let bench = Bench::with_nodes(&[]).await;
    let arn = bench.join("a", json!({})).await;
    let input = json!({ "taskDefinition": "web", "enableExecuteCommand": true });
    let task = text(&bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["taskArn"]);
    let running = json!({ "containerName": "app", "status": "RUNNING" });
    bench.report("a", &task, json!({ "status": "RUNNING", "containers": [running] })).await.unwrap();
    let agents = async || bench.task(&task).await["containers"][0]["managedAgents"][0].clone();
    assert_eq!(agents().await["lastStatus"], "RUNNING");
    let command = json!({ "task": task, "command": "id", "interactive": true });
    bench.execute_command(&owner(), command.clone()).await.unwrap();
    // The node goes on with AWS's agent; so does a task of a control plane that asked no agent.
    bench.connect(&arn, false).await;
    bench.register("a", merged(awss(&[]), json!({ "containerInstanceArn": arn }))).await.unwrap();
    bench.connect(&arn, true).await;
    let refused = refusal(bench.execute_command(&owner(), command).await);
    assert!(refused.starts_with("InvalidParameterException: The execute command failed"), "{refused}");
    assert_eq!(agents().await["lastStatus"], "STOPPED");
}

fn request<T>(input: T) -> Request<T> {
    Request { input, caller: owner(), request_id: "a-test".to_owned() }
}

#[tokio::test]
async fn a_pull_that_no_node_answers_ends() {
    let bench = Bench::new();
    let awss_node = bench.join("a", awss(&[])).await;
    let own = bench.join("b", json!({})).await;
    let start = StartImagePullRequest { image: "busybox".to_owned(), ..StartImagePullRequest::default() };
    let pull = bench.ecs.start_image_pull(request(start)).await.unwrap().image_pull.unwrap();
    let status = |pull: &ImagePull, arn: &str| {
        let node = pull.nodes.iter().flatten().find(|it| it.container_instance_arn == arn).unwrap();
        (node.status.clone(), node.reason.clone().unwrap_or_default())
    };
    let failed = |reason: &str| ("FAILED".to_owned(), reason.to_owned());
    assert_eq!(status(&pull, &awss_node), failed("the node's agent cannot pull ahead"));
    assert_eq!(status(&pull, &own).0, "PENDING");
    let later = |after: Duration| Timestamp(bench.ecs.ambient.now().as_millis()).plus(after);
    let shown = async || {
        let input = DescribeImagePullRequest { id: pull.id.clone() };
        bench.ecs.describe_image_pull(request(input)).await.unwrap().image_pull.unwrap()
    };
    image_pull::give_up(&bench.ecs, later(Duration::from_secs(20 * 60))).await.unwrap();
    assert_eq!(status(&shown().await, &own).0, "PENDING");
    image_pull::give_up(&bench.ecs, later(Duration::from_secs(31 * 60))).await.unwrap();
    assert_eq!(status(&shown().await, &own), failed("the node has not answered for half an hour"));
}

#[tokio::test]
async fn a_node_drains_itself_and_no_other() {
    let bench = Bench::new();
    let [one, other] = [bench.join("a", awss(&[])).await, bench.join("b", awss(&[])).await];
    let set = |caller, status: &str, instances: &[&String]| {
        let input = json!({ "containerInstances": instances, "status": status });
        let bench = &bench;
        async move { bench.update_container_instances_state(&caller, input).await }
    };
    for (status, instances) in [("DRAINING", vec![&other]), ("DRAINING", vec![&one, &other]), ("ACTIVE", vec![&one])] {
        let refused = refusal(set(node("a"), status, &instances).await);
        assert!(refused.starts_with("AccessDeniedException"), "{refused}");
    }
    assert_eq!(bench.instance(&one).await["status"], "ACTIVE");
    let answer = set(node("a"), "DRAINING", &[&one]).await.unwrap();
    assert_eq!(answer["containerInstances"][0]["status"], "DRAINING");
    let refused = refusal(set(node("a"), "ACTIVE", &[&one]).await);
    assert!(refused.starts_with("AccessDeniedException"), "{refused}");
    set(owner(), "ACTIVE", &[&one]).await.unwrap();
    assert_eq!(bench.instance(&one).await["status"], "ACTIVE");
}
