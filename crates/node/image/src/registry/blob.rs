//! One blob: downloaded to a file, resumed where the connection broke, checked while it arrives.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};

use super::session::Session;
use crate::config::Descriptor;
use crate::error::{ContentError, FileError, PullError};
use crate::progress::Progress;

/// How often a download is taken up without a single byte in between.
const FAILURES_MAX: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Downloads a blob into a new file, which is left at its beginning.
pub(super) async fn download(
    session: &Session<'_>,
    descriptor: &Descriptor,
    into: &Path,
    progress: &dyn Progress,
) -> Result<File, PullError> {
    let options = File::options().read(true).write(true).create_new(true).open(into);
    let file = options.map_err(|error| file_error(session, "create", into)(error))?;
    let mut download = Download { session, descriptor, into, progress, file, hasher: Sha256::new(), done: 0 };
    let mut failures = 0;
    while download.done < descriptor.size {
        let before = download.done;
        match download.go_on().await {
            Ok(()) => {}
            Err(error) if error.is_unreachable() => {
                failures = if download.done > before { 1 } else { failures + 1 };
                if failures >= FAILURES_MAX {
                    return Err(error);
                }
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(failures - 1)).await;
            }
            Err(error) => return Err(error),
        }
    }
    download.finish()
}

struct Download<'a> {
    session: &'a Session<'a>,
    descriptor: &'a Descriptor,
    into: &'a Path,
    progress: &'a dyn Progress,
    file: File,
    /// Of what is there.
    hasher: Sha256,
    done: u64,
}

impl Download<'_> {
    /// Downloads what is missing, on one connection.
    async fn go_on(&mut self) -> Result<(), PullError> {
        let what = format!("blobs/{}", self.descriptor.digest);
        let response = match self.session.get(Method::GET, &what, "*/*", self.done).await {
            // There is no more, says the registry.
            Err(PullError::Status { status: 416, .. }) => return Err(self.wrong_size()),
            response => response?,
        };
        // A registry that cannot resume begins again: what is there already is passed over.
        let resumed = self.done > 0 && response.status() == StatusCode::PARTIAL_CONTENT;
        let mut skip = if resumed { 0 } else { self.done };
        let mut body = response.into_body();
        while self.done < self.descriptor.size {
            let silence_max = self.session.limits().silence_max;
            let frame = tokio::time::timeout(silence_max, body.frame()).await;
            let frame =
                frame.map_err(|_| self.session.broken(format!("no more of {what} came for {silence_max:?}")))?;
            let frame = frame.ok_or_else(|| self.session.broken(format!("{what} ended too early")))?;
            let frame = frame.map_err(|error| self.session.broken(error))?;
            if let Ok(data) = frame.into_data() {
                self.take(&after(data, &mut skip))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, data: &Bytes) -> Result<(), PullError> {
        self.done += data.len() as u64;
        if self.done > self.descriptor.size {
            return Err(self.wrong_size());
        }
        self.hasher.update(data);
        self.file.write_all(data).map_err(file_error(self.session, "write", self.into))?;
        self.progress.layer(&self.descriptor.digest.to_string(), self.done, self.descriptor.size);
        Ok(())
    }

    fn wrong_size(&self) -> PullError {
        let (digest, expected) = (self.descriptor.digest.to_string(), self.descriptor.size);
        PullError::content(self.session.reference(), ContentError::Size { digest, expected })
    }

    fn finish(mut self) -> Result<File, PullError> {
        let found = format!("sha256:{}", hex::encode(self.hasher.finalize()));
        let expected = self.descriptor.digest.to_string();
        if found != expected {
            let error = ContentError::Digest { what: format!("blob {expected}"), expected, found };
            return Err(PullError::content(self.session.reference(), error));
        }
        self.file.seek(SeekFrom::Start(0)).map_err(file_error(self.session, "read", self.into))?;
        Ok(self.file)
    }
}

fn file_error(session: &Session<'_>, operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PullError {
    move |error| PullError::content(session.reference(), FileError::new(operation, path)(error).into())
}

/// What comes after the first `skip` bytes, of which those that are here are counted off.
fn after(mut data: Bytes, skip: &mut u64) -> Bytes {
    let count = data.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
    *skip -= count as u64;
    data.split_off(count)
}
