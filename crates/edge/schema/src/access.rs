//! The second step of authorisation: what a request is about. The edge asks an [`crate::Authorizer`] about the action alone;
//! only a handler knows the resources.

use estiva_model::{Caller, Principal};

use crate::ApiError;

/// Asked by a handler before it shows or changes a resource: may this caller do this to that?
pub trait ResourceAuthorizer: Send + Sync {
    /// `action` is IAM's name for the operation, such as `ecs:DescribeTasks`; `resource` is an ARN. The resource need not
    /// exist: a caller who may not see it is not told whether it does.
    ///
    /// # Errors
    /// The service's AccessDeniedException.
    fn authorize_on(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError>;
}

/// What a service has until somebody installs another: it lets the account's owner in, and nobody else.
#[derive(Debug, Clone, Copy)]
pub struct OwnerOnly;

impl ResourceAuthorizer for OwnerOnly {
    fn authorize_on(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError> {
        match caller.principal {
            Principal::Root => Ok(()),
            Principal::AssumedRole { .. } => Err(denied(caller, action, Some(resource))),
        }
    }
}

/// AWS's text for a call that no policy allows.
pub fn denied(caller: &Caller, action: &str, resource: Option<&str>) -> ApiError {
    let on = resource.map(|resource| format!(" on resource: {resource}")).unwrap_or_default();
    let message = format!(
        "User: {} is not authorized to perform: {action}{on} because no identity-based policy allows the {action} action",
        caller.arn()
    );
    ApiError::new("AccessDeniedException", message, 400)
}

/// The task behind a session of a task's role: all that the session may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTask {
    /// The task's ARN.
    pub task: String,
    /// The task's id, which is the session's name.
    pub id: String,
    /// The ARN of its task definition, with the revision.
    pub definition: String,
    /// The ARNs of the log groups that its task definition names, without `:*`.
    pub log_groups: Vec<String>,
}

/// Knows the tasks behind sessions.
pub trait SessionTasks: Send + Sync {
    /// The task, if the caller is a session of its role and the task has not ended.
    fn of(&self, caller: &Caller) -> Option<SessionTask>;
}
