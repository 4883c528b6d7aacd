//! Who asks for what: paths to answers, and nobody sees another's.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Instant;

use estiva_network::TaskNetwork;
use estiva_wire::server::Standing;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::limit::Limit;
use super::metadata::{self, Around, Version};
use super::protection::{self, Wish};
use super::stats::Stats;
use crate::engine::{ControlPlane, Engine, Host, KnownContainer, TaskView, id_of};

/// What a request is, without its connection.
pub(super) struct Question<'a> {
    pub standing: &'a Standing,
    pub peer: IpAddr,
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

pub(super) struct Routes {
    pub host: std::sync::Arc<Host>,
    pub engine: Engine,
    pub control_plane: ControlPlane,
    pub limit: Limit,
    pub stats: Stats,
}

type Answer = (StatusCode, Value);

impl Routes {
    pub async fn answer(&self, question: &Question<'_>) -> Answer {
        let parts: Vec<&str> = question.path.split('/').filter(|part| !part.is_empty()).collect();
        let read = *question.method == Method::GET;
        match parts.as_slice() {
            ["v2", "credentials", id] if read => self.credentials(question, id),
            ["v2", rest @ ..] if read => self.of_peer(question, rest),
            ["v3", id, rest @ ..] if read => self.of_container(question, id, rest, Version::V3).await,
            ["v4", id, rest @ ..] if read => self.of_container(question, id, rest, Version::V4).await,
            ["api", id, "task-protection", "v1", "state"] => self.protection(question, id).await,
            _ => (StatusCode::NOT_FOUND, json!("404 page not found")),
        }
    }

    /// The task that an id names, if it is the one that asks.
    fn admitted(&self, question: &Question<'_>, named: Option<TaskView>) -> Result<TaskView, Option<Answer>> {
        let view = named.ok_or(None)?;
        if !self.is_from(question.peer, &view) {
            return Err(Some(forbidden("this belongs to another task")));
        }
        if !self.allows(question, &view) {
            return Err(Some((StatusCode::TOO_MANY_REQUESTS, json!("too many requests"))));
        }
        Ok(view)
    }

    /// Whether the task that is known now may ask at this moment: its connections are no strangers' any more.
    fn allows(&self, question: &Question<'_>, view: &TaskView) -> bool {
        question.standing.prove(&view.task.arn, false) && self.limit.allows(&view.task.arn, Instant::now())
    }

