//! Volumes: where on the node each of a task's is, and what each container mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use estiva_agent_protocol::task::{Container, DockerVolume, Task, Volume};
use estiva_image::Image;
use estiva_shim::spec::BindMount;
use nix::mount::{MsFlags, mount};

use super::mount_point::{is_mount_point, unmount};
use super::remove::remove_tree;

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("volume {volume}: the volume driver '{driver}' is not known here; there is 'local'")]
    Driver { volume: String, driver: String },
    #[error("volume {volume} is of the kind '{kind}', which this node has not")]
    Kind { volume: String, kind: String },
    #[error("volume {0} is shared and does not exist, and autoprovision is not set")]
    Missing(String),
    #[error("volume {0}: its name cannot be a directory's")]
    Name(String),
    #[error("volume {volume}: {reason}")]
    Options { volume: String, reason: String },
    #[error("container mounts volume {0}, which the task has not")]
    Unknown(String),
    #[error("volume {volume}: {source}")]
    Io { volume: String, source: io::Error },
}

/// A volume's place on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    source: PathBuf,
    /// It is a volume, not a directory of the host's: empty, it gets what the image has.
    populate: bool,
}

/// Where a task's own volumes are, under `root`.
fn of_task(root: &Path) -> PathBuf {
    root.join("volumes")
}

/// Makes what is to be made. `root` is where the task writes, `shared` the node's directory of shared volumes.
pub(super) fn prepare(task: &Task, root: &Path, shared: &Path) -> Result<BTreeMap<String, Place>, VolumeError> {
    task.volumes.iter().map(|volume| Ok((volume.name.clone(), place(volume, root, shared)?))).collect()
}

fn place(volume: &Volume, root: &Path, shared: &Path) -> Result<Place, VolumeError> {
    let name = &volume.name;
    let failed = |source| VolumeError::Io { volume: name.clone(), source };
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) || name.contains('/') {
        return Err(VolumeError::Name(name.clone()));
    }
    let made = |source: PathBuf| {
        make_dir(&source).map_err(failed)?;
        Ok(Place { source, populate: true })
    };
    match (volume.kind.as_str(), &volume.docker_volume_configuration) {
        ("docker", Some(docker)) if docker.driver != "local" => {
            Err(VolumeError::Driver { volume: name.clone(), driver: docker.driver.clone() })
        }
        ("docker", Some(docker)) => {
            let of_all = docker.scope == "shared";
            let source = if of_all { shared.join(name) } else { of_task(root).join(name) };
            if of_all && !docker.autoprovision && !source.is_dir() {
                return Err(VolumeError::Missing(name.clone()));
            }
            let place = made(source)?;
            mount_device(name, docker, &place.source)?;
            Ok(place)
        }
        ("host" | "", _) => match volume.host.as_ref().and_then(|host| host.source_path.as_ref()) {
            Some(path) => {
                let source = PathBuf::from(path);
                // As Docker does: a path that is not there becomes a directory.
                if fs::symlink_metadata(&source).is_err() {
                    make_dir(&source).map_err(failed)?;
                }
                Ok(Place { source, populate: false })
            }
            None => made(of_task(root).join(name)),
        },
        (kind, _) => Err(VolumeError::Kind { volume: name.clone(), kind: kind.to_owned() }),
    }
}

/// The driver local's `type`, `device` and `o`, which are those of mount(8).
fn mount_device(name: &str, docker: &DockerVolume, dir: &Path) -> Result<(), VolumeError> {
    let refused = |reason: String| VolumeError::Options { volume: name.to_owned(), reason };
    let option = |key: &str| docker.driver_opts.get(key).map_or("", String::as_str);
    if let Some(unknown) = docker.driver_opts.keys().find(|key| !matches!(key.as_str(), "type" | "device" | "o")) {
        return Err(refused(format!("the driver local has no option '{unknown}'")));
    }
    let (kind, device) = (option("type"), option("device"));
    if kind.is_empty() && device.is_empty() {
        return Ok(());
    }
    if is_mount_point(dir).map_err(|error| refused(error.to_string()))? {
        return Ok(());
    }
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for word in option("o").split(',').filter(|word| !word.is_empty()) {
        match flag(word) {
            Some(flag) => flags |= flag,
            None => data.push(word),
        }
    }
    let data = data.join(",");
    mount(Some(device), dir, Some(kind), flags, Some(data.as_str()))
        .map_err(|errno| refused(format!("cannot mount {device} of type {kind}: {}", errno.desc())))
}

