//! Volumes of a task and where its containers mount them.

use estiva_agent_protocol::task::{DockerVolume, HostVolume, MountPoint, Volume, VolumesFrom};
use estiva_api_ecs::types as api;

/// What Docker's volumes are made by unless somebody says otherwise.
const DRIVER_DEFAULT: &str = "local";

pub(super) fn volume(volume: &api::Volume) -> Volume {
    let name = volume.name.clone().unwrap_or_default();
    if let Some(docker) = &volume.docker_volume_configuration {
        let docker_volume_configuration = Some(docker_volume(docker));
        return Volume { name, kind: "docker".to_owned(), docker_volume_configuration, ..Volume::default() };
    }
    let source_path = volume.host.as_ref().and_then(|host| host.source_path.clone()).filter(|path| !path.is_empty());
    Volume { name, kind: "host".to_owned(), host: Some(HostVolume { source_path }), ..Volume::default() }
}

fn docker_volume(docker: &api::DockerVolumeConfiguration) -> DockerVolume {
    DockerVolume {
        scope: docker.scope.unwrap_or(api::Scope::Task).as_str().to_owned(),
        autoprovision: docker.autoprovision.unwrap_or(false),
        driver: docker.driver.clone().unwrap_or_else(|| DRIVER_DEFAULT.to_owned()),
        driver_opts: docker.driver_opts.clone().unwrap_or_default(),
        labels: docker.labels.clone().unwrap_or_default(),
    }
}

pub(super) fn mount_point(mount: &api::MountPoint) -> MountPoint {
    MountPoint {
        source_volume: mount.source_volume.clone().unwrap_or_default(),
        container_path: mount.container_path.clone().unwrap_or_default(),
        read_only: mount.read_only.unwrap_or(false),
    }
}

pub(super) fn volumes_from(from: &api::VolumeFrom) -> VolumesFrom {
    VolumesFrom {
        source_container: from.source_container.clone().unwrap_or_default(),
        read_only: from.read_only.unwrap_or(false),
    }
}
