//! Device nodes inside a container, and the cgroup rules that let it use them.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use serde_json::{Value, json};

use crate::spec::{ContainerSpec, Device, InvalidSpec};

/// Below `/dev` on the host, but a container has its own.
const OWN: &[&str] = &["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/ptmx"];
const DEPTH_MAX: usize = 4;

/// The `linux.devices` of a container; the usual ones (`null`, `zero`, …) are libcontainer's.
///
/// On a machine with the v2 cgroup tree only (`unified`) nothing guards a device that is there: whoever has it may read and
/// write. One that is to be read only, or written only, is refused there.
pub(super) fn devices(spec: &ContainerSpec, unified: bool) -> Result<Vec<Value>, InvalidSpec> {
    if spec.privileged {
        let mut all = Vec::new();
        walk(Path::new("/dev"), 0, &mut all).map_err(|error| invalid(Path::new("/dev"), &error.to_string()))?;
        return Ok(all);
    }
    let is_partial = |device: &&Device| !device.permissions.contains('r') || !device.permissions.contains('w');
    if let Some(device) = spec.devices.iter().find(is_partial).filter(|_| unified) {
        let reason = format!("permissions {} cannot be kept with cgroup v2: only rw can", device.permissions);
        return Err(invalid(&device.host_path, &reason));
    }
    spec.devices.iter().map(requested).collect()
}

/// The `linux.resources.devices`: nothing, then what was asked for. libcontainer adds the usual ones.
pub(super) fn rules(spec: &ContainerSpec, devices: &[Value]) -> Value {
    if spec.privileged {
        return json!([{ "allow": true, "access": "rwm" }]);
    }
    let asked = spec.devices.iter().zip(devices).map(|(device, node)| {
        json!({ "allow": true, "type": node["type"], "major": node["major"], "minor": node["minor"],
            "access": device.permissions })
    });
    std::iter::once(json!({ "allow": false, "access": "rwm" })).chain(asked).collect()
}

/// What libcontainer lets every container use on v1, after the rules that it is given, and what is not for containers: the host's console
/// (who opens it reads what is typed there) and the maker of network interfaces. In the words of `devices.deny`.
pub(crate) fn withheld(spec: &ContainerSpec) -> Vec<&'static str> {
    const WITHHELD: [(&str, u64, u64); 2] = [("c 5:1 rwm", 5, 1), ("c 10:200 rwm", 10, 200)];
    if spec.privileged {
        return Vec::new();
    }
    let numbers = spec.devices.iter().filter_map(|device| Some(fs::metadata(&device.host_path).ok()?.rdev()));
    let asked: Vec<_> = numbers.map(|rdev| (libc::major(rdev).into(), libc::minor(rdev).into())).collect();
    WITHHELD.iter().filter(|(_, major, minor)| !asked.contains(&(*major, *minor))).map(|(rule, ..)| *rule).collect()
}

fn requested(device: &Device) -> Result<Value, InvalidSpec> {
    let metadata = fs::metadata(&device.host_path).map_err(|error| invalid(&device.host_path, &error.to_string()))?;
    node(&device.container_path, &metadata).ok_or_else(|| invalid(&device.host_path, "not a device"))
}

fn invalid(path: &Path, reason: &str) -> InvalidSpec {
    InvalidSpec { field: "devices", reason: format!("{}: {reason}", path.display()) }
}

fn node(path: &Path, metadata: &fs::Metadata) -> Option<Value> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
    let mode = metadata.mode() & 0o777;
    Some(json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode,
        "uid": metadata.uid(), "gid": metadata.gid() }))
}

fn walk(dir: &Path, depth: usize, all: &mut Vec<Value>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() && depth < DEPTH_MAX {
            walk(&path, depth + 1, all)?;
        }
        all.extend(node(&path, &metadata));
    }
    Ok(())
}
