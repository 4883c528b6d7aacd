//! Ephemeral storage: a file system of the task's own, of the size that it asked for.
//!
//! It is an ext4 file system in a sparse file: of the node's disk it takes what is written to it, and it ends where the task's
//! share does, whatever the node's own file system can enforce.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::mount_point::{is_mount_point, unmount as unmount_all};
use super::remove::remove_tree;

const GIB: u64 = 1 << 30;

/// Where a task's file system is mounted.
fn mount_point(task_dir: &Path) -> PathBuf {
    task_dir.join("storage")
}

fn image(task_dir: &Path) -> PathBuf {
    task_dir.join("storage.img")
}

/// Where the task's containers and volumes write: its own file system if it has one.
pub(super) fn root(task_dir: &Path) -> io::Result<PathBuf> {
    let own = mount_point(task_dir);
    Ok(if is_mount_point(&own)? { own } else { task_dir.to_owned() })
}

/// Makes and mounts the file system; done if it is there.
pub(super) async fn mount(task_dir: &Path, gib: u64) -> io::Result<()> {
    let (dir, file) = (mount_point(task_dir), image(task_dir));
    if is_mount_point(&dir)? {
        return Ok(());
    }
    fs::create_dir_all(&dir)?;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?.set_len(gib * GIB)?;
    // No journal: what a crash of the machine leaves is thrown away with the task.
    let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
    run(Command::new("mkfs.ext4").args(options).arg(&file)).await?;
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop,nodev,nosuid,noatime"]).arg(&file).arg(&dir)).await?;
    match fs::remove_dir(dir.join("lost+found")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the file system away with all that is in it; done if there is none.
pub(super) fn unmount(task_dir: &Path) -> io::Result<()> {
    let (dir, file) = (mount_point(task_dir), image(task_dir));
    unmount_all(&dir)?;
    for result in [remove_tree(&dir), fs::remove_file(&file)] {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

async fn run(command: &mut Command) -> io::Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let done = done.map_err(|error| io::Error::new(error.kind(), format!("cannot execute {program}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program}: {}: {complaint}", done.status)))
}
