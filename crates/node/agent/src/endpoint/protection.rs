//! Task protection, asked for by the task itself: its own role signs.

use estiva_agent_protocol::task::Credentials;
use estiva_api_ecs::types as api;
use estiva_api_ecs::{GetTaskProtection, UpdateTaskProtection};
use estiva_wire::client::ClientError;
use estiva_wire::sigv4::{Secret, SigningCredentials};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::{ControlPlane, TaskView};

/// The body of a PUT.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Wish {
    protection_enabled: bool,
    expires_in_minutes: Option<i32>,
}

/// Reads or changes the protection of a task; the answer as AWS's agent words it.
pub(super) async fn serve(
    control_plane: &ControlPlane,
    view: &TaskView,
    credentials: Option<Credentials>,
    wish: Option<Wish>,
) -> (StatusCode, Value) {
    let arn = &view.task.arn;
    let Some(credentials) = credentials else {
        return failed(arn, StatusCode::FORBIDDEN, "AccessDeniedException", "the task has no task role");
    };
    let credentials = SigningCredentials {
        access_key_id: credentials.access_key_id.clone(),
        secret: Secret::new(credentials.secret_access_key.as_str()),
        session_token: Some(Secret::new(credentials.session_token.as_str())),
    };
    let client = control_plane.client.clone().with_credentials(credentials);
    let (cluster, tasks) = (view.task.task_cluster_arn.clone(), vec![arn.clone()]);
    let answered = match wish {
        None => {
            let request = api::GetTaskProtectionRequest { cluster, tasks: Some(tasks) };
            let answer = client.call::<GetTaskProtection>(&request).await;
            answer.map(|answer| (answer.protected_tasks, answer.failures))
        }
        Some(wish) => {
            let request = api::UpdateTaskProtectionRequest {
                cluster,
                tasks,
                protection_enabled: wish.protection_enabled,
                expires_in_minutes: wish.expires_in_minutes,
            };
            let answer = client.call::<UpdateTaskProtection>(&request).await;
            answer.map(|answer| (answer.protected_tasks, answer.failures))
        }
    };
    match answered {
        Err(error) => refused(arn, &error),
        Ok((protected, failures)) => {
            if let Some(failure) = failures.into_iter().flatten().next() {
                let failure = json!({ "Arn": failure.arn, "Reason": failure.reason, "Detail": failure.detail });
                return (StatusCode::OK, json!({ "failure": failure }));
            }
            let task = protected.into_iter().flatten().next().unwrap_or_default();
            let protection = json!({
                "ProtectionEnabled": task.protection_enabled,
                "ExpirationDate": task.expiration_date.map(estiva_model::Timestamp::to_rfc3339),
                "TaskArn": task.task_arn,
            });
            (StatusCode::OK, json!({ "protection": protection }))
        }
    }
}

fn refused(arn: &str, error: &ClientError) -> (StatusCode, Value) {
    let code = error.code().unwrap_or("ServerException");
    let status = if error.is_retryable() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
    failed(arn, status, code, &error.to_string())
}

fn failed(arn: &str, status: StatusCode, code: &str, message: &str) -> (StatusCode, Value) {
    (status, json!({ "error": { "Arn": arn, "Code": code, "Message": message } }))
}
