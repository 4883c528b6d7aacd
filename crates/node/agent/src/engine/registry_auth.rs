//! Credentials of private registries: `repositoryCredentials` names a secret of Secrets Manager that holds a user name and a
//! password.

use estiva_agent_protocol::task::{AsmAuthData, Container};
use estiva_api_secretsmanager::GetSecretValue;
use estiva_api_secretsmanager::types::GetSecretValueRequest;
use estiva_image::Credentials;
use estiva_model::Region;
use estiva_wire::client::{Client, ClientError, EndpointError};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::host::ControlPlane;

/// Where Secrets Manager is, if it is not behind the control plane's endpoint; the variable is that of every AWS SDK.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryAuthError {
    #[error("unable to pull registry auth from Secrets Manager: the region '{0}' is none")]
    Region(String),
    #[error("unable to pull registry auth from Secrets Manager: {ENDPOINT_VARIABLE}")]
    Endpoint(#[from] EndpointError),
    #[error("unable to pull registry auth from Secrets Manager: {secret}")]
    Secret { secret: String, source: Box<ClientError> },
    #[error(
        "unable to pull registry auth from Secrets Manager: {0} does not hold {{\"username\": …, \"password\": …}}"
    )]
    Malformed(String),
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: Zeroizing<String>,
}

/// The container's, if its registry is private.
pub(super) async fn credentials(
    control_plane: Option<&ControlPlane>,
    container: &Container,
) -> Result<Option<Credentials>, RegistryAuthError> {
    let data = container.registry_authentication.as_ref().and_then(|it| it.asm_auth_data.as_ref());
    let (Some(control_plane), Some(data)) = (control_plane, data) else { return Ok(None) };
    let AsmAuthData { credentials_parameter: secret, region } = data;
    let region = Region::parse(region).ok_or_else(|| RegistryAuthError::Region(region.clone()))?;
    let elsewhere = std::env::var(ENDPOINT_VARIABLE).ok().filter(|endpoint| !endpoint.is_empty());
    let client = match elsewhere {
        Some(endpoint) => Client::new(&endpoint, control_plane.credentials.clone(), region)?,
        None => control_plane.client.clone().with_region(region),
    };
    let request = GetSecretValueRequest { secret_id: secret.clone(), ..GetSecretValueRequest::default() };
    let failed = |source| RegistryAuthError::Secret { secret: secret.clone(), source: Box::new(source) };
    let answer = client.call::<GetSecretValue>(&request).await.map_err(failed)?;
    let text = Zeroizing::new(answer.secret_string.unwrap_or_default());
    // What serde says of a text quotes from it.
    let login: Login = serde_json::from_str(&text).map_err(|_| RegistryAuthError::Malformed(secret.clone()))?;
    Ok(Some(Credentials { username: login.username, password: login.password }))
}
