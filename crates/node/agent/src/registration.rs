//! Registering the node as a container instance.

mod kept;

use estiva_api_ecs::types as api;
use estiva_api_ecs::{CreateCluster, DiscoverPollEndpoint, RegisterContainerInstance};
use estiva_model::Region;
use estiva_wire::client::Client;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::capacity::{self, Capacity};
use crate::engine::{Engine, Host};
use crate::error::AgentError;
use crate::fail_point;
use crate::options::{Identity, Options};
use crate::session::SessionError;
use kept::Kept;

/// The resource of which each task takes one.
const TASK_SLOTS: &str = "ESTIVA_TASK_SLOTS";

/// What the control plane calls this node.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// The container instance's ARN.
    pub arn: String,
    /// The cluster's name.
    pub cluster: String,
}

/// Where the node's sessions connect to.
#[derive(Debug, Clone)]
pub(crate) struct PollEndpoint {
    /// For tasks.
    pub acs: String,
    /// For telemetry.
    pub tcs: String,
}

/// Registers the node, again under the ARN that it had before if it had one. Waits for a control plane that is away. A node
/// that gets another ARN ends its tasks first: they are none of that instance's, and hold what it offers.
pub(crate) async fn register(
    options: &Options,
    host: &Host,
    engine: &Engine,
    client: &Client,
) -> Result<Registration, AgentError> {
    let kept = Kept::new(&options.node.state_dir);
    let mut known = kept.arn(!engine.live_tasks().is_empty())?;
    let mut token = None;
    let mut backoff = Backoff::default();
    loop {
        if known.is_none() && token.is_none() {
            token = Some(kept.token().await?);
        }
        let request = request(options, host, known.clone(), token.clone());
        match client.call::<RegisterContainerInstance>(&request).await {
            Ok(answer) => {
                let arn = check(&request, answer)?;
                fail_point::reach("registered");
                if known.as_ref() != Some(&arn) {
                    // Kept after that: an agent that is killed meanwhile is told the same ARN, and goes on here.
                    end_tasks(engine, &arn).await;
                    kept.keep(&arn).await;
                }
                kept.mend(&arn).await;
                info!(arn, cluster = options.cluster, "the node is registered");
                return Ok(Registration { arn, cluster: options.cluster.clone() });
            }
            Err(error) if error.is_retryable() => {
                warn!(error = &error as &dyn std::error::Error, "the node is not registered yet");
                backoff.wait().await;
            }
            Err(error) if error.code() == Some("ClusterNotFoundException") => {
                let request = api::CreateClusterRequest {
                    cluster_name: Some(options.cluster.clone()),
                    ..api::CreateClusterRequest::default()
                };
                client.call::<CreateCluster>(&request).await.map_err(AgentError::Registration)?;
            }
            // The ARN is of an instance that was deregistered, or of another installation.
            Err(error) if known.is_some() => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the node's former registration is void; it gets a new one"
                );
                known = None;
            }
            Err(error) => return Err(AgentError::Registration(error)),
        }
    }
}

/// Nothing is placed on the instance until the node has a session as `arn`.
async fn end_tasks(engine: &Engine, arn: &str) {
    let tasks = engine.live_tasks().len();
    if tasks > 0 {
        warn!(arn, tasks, "the node is another container instance now; it takes tasks when its former ones have ended");
        engine.end_all().await;
    }
}

/// What the control plane says of a container instance, or of a cluster, that it does not have (any more).
const UNKNOWN: [&str; 2] = ["ClientException", "ClusterNotFoundException"];