fn flag(word: &str) -> Option<MsFlags> {
    Some(match word {
        "bind" => MsFlags::MS_BIND,
        "rbind" => MsFlags::MS_BIND | MsFlags::MS_REC,
        "ro" => MsFlags::MS_RDONLY,
        "rw" => MsFlags::empty(),
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "noatime" => MsFlags::MS_NOATIME,
        "sync" => MsFlags::MS_SYNCHRONOUS,
        _ => return None,
    })
}

/// Takes the task's own volumes away, with what is in them; shared ones stay.
pub(super) fn release(root: &Path) -> io::Result<()> {
    let dir = of_task(root);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        unmount(&entry?.path())?;
    }
    remove_tree(&dir)
}

/// Unmounts the devices of shared volumes; their files stay. No task may be left.
pub(super) fn unmount_shared(shared: &Path) -> io::Result<()> {
    for entry in fs::read_dir(shared)? {
        unmount(&entry?.path())?;
    }
    Ok(())
}

/// What a container mounts: its mount points, those of the containers in volumesFrom, and the places that its image declares
/// as volumes. In the order in which they must be mounted.
pub(super) fn mounts(
    task: &Task,
    images: &[Option<Image>],
    container: &Container,
    places: &BTreeMap<String, Place>,
    root: &Path,
) -> Result<Vec<BindMount>, VolumeError> {
    let mut mounts = BTreeMap::new();
    collect(task, images, container, places, root, &mut mounts, &mut BTreeSet::new())?;
    // A parent's path sorts before its children's.
    Ok(mounts.into_values().collect())
}

fn collect(
    task: &Task,
    images: &[Option<Image>],
    container: &Container,
    places: &BTreeMap<String, Place>,
    root: &Path,
    mounts: &mut BTreeMap<PathBuf, BindMount>,
    seen: &mut BTreeSet<String>,
) -> Result<(), VolumeError> {
    if !seen.insert(container.name.clone()) {
        return Ok(());
    }
    for point in &container.mount_points {
        let place = places.get(&point.source_volume);
        let place = place.ok_or_else(|| VolumeError::Unknown(point.source_volume.clone()))?;
        let destination = Path::new("/").join(&point.container_path);
        mounts.entry(destination.clone()).or_insert_with(|| BindMount {
            source: place.source.clone(),
            destination,
            read_only: point.read_only,
            populate: place.populate,
        });
    }
    for from in &container.volumes_from {
        let Some(other) = task.containers.iter().find(|it| it.name == from.source_container) else { continue };
        let mut theirs = BTreeMap::new();
        collect(task, images, other, places, root, &mut theirs, seen)?;
        for (destination, mount) in theirs {
            let read_only = mount.read_only || from.read_only;
            mounts.entry(destination).or_insert(BindMount { read_only, ..mount });
        }
    }
    let place = task.containers.iter().position(|it| it.name == container.name);
    let image = place.and_then(|place| images.get(place)?.as_ref());
    for (number, path) in image.into_iter().flat_map(|image| image.config.volumes.iter().enumerate()) {
        let destination = inside(path);
        let kernels = ["/proc", "/sys", "/dev"].iter().any(|dir| destination.starts_with(dir));
        if mounts.contains_key(&destination) || destination == Path::new("/") || kernels {
            continue;
        }
        // No volume of a task definition has a dot in its name.
        let source = of_task(root).join(format!("{}.{number}", container.name));
        make_dir(&source).map_err(|source| VolumeError::Io { volume: path.clone(), source })?;
        mounts.insert(destination.clone(), BindMount { source, destination, read_only: false, populate: true });
    }
    Ok(())
}

