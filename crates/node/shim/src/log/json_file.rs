//! Docker's `json-file` format, which `docker logs`, Fluent Bit, Vector and the like read.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Now;
use crate::spool::{Line, Stream};

/// Buffered lines are written at this size even when more are at hand.
const BUFFER_BYTES: usize = 64 * 1024;

/// Appends to one file and its rotations.
#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    max_size_bytes: u64,
    max_files: u32,
    file: File,
    size: u64,
    buffer: Vec<u8>,
    buffered_lines: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    log: &'a str,
    stream: &'a str,
    time: &'a str,
}

impl JsonFile {
    pub(super) fn open(path: PathBuf, max_size_bytes: u64, max_files: u32) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        let buffer = Vec::new();
        Ok(Self { path, max_size_bytes, max_files, file, size, buffer, buffered_lines: 0, dropped: 0 })
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn append(&mut self, now: Now, line: &Line<'_>) {
        // JSON is text: bytes that are no UTF-8 become replacement characters, as in Docker.
        let mut log = String::from_utf8_lossy(line.bytes).into_owned();
        if !line.partial {
            log.push('\n');
        }
        let stream = match line.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let entry = Entry { log: &log, stream, time: &rfc3339(now) };
        // Neither writing to memory nor encoding three strings can fail.
        if serde_json::to_writer(&mut self.buffer, &entry).is_ok() {
            self.buffer.push(b'\n');
            self.buffered_lines += 1;
        }
        if self.buffer.len() >= BUFFER_BYTES {
            // The next flush, at the latest the one at the end, reports what this one could not write.
            let _ = self.flush();
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.write_buffer();
        if written.is_err() {
            self.dropped += self.buffered_lines;
        }
        self.buffer = Vec::new();
        self.buffered_lines = 0;
        written
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let length = self.buffer.len() as u64;
        if self.max_size_bytes > 0 && self.size > 0 && self.size + length > self.max_size_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Half a line would make the next one unreadable.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    /// `path.1` becomes `path.2` and so on, the oldest goes, `path` becomes `path.1`.
    fn rotate(&mut self) -> io::Result<()> {
        if self.max_files <= 1 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.max_files - 1).rev() {
                rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
            }
            rename(&self.path, &numbered(&self.path, 1))?;
            self.file = append(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn rfc3339(now: Now) -> String {
    // Every time that the clock can show is within the calendar's range.
    let time = OffsetDateTime::from_unix_timestamp_nanos(now.ns()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dockers_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = JsonFile::open(path.clone(), 0, 1).unwrap();
        let now = Now(std::time::Duration::new(1_700_000_000, 123_456_789));
        file.append(now, &Line { stream: Stream::Stdout, bytes: b"say \"hi\"", partial: false });
        file.append(now, &Line { stream: Stream::Stderr, bytes: b"\xff", partial: true });
        file.flush().unwrap();
        let expected = concat!(
            r#"{"log":"say \"hi\"\n","stream":"stdout","time":"2023-11-14T22:13:20.123456789Z"}"#,
            "\n",
            "{\"log\":\"\u{fffd}\",\"stream\":\"stderr\",\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n",
        );
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn keeps_the_newest_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = JsonFile::open(path.clone(), 100, 3).unwrap();
        for line in [b"1", b"2", b"3", b"4"] {
            file.append(Now(std::time::Duration::ZERO), &Line { stream: Stream::Stdout, bytes: line, partial: false });
            file.flush().unwrap();
        }
        let holds = |path: PathBuf, line: &str| fs::read_to_string(path).unwrap().contains(&format!(r#""{line}\n""#));
        assert!(holds(path.clone(), "4") && holds(numbered(&path, 1), "3") && holds(numbered(&path, 2), "2"));
        assert!(!numbered(&path, 3).exists());
    }
}
