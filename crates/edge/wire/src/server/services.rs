//! Which service and which operation a request is for.
//!
//! A JSON request names its operation in `X-Amz-Target`, a query request in its form (`Action`, `Version`). The service
//! is known by the target's prefix; for a form by the scope of the signature or, unsigned, by the first label of the
//! host's name, and where several share that name, or there is none, by the form's version.

use std::collections::HashMap;
use std::sync::Arc;

use estiva_schema::{ApiError, OperationSchema, Protocol, Service};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;

use super::respond::api_error;
use super::tongue::Tongue;
use crate::sigv4::{Scope, decode_query};

const TARGET: &str = "x-amz-target";

/// The services behind the edge.
#[derive(Default)]
pub(super) struct Services {
    by_target_prefix: HashMap<&'static str, Arc<dyn Service>>,
    /// Every service that speaks forms.
    forms: Vec<Arc<dyn Service>>,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) service: &'a dyn Service,
    pub(super) operation: &'static OperationSchema,
}

impl Services {
    pub(super) fn insert(&mut self, service: Arc<dyn Service>) {
        let schema = service.schema();
        match schema.protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 => {
                self.by_target_prefix.insert(schema.target_prefix, service);
            }
            Protocol::Query => self.forms.push(service),
        }
    }

    /// What the client speaks, also when nobody here can serve it.
    pub(super) fn tongue(&self, parts: &Parts) -> Tongue {
        let Some(target) = target_of(parts) else {
            return Tongue::of(if speaks_json(parts) { Protocol::AwsJson11 } else { Protocol::Query });
        };
        let prefix = target.rsplit_once('.').map_or(target, |(prefix, _)| prefix);
        let service = self.by_target_prefix.get(prefix);
        Tongue::of(service.map_or(Protocol::AwsJson11, |service| service.schema().protocol))
    }

    /// The operation that the head names; `None` when it is in the form.
    pub(super) fn by_head(&self, parts: &Parts) -> Result<Option<Found<'_>>, ApiError> {
        let Some(target) = target_of(parts) else {
            return Ok(None);
        };
        let unknown = || {
            let message = format!("The operation '{target}' is not known.");
            api_error("UnknownOperationException", message, StatusCode::BAD_REQUEST)
        };
        let (prefix, name) = target.rsplit_once('.').ok_or_else(unknown)?;
        let service = self.by_target_prefix.get(prefix).ok_or_else(|| {
            let name = service_name(parts);
            no_service(name.as_deref().unwrap_or(prefix))
        })?;
        let operation = service.schema().operation(name).ok_or_else(unknown)?;
        Ok(Some(Found { service: service.as_ref(), operation }))
    }

    /// The operation that a form names: the body of a POST, the query of a GET.
    pub(super) fn by_form(&self, parts: &Parts, form: &[u8]) -> Result<Found<'_>, ApiError> {
        let form = std::str::from_utf8(form).unwrap_or_default();
        let name = service_name(parts);
        let is_named =
            |service: &&Arc<dyn Service>| name.as_deref().is_none_or(|name| name == service.schema().signing_name);
        let mut candidates = self.forms.iter().filter(is_named).peekable();
        if candidates.peek().is_none() {
            return Err(no_service(name.as_deref().unwrap_or_default()));
        }
        let Some(action) = field(form, "Action") else {
            let message = "The request names no operation: it has neither X-Amz-Target nor Action.";
            return Err(api_error("MissingAction", message, StatusCode::BAD_REQUEST));
        };
        let version = field(form, "Version").unwrap_or_default();
        let found = candidates.find(|service| service.schema().api_version == version);
        let operation = found.and_then(|service| Some((service, service.schema().operation(&action)?)));
        let (service, operation) = operation.ok_or_else(|| {
            let message = format!("Could not find operation {action} for version {version}");
            api_error("InvalidAction", message, StatusCode::BAD_REQUEST)
        })?;
        Ok(Found { service: service.as_ref(), operation })
    }
}

fn target_of(parts: &Parts) -> Option<&str> {
    parts.headers.get(TARGET).map(|target| target.to_str().unwrap_or_default())
}

/// For requests without a target: of the REST protocols, whose services are not here, and of the query protocol.
fn speaks_json(parts: &Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.contains("json") {
        return true;
    }
    let is_form = content_type.contains("x-www-form-urlencoded")
        || parts.uri.query().is_some_and(|query| field(query, "Action").is_some());
    let speaks_xml = |scope: Scope| matches!(scope.service.as_str(), "s3" | "route53" | "cloudfront");
    !is_form && Scope::claimed(&parts.uri, &parts.headers).is_some_and(|scope| !speaks_xml(scope))
}

fn no_service(name: &str) -> ApiError {
    api_error("NotImplemented", format!("Estiva has no service '{name}'."), StatusCode::NOT_IMPLEMENTED)
}

/// The service's name by the signature, or by a host such as `sts.us-east-1.amazonaws.com`.
fn service_name(parts: &Parts) -> Option<String> {
    if let Some(scope) = Scope::claimed(&parts.uri, &parts.headers) {
        return Some(scope.service);
    }
    let host = parts.headers.get(HOST)?.to_str().ok()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.ends_with(".amazonaws.com").then(|| host.split('.').next().unwrap_or_default().to_owned())
}

/// A form's field, decoded. Forms name their action first, so this seldom looks far.
fn field(form: &str, name: &str) -> Option<String> {
    form.split('&')
        .find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name))
        .map(|(_, value)| decode_query(value))
}