/// Asks where the sessions connect to.
pub(crate) async fn discover(client: &Client, registration: &Registration) -> Result<PollEndpoint, SessionError> {
    let request = api::DiscoverPollEndpointRequest {
        cluster: Some(registration.cluster.clone()),
        container_instance: Some(registration.arn.clone()),
    };
    let answer = match client.call::<DiscoverPollEndpoint>(&request).await {
        // It was deregistered while nobody was connected, or the control plane has lost it.
        Err(error) if error.code().is_some_and(|code| UNKNOWN.contains(&code)) => {
            warn!(error = &error as &dyn std::error::Error, "the control plane does not know the container instance");
            return Err(SessionError::Inactive);
        }
        answer => answer?,
    };
    Ok(PollEndpoint { acs: answer.endpoint.unwrap_or_default(), tcs: answer.telemetry_endpoint.unwrap_or_default() })
}

fn request(
    options: &Options,
    host: &Host,
    arn: Option<String>,
    token: Option<String>,
) -> api::RegisterContainerInstanceRequest {
    let size = options.node.size.unwrap_or_else(capacity::of_this_machine);
    api::RegisterContainerInstanceRequest {
        attributes: Some(attributes(options, host)),
        client_token: token,
        cluster: Some(options.cluster.clone()),
        container_instance_arn: arn,
        instance_identity_document: identity_document(&options.identity, &options.region),
        total_resources: Some(resources(size, options.identity.task_slots)),
        version_info: Some(api::VersionInfo {
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..api::VersionInfo::default()
        }),
        ..api::RegisterContainerInstanceRequest::default()
    }
}

fn resources(size: Capacity, task_slots: Option<u32>) -> Vec<api::Resource> {
    let ports = capacity::RESERVED_TCP_PORTS.iter().map(u16::to_string).collect();
    let mut resources = vec![
        integer("CPU", size.cpu),
        integer("MEMORY", size.memory),
        string_set("PORTS", ports),
        string_set("PORTS_UDP", Vec::new()),
    ];
    resources.extend(task_slots.map(|slots| integer(TASK_SLOTS, slots.into())));
    resources
}

fn attributes(options: &Options, host: &Host) -> Vec<api::Attribute> {
    let attribute = |name: &str, value: Option<String>| api::Attribute {
        name: name.to_owned(),
        value,
        ..api::Attribute::default()
    };
    let (first, last) = host.network.eni_range();
    let gateway = format!("{}/{}", host.network.gateway(), host.network.subnet().prefix());
    let mut attributes: Vec<_> = capacity::CAPABILITIES.iter().map(|name| attribute(name, None)).collect();
    attributes.extend([
        attribute("ecs.os-type", Some("linux".to_owned())),
        attribute("ecs.os-family", Some("LINUX".to_owned())),
        attribute("ecs.cpu-architecture", Some(capacity::cpu_architecture().to_owned())),
        attribute("estiva.agent", None),
        attribute("estiva.eni-range", Some(format!("{first}-{last}"))),
        attribute("estiva.eni-gateway", Some(gateway)),
    ]);
    if options.fargate {
        attributes.push(attribute("estiva.capability.fargate", None));
    }
    let Identity { instance_type, availability_zone, external, attributes: further, .. } = &options.identity;
    if *external {
        attributes.push(attribute("ecs.capability.external", None));
    }
    let known = [("ecs.instance-type", instance_type), ("ecs.availability-zone", availability_zone)];
    attributes.extend(known.into_iter().filter_map(|(name, value)| Some(attribute(name, Some(value.clone()?)))));
    attributes.extend(further.iter().map(|(name, value)| attribute(name, value.clone())));
    attributes
}

/// What EC2's metadata service says of an instance, as far as ECS reads it.
fn identity_document(identity: &Identity, region: &Region) -> Option<String> {
    let Identity { instance_id, instance_type, availability_zone, .. } = identity;
    let document = serde_json::json!({
        "instanceId": instance_id.as_ref()?,
        "instanceType": instance_type,
        "availabilityZone": availability_zone,
        "region": region.as_str(),
    });
    Some(document.to_string())
}

fn integer(name: &str, value: i64) -> api::Resource {
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    api::Resource {
        name: Some(name.to_owned()),
        r#type: Some("INTEGER".to_owned()),
        integer_value: Some(value),
        ..api::Resource::default()
    }
}

