//! What is mounted in a container besides its root.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{CGROUPS_V1, Context};
use crate::spec::{ContainerSpec, InvalidSpec, Tmpfs};

/// Device nodes only where the shim made them, nothing to gain from set-user-id files.
const HARDENED: [&str; 3] = ["nosuid", "noexec", "nodev"];

pub(super) fn mounts(spec: &ContainerSpec, context: &Context<'_>) -> Result<Vec<Value>, InvalidSpec> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": HARDENED }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": hardened(access) }),
        // Of whichever IPC namespace the container is in, the host's too.
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": HARDENED }),
    ];
    mounts.extend(cgroups(context, access));
    mounts.push(json!({ "destination": "/dev/shm", "type": "bind", "source": context.shm,
        "options": ["rbind", "nosuid", "noexec", "nodev"] }));
    let mut own: Vec<(&Path, Value)> = Vec::with_capacity(spec.tmpfs.len() + spec.mounts.len());
    for tmpfs in &spec.tmpfs {
        own.push((&tmpfs.destination, memory(tmpfs)?));
    }
    for mount in &spec.mounts {
        // Slave: what the host mounts below it later appears inside, never the other way round.
        let options = if mount.read_only { vec!["rbind", "rslave", "rro"] } else { vec!["rbind", "rslave"] };
        let value =
            json!({ "destination": mount.destination, "type": "bind", "source": mount.source, "options": options });
        own.push((&mount.destination, value));
    }
    // A mount hides what was mounted below its place before it: those above come first.
    own.sort_by_key(|(destination, _)| *destination);
    mounts.extend(own.into_iter().map(|(_, mount)| mount));
    Ok(mounts)
}

/// A container sees its own groups. With v1, libcontainer would mount them by what it reads in the host's `/proc` of the process that has
/// the number which the container's has in its own namespace: of another process, or of none. And it would mount them writable.
fn cgroups(context: &Context<'_>, access: &str) -> Vec<Value> {
    if context.unified {
        return vec![
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": hardened(access) }),
        ];
    }
    let options: Vec<&str> = HARDENED.into_iter().chain(["mode=755"]).collect();
    let root = json!({ "destination": CGROUPS_V1, "type": "tmpfs", "source": "tmpfs", "options": options });
    let options: Vec<&str> = hardened(access).into_iter().chain(["bind"]).collect();
    let bind = |(name, dir): &(String, PathBuf)| json!({ "destination": format!("{CGROUPS_V1}/{name}"), "type": "bind", "source": dir, "options": options });
    std::iter::once(root).chain(context.cgroups_v1.iter().map(bind)).collect()
}

fn hardened(access: &str) -> Vec<&str> {
    HARDENED.into_iter().chain([access]).collect()
}

/// Docker's rules: nothing executable and no devices unless asked for, the usual options passed on, others refused.
fn memory(tmpfs: &Tmpfs) -> Result<Value, InvalidSpec> {
    #[rustfmt::skip]
    const FLAGS: &[&str] = &[
        "defaults", "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync", "mand", "nomand",
        "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "private",
        "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
    ];
    const SETTINGS: &[&str] = &["mode", "uid", "gid", "nr_inodes", "nr_blocks", "size", "mpol"];
    let mut options: Vec<String> = HARDENED.map(str::to_owned).to_vec();
    for option in &tmpfs.options {
        let setting = option.split_once('=').is_some_and(|(name, _)| SETTINGS.contains(&name));
        if !setting && !FLAGS.contains(&option.as_str()) {
            return Err(InvalidSpec {
                field: "tmpfs.options",
                reason: format!("{option:?} is not an option of tmpfs"),
            });
        }
        options.push(option.clone());
    }
    options.extend(tmpfs.size_bytes.map(|bytes| format!("size={bytes}")));
    Ok(json!({ "destination": tmpfs.destination, "type": "tmpfs", "source": "tmpfs", "options": options }))
}
