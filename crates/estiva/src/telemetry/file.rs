//! The log file of a detached installation: several processes write to it, any of them turns it over when it is full.
//!
//! `estiva.log` becomes `estiva.log.1`, and so on. The others notice before their next line that the file of that name is
//! not theirs any more, and open it. A process that finds its standard error at such a file, whatever its number or
//! though it was deleted, goes on with the present one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::dup2;

/// As [`Installation::log_file`](crate::installation::Installation::log_file) names it.
const NAME: &str = "estiva.log";
/// What the kernel adds to the name of an open file that was deleted.
const DELETED: &str = " (deleted)";
/// Files in all.
const FILES: u32 = 4;
/// A file is turned over when it has so much.
const BYTES_MAX: u64 = 16 << 20;
/// Another size, in bytes.
const BYTES_VARIABLE: &str = "ESTIVA_LOG_BYTES";
/// A few lines must fit.
const BYTES_MIN: u64 = 64 << 10;

/// The file that this process logs to.
pub(super) struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    /// What leads to it: standard error, and standard output where that does too.
    descriptors: Vec<RawFd>,
}

impl LogFile {
    /// `None` if standard error is something else: a terminal, a pipe, a file of the user's.
    pub(super) fn of_stderr() -> Option<Self> {
        let asked = std::env::var(BYTES_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self::of(&[libc::STDERR_FILENO, libc::STDOUT_FILENO], asked.unwrap_or(BYTES_MAX).max(BYTES_MIN))
    }

    /// Of the first descriptor, with those of the others that lead to it too.
    fn of(descriptors: &[RawFd], bytes_max: u64) -> Option<Self> {
        let path = log_path(*descriptors.first()?)?;
        let descriptors = descriptors.iter().copied().filter(|fd| log_path(*fd).as_ref() == Some(&path)).collect();
        Some(Self { path, bytes_max, descriptors })
    }

    /// Makes sure that a line of `bytes` goes to the present file and that there is room for it. False when it must not be
    /// written: the file is full, and nobody can turn it over.
    pub(super) fn make_room(&mut self, bytes: u64) -> bool {
        let is_present = self.stat().is_ok_and(|own| is_same(&own, &self.path));
        if !is_present {
            // The line goes where the descriptor leads when that fails too.
            let _ = self.open_present();
        }
        if self.size() + bytes <= self.bytes_max {
            return true;
        }
        // Another process may be at it, or have been stopped in the middle of it: nobody waits for a log.
        let _ = self.turn_over(bytes);
        self.size() + bytes <= self.bytes_max * 2
    }

    fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(self.descriptors[0])?)
    }

    fn size(&self) -> u64 {
        self.stat().map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn turn_over(&self, bytes: u64) -> io::Result<()> {
        // Opened anew: a lock of a descriptor that was inherited is held by everybody who inherited it.
        let Ok(file) = Flock::lock(append(&self.path)?, FlockArg::LockExclusiveNonblock) else { return Ok(()) };
        let own = fstat(file.as_raw_fd())?;
        // Turned over meanwhile, the present file is nearly empty.
        let is_full = file.metadata()?.len() + bytes > self.bytes_max;
        if is_same(&own, &self.path) && is_full {
            for number in (1..FILES - 1).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1))?;
            }
            rename(&self.path, &self.numbered(1))?;
        }
        self.open_present()
    }

    fn open_present(&self) -> io::Result<()> {
        let file = append(&self.path)?;
        for descriptor in &self.descriptors {
            dup2(file.as_raw_fd(), *descriptor)?;
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(format!(".{number}"));
        path.into()
    }
}

/// The present log file of the installation whose log, present or former, the descriptor leads to.
fn log_path(descriptor: RawFd) -> Option<PathBuf> {
    let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    let name = target.file_name()?.to_str()?;
    let name = name.strip_suffix(DELETED).unwrap_or(name);
    let number = name.strip_prefix(NAME)?;
    let is_former = number.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok());
    (number.is_empty() || is_former).then(|| target.with_file_name(NAME))
}

fn is_same(own: &FileStat, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (own.st_dev, own.st_ino))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    /// A process's view: its own descriptor of the log.
    struct Writer {
        fd: OwnedFd,
        log: LogFile,
    }

    impl Writer {
        fn open(dir: &Path) -> Self {
            let fd = OwnedFd::from(append(&dir.join(NAME)).unwrap());
            let log = LogFile::of(&[fd.as_raw_fd()], BYTES_MIN).unwrap();
            Self { fd, log }
        }

        fn line(&mut self, text: &str) -> bool {
            let has_room = self.log.make_room(text.len() as u64 + 1);
            if has_room {
                let mut file = File::from(self.fd.try_clone().unwrap());
                writeln!(file, "{text}").unwrap();
            }
            has_room
        }
    }

    fn files(dir: &Path) -> Vec<(String, u64)> {
        let name = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len());
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn several_writers_keep_to_the_bound_and_lose_nothing_of_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let mut writers: Vec<_> = (0..3).map(|_| Writer::open(dir.path())).collect();
        let count = 3000;
        for number in 0..count {
            assert!(writers[number % 3].line(&format!("{number:0200}")));
        }
        let files = files(dir.path());
        assert_eq!(
            files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["estiva.log", "estiva.log.1", "estiva.log.2", "estiva.log.3"]
        );
        assert!(files.iter().all(|(_, bytes)| *bytes <= BYTES_MIN), "{files:?}");
        let text: Vec<_> =
            files.iter().rev().map(|(name, _)| fs::read_to_string(dir.path().join(name)).unwrap()).collect();
        let numbers: Vec<usize> = text.concat().lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(count - numbers.len()..count), "in order, none lost and none twice");
    }

    #[test]
    fn threads_that_turn_over_at_once_keep_to_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut writer = Writer::open(dir.path());
                    for number in 0..2000 {
                        writer.line(&format!("{number:0200}"));
                    }
                });
            }
        });
        let files = files(dir.path());
        assert_eq!(files.len(), 4);
        assert!(files.iter().all(|(_, bytes)| *bytes <= BYTES_MIN * 2), "{files:?}");
    }

    #[test]
    fn a_writer_of_a_former_or_deleted_file_goes_on_with_the_present_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for former in ["estiva.log.3", "gone"] {
            let writer = Writer::open(dir.path());
            fs::rename(&path, dir.path().join("estiva.log.3")).unwrap();
            if former == "gone" {
                fs::remove_file(dir.path().join("estiva.log.3")).unwrap();
            }
            // A part that is started now inherits this descriptor.
            let log = LogFile::of(&[writer.fd.as_raw_fd()], BYTES_MIN).unwrap();
            let mut inherited = Writer { fd: writer.fd, log };
            assert!(inherited.line(former));
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{former}\n"));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_full_log_that_cannot_be_turned_over_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path());
        // As held by a process that was stopped.
        let _held = Flock::lock(append(&dir.path().join(NAME)).unwrap(), FlockArg::LockExclusive).unwrap();
        assert!((0..2000).any(|number| !writer.line(&format!("{number:0200}"))));
        assert!(files(dir.path()).iter().map(|(_, bytes)| bytes).sum::<u64>() <= BYTES_MIN * 2);
    }

    #[test]
    fn other_files_are_not_ours_to_turn_over() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["other.log", "estiva.log.gz", "estiva.logs", "my-estiva.log"] {
            let file = append(&dir.path().join(name)).unwrap();
            assert!(LogFile::of(&[file.as_raw_fd()], BYTES_MIN).is_none(), "{name}");
        }
    }
}
