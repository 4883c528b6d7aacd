//! What AWS's agent, and dockerd behind it, have to be told that Estiva's own agent knows by itself.

use serde_json::{Value, json};

use super::{ID, Node, own_node, row, sent_to};

const ENDPOINT: &str = "http://10.0.0.1:4566";
const ROLE: &str = "arn:aws:iam::000000000000:role/web";
const EXECUTION_ROLE: &str = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole";

fn node(logs_as_execution_role: bool) -> Node {
    Node { own: false, logs_as_execution_role, ..own_node() }
}

/// The options of the one container's log driver.
fn log_options(node: &Node, driver: &str, options: &Value) -> Value {
    let log = json!({ "logDriver": driver, "options": options });
    let definition = json!({ "containerDefinitions": [{ "name": "app", "logConfiguration": log }] });
    let sent = sent_to(node, &row(&json!({})), &definition);
    let host_config = sent["containers"][0]["dockerConfig"]["hostConfig"].as_str().unwrap();
    let host_config: Value = serde_json::from_str(host_config).unwrap();
    assert_eq!(host_config["LogConfig"]["Type"], driver);
    host_config["LogConfig"]["Config"].clone()
}

#[test]
fn a_prefix_names_the_stream_on_every_node() {
    let written = json!({ "awslogs-group": "g", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "web",
        "awslogs-create-group": "true" });
    let own = json!({ "awslogs-group": "g", "awslogs-region": "eu-west-1", "awslogs-stream": format!("web/app/{ID}"),
        "awslogs-create-group": "true", "mode": "non-blocking" });
    assert_eq!(log_options(&own_node(), "awslogs", &written), own);
    let mut awss = own;
    awss["awslogs-endpoint"] = json!(ENDPOINT);
    assert_eq!(log_options(&node(false), "awslogs", &written), awss);
}

#[test]
fn what_a_definition_says_of_its_logs_stands() {
    let written = json!({ "awslogs-group": "g", "awslogs-endpoint": "http://elsewhere", "awslogs-stream": "s",
        "awslogs-region": "eu-west-1", "mode": "blocking", "max-buffer-size": "1m" });
    assert_eq!(log_options(&node(false), "awslogs", &written), written);
    // Docker names a stream for which there is no name, and would look for the region in EC2's metadata.
    let least = json!({ "awslogs-group": "g", "awslogs-stream-prefix": "" });
    let sent = json!({ "awslogs-group": "g", "awslogs-endpoint": ENDPOINT, "awslogs-region": "us-east-1",
        "mode": "non-blocking" });
    assert_eq!(log_options(&node(false), "awslogs", &least), sent);
    let other = json!({ "awslogs-stream-prefix": "of another driver" });
    assert_eq!(log_options(&node(false), "json-file", &other), other);
}

#[test]
fn the_output_of_a_log_router_gets_nothing_that_nobody_wrote() {
    let written = json!({ "Name": "http", "Host": "h" });
    assert_eq!(log_options(&node(false), "awsfirelens", &written), written);
    let own = json!({ "Name": "http", "Host": "h", "mode": "non-blocking" });
    assert_eq!(log_options(&own_node(), "awsfirelens", &written), own);
    for driver in ["fluentd", "gelf", "journald", "splunk", "syslog"] {
        assert_eq!(log_options(&node(false), driver, &json!({})), json!({ "mode": "non-blocking" }), "{driver}");
    }
}

#[test]
fn lines_go_out_as_the_execution_role_where_the_agent_can_do_that() {
    let log = json!({ "logDriver": "awslogs", "options": { "awslogs-group": "g" } });
    let quiet = json!({ "name": "quiet" });
    let definition = json!({ "executionRoleArn": EXECUTION_ROLE, "taskRoleArn": ROLE,
        "containerDefinitions": [{ "name": "app", "logConfiguration": log }, quiet] });
    let strategies =
        |sent: &Value| [0, 1].map(|place| sent["containers"][place]["logsAuthStrategy"].as_str().map(str::to_owned));
    let sent = sent_to(&node(true), &row(&json!({})), &definition);
    assert_eq!(sent["executionRoleCredentials"]["roleArn"], EXECUTION_ROLE);
    assert_eq!(sent["executionRoleCredentials"]["credentialsId"], "e".repeat(32));
    assert_eq!(sent["roleCredentials"]["credentialsId"], "c".repeat(32));
    assert_eq!(strategies(&sent), [Some("ExecutionRole".to_owned()), None]);
    let other = json!({ "executionRoleArn": ROLE });
    let overridden = sent_to(&node(true), &row(&other), &definition);
    assert_eq!(overridden["executionRoleCredentials"]["roleArn"], ROLE);

    let without_log = json!({ "executionRoleArn": EXECUTION_ROLE, "containerDefinitions": [quiet] });
    let without_role = json!({ "containerDefinitions": [definition["containerDefinitions"][0]] });
    let mut former = row(&json!({}));
    former.execution_credentials_id.clear();
    for (node, row, definition) in [
        (node(false), row(&json!({})), &definition),
        (own_node(), row(&json!({})), &definition),
        (node(true), row(&json!({})), &without_log),
        (node(true), row(&json!({})), &without_role),
        // Of an earlier version, which gave it no id.
        (node(true), former, &definition),
    ] {
        let sent = sent_to(&node, &row, definition);
        assert_eq!(sent.get("executionRoleCredentials"), None, "{sent}");
        assert_eq!(strategies(&sent), [None, None], "{sent}");
    }
}

#[test]
fn an_sdk_finds_the_apis_for_which_it_has_a_role() {
    let environment = |node: &Node, definition: Value| {
        sent_to(node, &row(&json!({})), &definition)["containers"][0]["environment"].clone()
    };
    let definition = |variables: Value| json!({ "taskRoleArn": ROLE, "containerDefinitions": [{ "name": "app", "environment": variables }] });
    assert_eq!(environment(&node(false), definition(json!([]))), json!({ "AWS_ENDPOINT_URL": ENDPOINT }));
    let own = json!([{ "name": "AWS_ENDPOINT_URL", "value": "http://mine" }]);
    assert_eq!(environment(&node(false), definition(own)), json!({ "AWS_ENDPOINT_URL": "http://mine" }));
    // Estiva's agent tells its containers itself; a loopback address would be the container's own.
    assert_eq!(environment(&own_node(), definition(json!([]))), json!({}));
    let local = Node { endpoint: "http://127.0.0.1:4566".to_owned(), ..node(false) };
    assert_eq!(environment(&local, definition(json!([]))), json!({}));
    let without_role = json!({ "containerDefinitions": [{ "name": "app" }] });
    assert_eq!(environment(&node(false), without_role), json!({}));
}
