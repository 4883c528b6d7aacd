//! A task's or container's control group, as a set of directories: one in every v1 hierarchy, or one in the v2 tree.
//!
//! Containers' groups are made and limited by libcontainer. What it lacks is here: the task's own group above them,
//! killing everything inside without missing a process that forks meanwhile, stopping it for a while, removal without half-second sleeps, and
//! the kernel's count of out-of-memory kills.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::signal, unistd::Pid};

/// Where distributions mount the hierarchies; libcontainer looks nowhere else.
const ROOT: &str = "/sys/fs/cgroup";
/// Between two tries to remove a group whose killed processes are not yet gone. No event tells that moment on v1.
const RETRY: Duration = Duration::from_millis(2);
/// Depth of groups that a container (privileged, or with its own cgroup namespace) may have made below its own.
const DEPTH_MAX: usize = 32;

/// A control group; it need not exist.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    /// Its directory in every hierarchy that processes are put into.
    dirs: Vec<PathBuf>,
    unified: bool,
}

impl Cgroup {
    /// The group at `path`, absolute from the roots of the hierarchies.
    pub(crate) fn new(path: &str) -> io::Result<Self> {
        let below = path.trim_start_matches('/');
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let mounts = if unified { vec![root.to_owned()] } else { hierarchies()? };
        Ok(Self { dirs: mounts.into_iter().map(|mount| mount.join(below)).collect(), unified })
    }

    /// Its directory in every hierarchy.
    pub(crate) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Its directory in each v1 hierarchy, by the name below [`ROOT`], of which a hierarchy with several controllers has more than one.
    pub(crate) fn named_dirs(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut named = Vec::new();
        if self.unified {
            return Ok(named);
        }
        for entry in fs::read_dir(ROOT)? {
            let entry = entry?;
            let (Ok(mount), Ok(name)) = (entry.path().canonicalize(), entry.file_name().into_string()) else {
                continue;
            };
            let dir = self.dirs.iter().find(|dir| dir.starts_with(&mount));
            named.extend(dir.map(|dir| (name, dir.clone())));
        }
        Ok(named)
    }

