//! Volumes of a task definition, and where its containers mount them.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;

use super::field_error::field_error;
use crate::name;

/// Checks volumes and mount points against each other.
pub(super) fn check(volumes: &[api::Volume], containers: &[api::ContainerDefinition]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for (place, volume) in volumes.iter().enumerate() {
        check_texts(volume).map_err(Error::client_exception)?;
        check_one(volume).map_err(|text| Error::client_exception(format!("volumes[{place}]: {text}")))?;
        let name = volume.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            return Err(Error::client_exception(format!("volumes[{place}].name: the name {name} is given twice")));
        }
    }
    for (place, container) in containers.iter().enumerate() {
        let mut paths = BTreeSet::new();
        for mount in container.mount_points.iter().flatten() {
            let source = mount.source_volume.as_deref().unwrap_or_default();
            if !names.contains(source) {
                return Err(Error::client_exception(format!("Unknown volume '{source}'.")));
            }
            let path = mount.container_path.as_deref().unwrap_or_default();
            if !path.starts_with('/') {
                return Err(field_error(place, "mountPoints", "containerPath must be an absolute path"));
            }
            if !paths.insert(path) {
                return Err(field_error(place, "mountPoints", format!("two volumes are mounted at {path}")));
            }
        }
    }
    Ok(())
}

/// What ECS has words for.
fn check_texts(volume: &api::Volume) -> Result<(), &'static str> {
    if volume.host.as_ref().and_then(|host| host.source_path.as_deref()) == Some("") {
        return Err("host.sourcePath should not be blank.");
    }
    let Some(efs) = &volume.efs_volume_configuration else { return Ok(()) };
    let encrypted = efs.transit_encryption == Some(api::EFSTransitEncryption::Enabled);
    let authorization = efs.authorization_config.as_ref();
    if authorization.and_then(|it| it.iam) == Some(api::EFSAuthorizationConfigIAM::Enabled) && !encrypted {
        return Err("EFS IAM authorization requires TransitEncryption to be enabled");
    }
    if efs.transit_encryption_port.is_some() && !encrypted {
        return Err("TransitEncryptionPort requires that TransitEncryption is enabled");
    }
    let access_point = authorization.and_then(|it| it.access_point_id.as_deref()).unwrap_or_default();
    let root = efs.root_directory.as_deref().unwrap_or_default();
    if encrypted && !access_point.is_empty() && !root.is_empty() && root != "/" {
        return Err("When using an EFS access point, the root directory must either be set to \"/\" or be omitted");
    }
    Ok(())
}

fn check_one(volume: &api::Volume) -> Result<(), String> {
    if !name::is_legal(volume.name.as_deref().unwrap_or_default()) {
        return Err("name: 1 to 255 letters, digits, hyphens and underscores".to_owned());
    }
    let kinds = [
        volume.host.is_some(),
        volume.docker_volume_configuration.is_some(),
        volume.efs_volume_configuration.is_some(),
        volume.fsx_windows_file_server_volume_configuration.is_some(),
        volume.s3files_volume_configuration.is_some(),
        volume.configured_at_launch == Some(true),
    ];
    if kinds.into_iter().filter(|given| *given).count() > 1 {
        return Err("has more than one kind of configuration".to_owned());
    }
    let source = volume.host.as_ref().and_then(|host| host.source_path.as_deref()).unwrap_or("/");
    if !source.starts_with('/') {
        return Err("host.sourcePath must be an absolute path".to_owned());
    }
    if let Some(docker) = &volume.docker_volume_configuration
        && docker.autoprovision.is_some()
        && docker.scope != Some(api::Scope::Shared)
    {
        return Err("dockerVolumeConfiguration.autoprovision is for the scope shared".to_owned());
    }
    if let Some(efs) = &volume.efs_volume_configuration {
        return check_efs(efs);
    }
    Ok(())
}

fn check_efs(efs: &api::EFSVolumeConfiguration) -> Result<(), String> {
    let encrypted = efs.transit_encryption == Some(api::EFSTransitEncryption::Enabled);
    let authorization = efs.authorization_config.as_ref();
    let access_point = authorization.and_then(|it| it.access_point_id.as_deref()).unwrap_or_default();
    if efs.file_system_id.is_empty() {
        return Err("efsVolumeConfiguration.fileSystemId must not be empty".to_owned());
    }
    if !access_point.is_empty() && !encrypted {
        return Err("efsVolumeConfiguration.authorizationConfig needs transitEncryption".to_owned());
    }
    Ok(())
}
