//! The task records: what each task holds, written before it is taken, so that a crash at any instant leaves nothing
//! that the next start does not know of. They live in the run directory: a reboot ends namespaces and records together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Context as _;
use crate::task::{Mac, Mode};
use crate::{Binding, Error};

const TASK_ID_BYTES_MAX: usize = 128;

/// What one task holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) mode: Mode,
    /// Address and MAC of its interface, unless the mode is none.
    pub(crate) endpoint: Option<(Ipv4Addr, Mac)>,
    pub(crate) bindings: Vec<Binding>,
    /// Whether everything was made: a record without is a creation that never ended.
    pub(crate) ready: bool,
    /// Whether it may use the host services that are for clients. Records of before had no such word, and their tasks
    /// had every service.
    #[serde(default = "yes")]
    pub(crate) client: bool,
}

const fn yes() -> bool {
    true
}

/// The directory of the records, one file a task.
#[derive(Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    pub(crate) fn open(run_dir: &Path) -> Result<Self, Error> {
        let path = run_dir.join("tasks");
        fs::create_dir_all(&path).context(path.display().to_string(), "create the directory")?;
        Ok(Self(path))
    }

    /// Every record. One that cannot be read (cut short by a power failure on a disk) counts as a creation that never
    /// ended, with nothing known of what it holds: the sweep for left-overs finds that.
    pub(crate) fn load(&self) -> Result<BTreeMap<String, Record>, Error> {
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(&self.0).context(self.0.display().to_string(), "list the directory")? {
            let entry = entry.context(self.0.display().to_string(), "list the directory")?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                fs::remove_file(entry.path()).context(entry.path().display().to_string(), "remove a partial record")?;
                continue;
            };
            let bytes = fs::read(entry.path()).context(entry.path().display().to_string(), "read the record")?;
            let record = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(task = id, error = &error as &dyn std::error::Error, "unreadable task record");
                Record { mode: Mode::None, endpoint: None, bindings: Vec::new(), ready: false, client: false }
            });
            records.insert(id.to_owned(), record);
        }
        Ok(records)
    }

    pub(crate) fn write(&self, id: &str, record: &Record) -> Result<(), Error> {
        replace(&self.path(id), record, false).context(id, "write the task record")
    }

    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(id, "remove the task record"),
            _ => Ok(()),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    fn path(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }
}

/// Replaces the file as a whole; `durable` makes it survive a power failure too.
pub(crate) fn replace(path: &Path, value: &impl Serialize, durable: bool) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&partial, path)?;
    if let (true, Some(directory)) = (durable, path.parent()) {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Task ids become file names.
pub(crate) fn check_task_id(id: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=TASK_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::InvalidTaskId { id: id.chars().take(TASK_ID_BYTES_MAX).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_record_counts_as_an_unfinished_creation() {
        let dir = tempfile::tempdir().expect("directory");
        let records = Records::open(dir.path()).expect("records");
        let record = Record { mode: Mode::None, endpoint: None, bindings: Vec::new(), ready: true, client: false };
        records.write("whole", &record).expect("write");
        fs::write(records.path("cut"), b"{\"mode\":").expect("write");
        fs::write(dir.path().join("tasks/other.partial"), b"").expect("write");
        let loaded = records.load().expect("load");
        assert_eq!(loaded.keys().collect::<Vec<_>>(), ["cut", "whole"]);
        assert!(loaded["whole"].ready && !loaded["cut"].ready);
        assert!(!dir.path().join("tasks/other.partial").exists());
    }

    #[test]
    fn a_task_id_is_a_plain_file_name() {
        for id in ["", ".", "..", "a/b", "a.b", "a b", "ä", &"x".repeat(129)] {
            assert!(check_task_id(id).is_err(), "{id:?}");
        }
        check_task_id("5f3c1e0a9b8d4c7e-web_1").expect("plain id");
    }
}
