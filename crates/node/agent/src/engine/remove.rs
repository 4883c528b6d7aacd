//! Removing what containers wrote: however deep and however wide, in a few descriptors and little stack.
//!
//! The standard library's way holds a descriptor and a stack frame for each level, and a container makes as many levels as it
//! likes. Below a certain depth a directory is moved up to the top here, and removed from there. No link is followed.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

const DEPTH_MAX: usize = 64;
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes a directory with all that is in it.
///
/// # Errors
/// As of [`fs::remove_dir_all`], [`io::ErrorKind::NotFound`] included.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let mut top = Dir::open(path, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    let place = top.as_raw_fd();
    empty(place, &mut top, 0, &mut moved)?;
    fs::remove_dir(path)
}

/// Removes what is in a directory, until it finds nothing: what was moved to the top meanwhile is found by the top's next pass.
fn empty(top: RawFd, dir: &mut Dir, depth: usize, moved: &mut u64) -> io::Result<()> {
    let own = dir.as_raw_fd();
    loop {
        let mut found = false;
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            found = true;
            match unlinkat(Some(own), name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => continue,
                Err(Errno::EISDIR) => {}
                Err(error) => return Err(error.into()),
            }
            if depth >= DEPTH_MAX {
                move_to(top, own, name, moved)?;
                continue;
            }
            let mut below = Dir::openat(Some(own), name, DIRECTORY, Mode::empty())?;
            empty(top, &mut below, depth + 1, moved)?;
            drop(below);
            unlinkat(Some(own), name, UnlinkatFlags::RemoveDir)?;
        }
        if !found {
            return Ok(());
        }
    }
}

/// Under a name that is free: the container may have thought of some.
fn move_to(top: RawFd, dir: RawFd, name: &std::ffi::CStr, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(Some(dir), name, Some(top), format!("moved-{moved}").as_str()) {
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_of_any_depth_and_width_is_removed_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, kept) = (dir.path().join("root"), dir.path().join("kept"));
        fs::create_dir_all(root.join("moved-1/in")).unwrap();
        fs::write(root.join("moved-2"), "").unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        symlink(&kept, root.join("link")).unwrap();
        for number in 0..2000 {
            fs::write(root.join(format!("file-{number}")), "").unwrap();
        }
        // Deeper than a path may be long, than descriptors there are, and than a thread's stack bears.
        let mut place = Dir::open(&root, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20_000 {
            nix::sys::stat::mkdirat(Some(place.as_raw_fd()), "d", Mode::S_IRWXU).unwrap();
            place = Dir::openat(Some(place.as_raw_fd()), "d", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(place);
        remove_tree(&root).unwrap();
        assert!(!root.exists() && kept.join("file").exists());
        assert_eq!(remove_tree(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