/// An image's path as it is inside the root, whatever it says.
fn inside(path: &str) -> PathBuf {
    let mut inside = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => drop(inside.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    inside
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

#[cfg(test)]
mod tests {
    use estiva_agent_protocol::task::{HostVolume, MountPoint, VolumesFrom};
    use estiva_image::ImageConfig;

    use super::*;

    fn image(volumes: &[&str]) -> Image {
        let volumes = volumes.iter().map(|path| (*path).to_owned()).collect();
        let config = ImageConfig { volumes, ..ImageConfig::default() };
        Image { reference: String::new(), digest: String::new(), config, layers: Vec::new() }
    }

    fn container(name: &str, points: &[(&str, &str)], from: &[&str]) -> Container {
        let point = |(volume, path): &(&str, &str)| MountPoint {
            source_volume: (*volume).to_owned(),
            container_path: (*path).to_owned(),
            read_only: false,
        };
        let source = |name: &&str| VolumesFrom { source_container: (*name).to_owned(), read_only: true };
        Container {
            name: name.to_owned(),
            mount_points: points.iter().map(point).collect(),
            volumes_from: from.iter().map(source).collect(),
            ..Container::default()
        }
    }

    fn host_volume(name: &str, source_path: Option<&str>) -> Volume {
        let host = Some(HostVolume { source_path: source_path.map(str::to_owned) });
        Volume { name: name.to_owned(), kind: "host".to_owned(), host, ..Volume::default() }
    }

    fn docker_volume(name: &str, scope: &str, autoprovision: bool) -> Volume {
        let docker = DockerVolume {
            scope: scope.to_owned(),
            autoprovision,
            driver: "local".to_owned(),
            ..DockerVolume::default()
        };
        let docker_volume_configuration = Some(docker);
        Volume { name: name.to_owned(), kind: "docker".to_owned(), docker_volume_configuration, ..Volume::default() }
    }

    #[test]
    fn a_container_gets_the_mounts_of_others_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let task = Task {
            volumes: vec![host_volume("data", None), host_volume("more", None)],
            containers: vec![
                container("first", &[("data", "/data"), ("more", "/data/more")], &[]),
                container("second", &[("more", "/data")], &["first"]),
            ],
            ..Task::default()
        };
        let places = prepare(&task, dir.path(), dir.path()).unwrap();
        let images = [Some(image(&["/declared", "/data"])), Some(image(&[]))];
        let mounts = mounts(&task, &images, &task.containers[1], &places, dir.path()).unwrap();
        let seen: Vec<_> = mounts
            .iter()
            .map(|it| {
                (it.destination.to_str().unwrap(), it.source.file_name().unwrap().to_str().unwrap(), it.read_only)
            })
            .collect();
        assert_eq!(seen, [("/data", "more", false), ("/data/more", "more", true), ("/declared", "first.0", true)]);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let with = |volume: Volume| Task { volumes: vec![volume], ..Task::default() };
        let refusal = |volume| prepare(&with(volume), dir.path(), &dir.path().join("shared")).unwrap_err().to_string();
        assert!(refusal(docker_volume("mine", "shared", false)).contains("autoprovision"));
        let mut foreign = docker_volume("far", "task", false);
        foreign.docker_volume_configuration.as_mut().unwrap().driver = "rexray".to_owned();
        assert!(refusal(foreign).contains("rexray"));
        assert!(refusal(Volume { kind: "efs".to_owned(), ..host_volume("net", None) }).contains("efs"));
        for name in ["..", "a/b", "/etc"] {
            assert!(refusal(host_volume(name, None)).contains("name"), "{name}");
        }
    }

    #[test]
    fn a_tasks_volumes_end_with_it_and_shared_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (own, shared) = (dir.path().join("task"), dir.path().join("shared"));
        let task = Task {
            volumes: vec![docker_volume("mine", "task", false), docker_volume("ours", "shared", true)],
            ..Task::default()
        };
        prepare(&task, &own, &shared).unwrap();
        fs::write(own.join("volumes/mine/file"), "").unwrap();
        release(&own).unwrap();
        release(&own).unwrap();
        assert!(!own.join("volumes").exists() && shared.join("ours").is_dir());
    }
}
