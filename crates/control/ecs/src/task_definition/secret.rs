//! What containers are given from elsewhere: secrets, environment files, credentials for registries.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Arn;

use super::field_error::field_error;

const ENVIRONMENT_FILES_MAX: usize = 10;
const SUFFIX: &str = ".env";

/// Checks what the container at `place` is given.
pub(super) fn check(place: usize, container: &api::ContainerDefinition, has_execution_role: bool) -> Result<(), Error> {
    let secrets = container.secrets.as_deref().unwrap_or_default();
    let variables: BTreeSet<&str> =
        container.environment.iter().flatten().filter_map(|entry| entry.name.as_deref()).collect();
    let mut names = BTreeSet::new();
    for secret in secrets {
        check_secret(secret).map_err(|text| field_error(place, "secrets", text))?;
        if !names.insert(secret.name.as_str()) {
            return Err(Error::client_exception(format!(
                "Duplicate secret names found: {}. Each secret name must be unique.",
                secret.name
            )));
        }
        if variables.contains(secret.name.as_str()) {
            return Err(Error::client_exception(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on the \
                container, such as '{}'.",
                secret.name
            )));
        }
    }
    let log_options = container.log_configuration.iter().flat_map(|it| it.secret_options.iter().flatten());
    for secret in log_options.clone() {
        check_secret(secret).map_err(|text| field_error(place, "logConfiguration.secretOptions", text))?;
    }
    let needs_role = !secrets.is_empty() || log_options.count() > 0 || container.repository_credentials.is_some();
    if needs_role && !has_execution_role {
        return Err(Error::client_exception(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    if let Some(credentials) = &container.repository_credentials
        && credentials.credentials_parameter.is_empty()
    {
        return Err(field_error(place, "repositoryCredentials", "credentialsParameter must not be empty"));
    }
    check_files(place, container)
}

/// A parameter's name or ARN, or a secret's ARN, of which `:json-key:version-stage:version-id` may name a part.
fn check_secret(secret: &api::Secret) -> Result<(), String> {
    if secret.name.is_empty() || secret.value_from.is_empty() {
        return Err("name and valueFrom must not be empty".to_owned());
    }
    if !secret.value_from.starts_with("arn:") {
        return Ok(());
    }
    let refuse = || format!("valueFrom: '{}' is no ARN of a parameter or of a secret", secret.value_from);
    let arn: Arn = secret.value_from.parse().map_err(|_| refuse())?;
    let parts: Vec<&str> = arn.resource.split(':').collect();
    match (arn.service.as_str(), parts.as_slice()) {
        ("ssm", [parameter]) if parameter.starts_with("parameter/") => Ok(()),
        ("secretsmanager", ["secret", name]) if !name.is_empty() => Ok(()),
        ("secretsmanager", ["secret", name, _, stage, id]) if !name.is_empty() => {
            if stage.is_empty() || id.is_empty() {
                return Ok(());
            }
            Err("valueFrom: a version stage and a version id exclude each other".to_owned())
        }
        _ => Err(refuse()),
    }
}

fn check_files(place: usize, container: &api::ContainerDefinition) -> Result<(), Error> {
    let files = container.environment_files.as_deref().unwrap_or_default();
    if files.len() > ENVIRONMENT_FILES_MAX {
        return Err(Error::client_exception(
            "The maximum number of environment files was exceeded. Specify ten or less and try again",
        ));
    }
    for file in files {
        let arn = file.value.parse::<Arn>().map_err(|_| Error::client_exception("Invalid arn syntax."))?;
        if arn.service != "s3" || !arn.resource.contains('/') || !file.value.ends_with(SUFFIX) {
            let text = format!("value: '{}' is no ARN of an object in S3 that ends in .env", file.value);
            return Err(field_error(place, "environmentFiles", text));
        }
    }
    Ok(())
}
