//! One blob: downloaded to a file, resumed where the connection broke, checked while it arrives.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};

use super::client::Session;
use crate::config::Descriptor;
use crate::error::{ContentError, FileError, PullError};
use crate::images::content_error;
use crate::progress::Progress;

/// A connection on which nothing arrives for this long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a download is taken up again without a single byte in between.
const ATTEMPTS_MAX: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Downloads a blob into a new file, which is left at its beginning.
pub(super) async fn download(
    session: &Session<'_>,
    descriptor: &Descriptor,
    into: &Path,
    progress: &dyn Progress,
) -> Result<std::fs::File, PullError> {
    let content = |error: ContentError| content_error(session.reference(), error);
    let file_error = |operation| move |source| ContentError::from(FileError::new(operation, into)(source));
    let options = std::fs::File::options().read(true).write(true).create_new(true).open(into);
    let mut file = options.map_err(file_error("create")).map_err(content)?;
    let what = format!("blobs/{}", descriptor.digest);
    let mut hasher = Sha256::new();
    let (mut done, mut attempts, mut pause) = (0, 0, FIRST_PAUSE);
    while done < descriptor.size {
        let before = done;
        let broke = match session.get(Method::GET, &what, "*/*", done).await {
            Err(error) if error.is_unreachable() => error,
            Err(error) => return Err(error),
            Ok(response) => {
                // A registry that cannot resume begins again: what is there already is passed over.
                let mut skip = if done > 0 && response.status() != StatusCode::PARTIAL_CONTENT { done } else { 0 };
                let mut body = response.into_body();
                loop {
                    match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
                        Err(elapsed) => break session.unreachable(&what, elapsed),
                        Ok(Some(Err(error))) => break session.unreachable(&what, error),
                        Ok(None) => break session.unreachable(&what, "the connection was closed before the end"),
                        Ok(Some(Ok(frame))) => {
                            let Ok(data) = frame.into_data() else { continue };
                            let data = skipped(data, &mut skip);
                            done += data.len() as u64;
                            if done > descriptor.size {
                                let digest = descriptor.digest.to_string();
                                return Err(content(ContentError::Size { digest, expected: descriptor.size }));
                            }
                            hasher.update(&data);
                            file.write_all(&data).map_err(file_error("write")).map_err(content)?;
                            progress.layer(&descriptor.digest.to_string(), done, descriptor.size);
                        }
                    }
                    if done == descriptor.size {
                        break session.unreachable(&what, "the blob is whole");
                    }
                }
            }
        };
        if done == descriptor.size {
            break;
        }
        attempts = if done > before { 0 } else { attempts + 1 };
        if attempts >= ATTEMPTS_MAX {
            return Err(broke);
        }
        tokio::time::sleep(pause).await;
        pause = if done > before { FIRST_PAUSE } else { pause * 2 };
    }
    let found = format!("sha256:{}", hex::encode(hasher.finalize()));
    if found != descriptor.digest.to_string() {
        let expected = descriptor.digest.to_string();
        return Err(content(ContentError::Digest { what: format!("blob {expected}"), expected, found }));
    }
    file.seek(SeekFrom::Start(0)).map_err(file_error("read")).map_err(content)?;
    Ok(file)
}

fn skipped(mut data: Bytes, skip: &mut u64) -> Bytes {
    let count = data.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
    *skip -= count as u64;
    data.split_off(count)
}
