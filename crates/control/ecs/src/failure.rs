//! `failures[]`: what an answer says of resources that a call could not deal with, while it has dealt with the others.

use estiva_api_ecs::types::Failure;

/// In ECS's word for it, such as `RESOURCE:CPU`.
pub fn failure(arn: String, reason: &str) -> Failure {
    Failure { arn: Some(arn), reason: Some(reason.to_owned()), detail: None }
}

/// There is no such resource.
pub fn missing(arn: String) -> Failure {
    failure(arn, "MISSING")
}