    /// The names of the groups right below it, in whichever hierarchy; none when it does not exist.
    pub(crate) fn children(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for dir in &self.dirs {
            match fs::read_dir(dir) {
                Ok(entries) => {
                    for entry in entries {
                        let entry = entry?;
                        if entry.file_type()?.is_dir() {
                            names.extend(entry.file_name().into_string());
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    /// Where a process writes its number to join the group.
    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Whether the machine has the v2 tree only.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Makes the group and those above it. On v2 every controller there is gets enabled on the way down, so that
    /// limits can be set on the group and on those below it.
    pub(crate) fn create(&self) -> io::Result<()> {
        if self.unified {
            let controllers = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers"))?;
            for dir in &self.dirs {
                fs::create_dir_all(dir)?;
                let mut above: Vec<_> = dir.ancestors().take_while(|above| above.starts_with(ROOT)).collect();
                above.reverse();
                for group in above {
                    for controller in controllers.split_ascii_whitespace() {
                        // One that cannot be enabled makes itself known when a limit needs it.
                        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
                    }
                }
            }
            return Ok(());
        }
        self.dirs.iter().try_for_each(fs::create_dir_all)
    }

    /// Takes the use of a device away, as `devices.deny` has it; on v2 there is no such file.
    pub(crate) fn deny_device(&self, rule: &str) -> io::Result<()> {
        let files = self.dirs.iter().map(|dir| dir.join("devices.deny")).filter(|file| file.exists());
        files.into_iter().try_for_each(|file| fs::write(file, rule))
    }

    /// Kills every process in the group and below it, and removes the groups.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when processes are still there after `wait_max`.
    pub(crate) fn kill_and_remove(&self, wait_max: Duration) -> io::Result<()> {
        let deadline = Instant::now() + wait_max;
        loop {
            self.kill()?;
            match self.remove() {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                other => return other,
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(RETRY);
        }
    }

    /// Sends SIGKILL to every process in the group and below it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        if self.unified {
            // One write kills the whole subtree atomically (Linux 5.14); the walk below is for older kernels.
            if self.dirs.iter().all(|dir| fs::write(dir.join("cgroup.kill"), "1").is_ok()) {
                return Ok(());
            }
        }
        // Frozen, nothing forks between the reading of a list and its last kill; the signal is taken on thawing.
        self.freeze(true);
        let killed = self.kill_listed();
        self.thaw_subtree();
        killed
    }

    fn kill_listed(&self) -> io::Result<()> {
        for dir in &self.dirs {
            for group in subtree(dir)?.iter().rev() {
                for pid in pids(group)? {
                    match signal::kill(pid, signal::Signal::SIGKILL) {
                        Ok(()) | Err(Errno::ESRCH) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Stops every process in the group and below it until what is returned is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when a process still runs after `wait_max`, as one that waits for a disk may.
    pub(crate) fn frozen(&self, wait_max: Duration) -> io::Result<Frozen<'_>> {
        let frozen = Frozen(self);
        let deadline = Instant::now() + wait_max;
        self.freeze(true);
        while !self.is_frozen() {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(RETRY);
        }
        Ok(frozen)
    }

    fn is_frozen(&self) -> bool {
        let (file, text) = if self.unified { ("cgroup.events", "frozen 1") } else { ("freezer.state", "FROZEN") };
        let states = self.dirs.iter().filter_map(|dir| fs::read_to_string(dir.join(file)).ok());
        states.into_iter().any(|state| state.lines().any(|line| line == text))
    }

    /// Also what a shim that was killed has left frozen: on v1 such a process does not take even SIGKILL, and a group above that is
    /// thawed does not thaw it.
    fn thaw_subtree(&self) {
        for dir in &self.dirs {
            set_frozen(&subtree(dir).unwrap_or_else(|_| vec![dir.clone()]), self.unified, false);
        }
    }

    fn freeze(&self, frozen: bool) {
        set_frozen(&self.dirs, self.unified, frozen);
    }
    /// Removes the group and those below it; fine when there is none.
    ///
    /// # Errors
    /// `EBUSY` while a process is left.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for dir in &self.dirs {
            for group in subtree(dir)?.iter().rev() {
                match fs::remove_dir(group) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.dirs.iter().filter_map(|dir| fs::read_to_string(dir.join(file)).ok()).map(|text| oom_kill(&text)).sum()
    }
}

/// A group in which nothing runs.
#[must_use]
#[derive(Debug)]
pub(crate) struct Frozen<'a>(&'a Cgroup);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.freeze(false);
    }
}

/// Best effort: a group without a freezer is killed unfrozen.
fn set_frozen(dirs: &[PathBuf], unified: bool, frozen: bool) {
    let (file, value) = match (unified, frozen) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    };
    for dir in dirs {
        // Absent in every v1 hierarchy but the freezer's, and after removal.
        let _ = fs::OpenOptions::new().write(true).open(dir.join(file)).and_then(|mut open| {
            use std::io::Write;
            open.write_all(value.as_bytes())
        });
    }
}

/// The value of `oom_kill` in `memory.events` (v2) or `memory.oom_control` (v1).
fn oom_kill(text: &str) -> u64 {
    text.lines().filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok()).sum()
}

fn pids(group: &Path) -> io::Result<Vec<Pid>> {
    match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()),
        // ENODEV: removed while it was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The directory and all below it, parents first; empty when it does not exist.
fn subtree(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut level = vec![dir.to_owned()];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for group in level {
            let entries = match fs::read_dir(&group) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    below.push(entry.path());
                }
            }
            all.push(group);
        }
        level = below;
    }
    Ok(all)
}

/// Mount points of the v1 hierarchies.
/// As [`v1_mounts`], read once: a machine's hierarchies stay as they are, and its mounts may be thousands.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    match FOUND.get() {
        Some(found) => Ok(found.clone()),
        None => v1_mounts().map(|found| FOUND.get_or_init(|| found).clone()),
    }
}

fn v1_mounts() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mut mounts: Vec<_> = text.lines().filter_map(v1_mount).filter(|mount| mount.starts_with(ROOT)).collect();
    mounts.dedup();
    Ok(mounts)
}

/// The mount point (field 5) of a mountinfo line, if its file system (first after ` - `) is a v1 hierarchy with
/// controllers: named ones (systemd's) hold no processes of ours.
fn v1_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let controllers = filesystem.strip_prefix("cgroup ").filter(|options| !options.contains("name="))?;
    (!controllers.is_empty()).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_kills_in_both_formats() {
        assert_eq!(oom_kill("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(oom_kill("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(oom_kill(""), 0);
    }

    #[test]
    fn finds_v1_mounts_only() {
        let v1 = "33 24 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory";
        let v2 = "42 24 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(v1_mount(v1), Some(PathBuf::from("/sys/fs/cgroup/memory")));
        assert_eq!(v1_mount(v2), None);
        let named = "41 24 0:36 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd";
        assert_eq!(v1_mount(named), None);
    }
}
