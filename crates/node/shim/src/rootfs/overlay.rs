//! Mounting an overlay of image layers.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
};

use nix::mount::MsFlags;

use crate::spec::Rootfs;

/// Mounts `rootfs`.
///
/// `mount(2)` takes all options in one page, which an image of many layers with long paths overflows, and commas and colons
/// in paths mean something to it. So every directory is opened, and named as the descriptor that it is.
pub(super) fn mount(rootfs: &Rootfs) -> io::Result<()> {
    let lower = rootfs.lower.iter().map(|layer| open(layer)).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (open(&rootfs.upper)?, open(&rootfs.work)?);
    let layers: Vec<String> = lower.iter().map(name).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), name(&upper), name(&work));
    Ok(nix::mount::mount(Some("overlay"), &rootfs.target, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))?)
}

fn open(dir: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(dir);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))
}

fn name(dir: &File) -> String {
    format!("/proc/self/fd/{}", dir.as_raw_fd())
}