fn string_set(name: &str, values: Vec<String>) -> api::Resource {
    api::Resource {
        name: Some(name.to_owned()),
        r#type: Some("STRINGSET".to_owned()),
        string_set_value: Some(values),
        ..api::Resource::default()
    }
}

/// A control plane that drops attributes would place tasks where they cannot run.
fn check(
    request: &api::RegisterContainerInstanceRequest,
    answer: api::RegisterContainerInstanceResponse,
) -> Result<String, AgentError> {
    let lacks = |what: &str| AgentError::RegistrationAnswer(what.to_owned());
    let instance = answer.container_instance.ok_or_else(|| lacks("containerInstance"))?;
    let echoed = instance.attributes.unwrap_or_default();
    for sent in request.attributes.iter().flatten() {
        if !echoed
            .iter()
            .any(|it| it.name == sent.name && it.value.as_deref().unwrap_or("") == sent.value.as_deref().unwrap_or(""))
        {
            return Err(lacks(&format!("the attribute {}", sent.name)));
        }
    }
    instance.container_instance_arn.ok_or_else(|| lacks("containerInstanceArn"))
}

#[cfg(test)]
mod tests {
    use estiva_wire::sigv4::{Secret, SigningCredentials};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What `discover` makes of an answer with this status and body.
    async fn discovered(status: &str, body: &str) -> Result<PollEndpoint, SessionError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let credentials =
            SigningCredentials { access_key_id: "a".to_owned(), secret: Secret::new("s"), session_token: None };
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(&endpoint, credentials, Region::default()).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let serve = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let registration = Registration { arn: "arn".to_owned(), cluster: "default".to_owned() };
        tokio::join!(discover(&client, &registration), serve).0
    }

    #[tokio::test]
    async fn an_instance_that_the_control_plane_does_not_know_is_inactive() {
        let refusal = |code: &str| format!(r#"{{"__type":"{code}","message":"no"}}"#);
        for code in UNKNOWN {
            let told = discovered("400 Bad Request", &refusal(code)).await;
            assert!(matches!(told, Err(SessionError::Inactive)), "{code}");
        }
        for (status, code) in [("400 Bad Request", "AccessDeniedException"), ("500 Oh", "ServerException")] {
            let told = discovered(status, &refusal(code)).await;
            assert!(matches!(told, Err(SessionError::Discover(_))), "{code}");
        }
        let told = discovered("200 OK", r#"{"endpoint":"http://a/acs","telemetryEndpoint":"http://a/tcs"}"#).await;
        assert_eq!(told.unwrap().acs, "http://a/acs");
    }

    #[test]
    fn task_slots_are_a_resource_where_there_are_any() {
        let size = Capacity { cpu: 2048, memory: 512 };
        let values = |slots| -> Vec<(Option<String>, Option<i32>)> {
            resources(size, slots).into_iter().map(|it| (it.name, it.integer_value)).collect()
        };
        let named = |name: &str, value| (Some(name.to_owned()), value);
        let ports = [named("PORTS", None), named("PORTS_UDP", None)];
        let plain = [&[named("CPU", Some(2048)), named("MEMORY", Some(512))][..], &ports].concat();
        assert_eq!(values(None), plain);
        assert_eq!(values(Some(3)), [&plain[..], &[named("ESTIVA_TASK_SLOTS", Some(3))]].concat());
    }

    #[test]
    fn only_an_instance_that_is_known_has_a_document() {
        let region = Region::default();
        assert_eq!(identity_document(&Identity::default(), &region), None);
        let known = Identity { instance_id: Some("i-1".to_owned()), ..Identity::default() };
        let document: serde_json::Value = serde_json::from_str(&identity_document(&known, &region).unwrap()).unwrap();
        assert_eq!((&document["instanceId"], &document["region"]), (&"i-1".into(), &region.as_str().into()));
    }
}
