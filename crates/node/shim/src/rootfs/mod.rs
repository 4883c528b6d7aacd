//! A container's root file system: mounting it in the shim's own namespace, and looking into it without following a
//! symbolic link out of it.

mod identity;
mod overlay;
mod populate;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

pub(crate) use self::{
    identity::{Identity, IdentityError, identify},
    populate::populate,
};
use crate::spec::Rootfs;

/// `/dev/shm` when the spec does not say, as in Docker.
const SHM_BYTES_DEFAULT: u64 = 64 << 20;

/// Mounts that one container needs in the shim's namespace; unmounted when dropped.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Mounts the overlay, if there are layers.
    pub(crate) fn rootfs(&mut self, rootfs: &Rootfs) -> io::Result<()> {
        fs::create_dir_all(&rootfs.target)?;
        if !rootfs.lower.is_empty() {
            overlay::mount(rootfs)?;
            self.0.push(rootfs.target.clone());
        }
        Ok(())
    }

    /// Mounts the memory file system behind `/dev/shm` at `dir`.
    pub(crate) fn shm(&mut self, dir: &Path, bytes: Option<u64>) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let options = format!("mode=1777,size={}", bytes.unwrap_or(SHM_BYTES_DEFAULT));
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), dir, Some("tmpfs"), flags, Some(options.as_str()))?;
        self.0.push(dir.to_owned());
        Ok(())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for target in self.0.drain(..).rev() {
            // Nothing can be done about a failure; the mount goes when the shim does.
            let _: Result<(), Errno> = umount2(&target, MntFlags::MNT_DETACH);
        }
    }
}

/// Refuses a root in which the place of a kernel file system is anything but a directory: what is made there before the root
/// is entered would be made where a link points to (CVE-2025-54867, and libcontainer's links below `/dev`).
pub(crate) fn check_kernel_directories(root: &Path) -> io::Result<()> {
    for name in ["dev", "proc", "sys"] {
        match fs::symlink_metadata(root.join(name)) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("/{name} of the image is no directory"),
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the working directory inside the root when it is absent, as Docker does. A link on the way is followed
/// inside the root only.
pub(crate) fn make_cwd(root: &Path, cwd: &Path) -> io::Result<()> {
    let root = pathrs::Root::open(root).map_err(io::Error::other)?;
    if root.resolve(cwd).is_ok() {
        return Ok(());
    }
    root.mkdir_all(cwd, &Permissions::from_mode(0o755)).map(drop).map_err(io::Error::other)
}