    /// The firewall sees to it that a task has no other address than its own.
    fn is_from(&self, peer: IpAddr, view: &TaskView) -> bool {
        match self.network(view).and_then(|network| network.ip) {
            Some(ip) => peer == IpAddr::V4(ip),
            None => view.task.network_mode.as_deref() == Some("host") && peer == IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn network(&self, view: &TaskView) -> Option<TaskNetwork> {
        self.host.network.get(id_of(&view.task.arn))
    }

    fn credentials(&self, question: &Question<'_>, id: &str) -> Answer {
        let unknown = || {
            let message = "Credentials not found";
            let body = json!({ "code": "InvalidIdInRequest", "message": message, "HTTPErrorCode": 400 });
            (StatusCode::BAD_REQUEST, body)
        };
        let view = match self.admitted(question, self.engine.find_by_credentials(id)) {
            Ok(view) => view,
            Err(answer) => return answer.unwrap_or_else(unknown),
        };
        if view.task.network_mode.as_deref() == Some("host") {
            let shown = question.headers.get(http::header::AUTHORIZATION).map_or(&[][..], http::HeaderValue::as_bytes);
            if !same(shown, view.authorization.as_bytes()) {
                return forbidden("the authorization token is not the task's");
            }
        }
        let Some(credentials) = self.host.credentials.get(&view.task.arn) else {
            let body = json!({ "code": "NoCredentials", "message": "The control plane has not sent them yet", "HTTPErrorCode": 503 });
            return (StatusCode::SERVICE_UNAVAILABLE, body);
        };
        let body = json!({
            "RoleArn": credentials.role_arn,
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key.as_str(),
            "Token": credentials.session_token.as_str(),
            "Expiration": credentials.expiration,
        });
        (StatusCode::OK, body)
    }

    /// Version 2 has no ids: who asks is who is meant.
    fn of_peer(&self, question: &Question<'_>, rest: &[&str]) -> Answer {
        let networks = self.host.network.list();
        let own = networks.iter().find(|network| network.ip.map(IpAddr::V4) == Some(question.peer));
        let Some(view) = own.and_then(|network| self.engine.find_by_id(&network.task_id)) else {
            return (StatusCode::BAD_REQUEST, json!("Unable to get task arn from request: no task has this address"));
        };
        if !self.allows(question, &view) {
            return (StatusCode::TOO_MANY_REQUESTS, json!("too many requests"));
        }
        let known = |id: &str| view.known.containers.iter().find(|it| it.runtime_id == id);
        let value = match rest {
            ["metadata"] => Some(self.with_around(&view, |around| metadata::task(&view, around, Version::V2))),
            ["metadata", id] => known(id)
                .map(|known| self.with_around(&view, |around| metadata::container(&view, known, around, Version::V2))),
            ["stats"] => Some(self.all_stats(&view)),
            ["stats", id] => known(id).map(|known| self.stats.of(&view, known)),
            _ => None,
        };
        value.map_or_else(not_found, |value| (StatusCode::OK, value))
    }

    async fn of_container(&self, question: &Question<'_>, id: &str, rest: &[&str], version: Version) -> Answer {
        let view = match self.admitted(question, self.engine.find_by_endpoint(id)) {
            Ok(view) => view,
            Err(answer) => return answer.unwrap_or_else(not_found),
        };
        let Some(known) = view.known.containers.iter().find(|it| it.endpoint_id == id) else { return not_found() };
        let value = match rest {
            [] => self.with_around(&view, |around| metadata::container(&view, known, around, version)),
            ["task"] => self.with_around(&view, |around| metadata::task(&view, around, version)),
            ["taskWithTags"] => self.with_tags(&view, version).await,
            ["stats"] => self.stats.of(&view, known),
            ["task", "stats"] => self.all_stats(&view),
            _ => return not_found(),
        };
        (StatusCode::OK, value)
    }

    async fn with_tags(&self, view: &TaskView, version: Version) -> Value {
        let mut value = self.with_around(view, |around| metadata::task(view, around, version));
        let request = estiva_api_ecs::types::ListTagsForResourceRequest { resource_arn: view.task.arn.clone() };
        match self.control_plane.client.call::<estiva_api_ecs::ListTagsForResource>(&request).await {
            Ok(answer) => {
                let tags = answer.tags.into_iter().flatten();
                let pair = |tag: estiva_api_ecs::types::Tag| Some((tag.key?, json!(tag.value.unwrap_or_default())));
                value["TaskTags"] = Value::Object(tags.filter_map(pair).collect());
            }
            Err(error) => {
                let error =
                    json!({ "ErrorField": "TaskTags", "ErrorCode": error.code(), "ErrorMessage": error.to_string() });
                value["Errors"] = json!([error]);
            }
        }
        value
    }

    fn with_around<T>(&self, view: &TaskView, render: impl FnOnce(&Around<'_>) -> T) -> T {
        let network = self.network(view);
        let subnet = self.host.network.subnet();
        let gateway = format!("{}/{}", self.host.network.gateway(), subnet.prefix());
        let storage = view.dir.join("storage");
        let ephemeral_storage = view.task.ephemeral_storage.and_then(|_| file_system(&storage));
        render(&Around { network: network.as_ref(), subnet: (subnet.to_string(), gateway), ephemeral_storage })
    }

    fn all_stats(&self, view: &TaskView) -> Value {
        let stats = |known: &KnownContainer| (known.runtime_id.clone(), self.stats.of(view, known));
        Value::Object(view.known.containers.iter().map(stats).collect())
    }

    async fn protection(&self, question: &Question<'_>, id: &str) -> Answer {
        let view = match self.admitted(question, self.engine.find_by_endpoint(id)) {
            Ok(view) => view,
            Err(answer) => return answer.unwrap_or_else(not_found),
        };
        let wish = match *question.method {
            Method::GET => None,
            Method::PUT => match serde_json::from_slice::<Wish>(question.body) {
                Ok(wish) => Some(wish),
                Err(error) => {
                    let error = json!({ "Arn": view.task.arn, "Code": "InvalidParameterException", "Message": error.to_string() });
                    return (StatusCode::BAD_REQUEST, json!({ "error": error }));
                }
            },
            _ => return (StatusCode::METHOD_NOT_ALLOWED, json!("405 method not allowed")),
        };
        protection::serve(&self.control_plane, &view, self.host.credentials.get(&view.task.arn), wish).await
    }
}

fn not_found() -> Answer {
    (StatusCode::NOT_FOUND, json!("404 page not found"))
}

fn forbidden(message: &str) -> Answer {
    (StatusCode::FORBIDDEN, json!({ "code": "AccessDenied", "message": message, "HTTPErrorCode": 403 }))
}

/// In a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty() && bool::from(one.ct_eq(other))
}

/// Bytes used, and in all.
fn file_system(dir: &Path) -> Option<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    let total = stat.blocks() * stat.fragment_size();
    Some((total - stat.blocks_free() * stat.fragment_size(), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_as_a_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd") && !same(b"ab", b"abc") && !same(b"", b""));
    }
}
