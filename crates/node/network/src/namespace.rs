//! Network namespaces held by files: made, entered for set-up, recognised and removed.
//!
//! A namespace is made by a thread of its own that unshares and ends, so no thread of the caller is ever in another
//! namespace than it was. A bind mount of the thread's namespace file keeps the namespace alive.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::statfs;

use crate::Error;
use crate::error::Context as _;

/// `NSFS_MAGIC`: the file system of namespace files.
const NSFS_MAGIC: libc::c_long = 0x6e73_6673;
/// The calling thread's namespace; `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// Makes a network namespace held by `path`, which must not exist, and runs `work` within it. If anything fails the
/// namespace is gone again.
pub(crate) fn create<T: Send>(
    id: &str,
    path: &Path,
    work: impl FnOnce(&File) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).context(id, "create a network namespace")?;
        let own = File::open(OWN).context(id, "open the new network namespace")?;
        File::options().write(true).create_new(true).open(path).context(id, "create the namespace file")?;
        let made = mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context(id, "mount the namespace file")
            .and_then(|()| work(&own));
        if made.is_err() {
            remove(id, path)?;
        }
        made
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, inside);
        let thread = thread.context(id, "start a thread")?;
        thread.join().unwrap_or_else(|_| Err(Error::WorkerDied { subject: id.to_owned() }))
    })
}

/// Runs `work` within the namespace that `path` holds, on a thread of its own. Threads that it starts are within too.
///
/// # Errors
/// `path` holds no namespace, or the thread cannot be started or panicked.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let subject = path.display().to_string();
    let namespace = File::open(path).context(&subject, "open the network namespace")?;
    let inside = || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context(&subject, "enter the network namespace")?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, inside);
        let thread = thread.context(&subject, "start a thread")?;
        thread.join().unwrap_or_else(|_| Err(Error::WorkerDied { subject: subject.clone() }))
    })
}

/// Whether `path` holds a namespace.
pub(crate) fn is_held(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type().0 == NSFS_MAGIC)
}

/// Unmounts and removes the file; fine if there is none. The namespace ends with the last process in it.
pub(crate) fn remove(id: &str, path: &Path) -> Result<(), Error> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // EINVAL: the file is there but nothing is mounted on it.
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => {}
        Err(errno) => return Err(errno).context(id, "unmount the namespace file"),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(id, "remove the namespace file"),
        _ => Ok(()),
    }
}

/// Sets what applications in containers expect, as Docker does: ping without privileges, ports below 1024 for all users
/// of the namespace, and no IPv6 on interfaces to come (`::1` stays). Must run within the namespace.
pub(crate) fn set_sysctls(id: &str) -> Result<(), Error> {
    sysctl("net/ipv4/ping_group_range", "0 2147483647").context(id, "set ping_group_range")?;
    sysctl("net/ipv4/ip_unprivileged_port_start", "0").context(id, "set ip_unprivileged_port_start")?;
    disable_ipv6(id)
}

/// No IPv6 on interfaces to come. Must run within the namespace.
pub(crate) fn disable_ipv6(id: &str) -> Result<(), Error> {
    match sysctl("net/ipv6/conf/default/disable_ipv6", "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context(id, "disable IPv6"),
    }
}

/// Writes a kernel parameter of the calling thread's network namespace.
pub(crate) fn sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value)
}

/// Reads a kernel parameter of the calling thread's network namespace.
pub(crate) fn read_sysctl(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).map(|value| value.trim().to_owned())
}
