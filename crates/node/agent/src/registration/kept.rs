//! What of a registration is on disk: the ARN that the node has, and the token that it asks for one with.
//!
//! The token is there before it is sent, so that an agent that was killed before it could keep the answer asks with the same
//! one, and is answered with the same instance.

use std::path::{Path, PathBuf};
use std::{fs, io};

use estiva_model::hex_id;
use tracing::warn;

use crate::backoff::Backoff;
use crate::error::AgentError;

const ARN_FILE: &str = "container-instance-arn";
const TOKEN_FILE: &str = "registration-token";
/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 32;

/// A node's registration as its directory has it.
pub(super) struct Kept {
    arn: PathBuf,
    token: PathBuf,
}

impl Kept {
    /// That of the node with this directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { arn: state_dir.join(ARN_FILE), token: state_dir.join(TOKEN_FILE) }
    }

    /// The ARN that the node was last registered under.
    pub fn arn(&self) -> Result<Option<String>, AgentError> {
        Ok(read(&self.arn)?.map(|arn| arn.trim().to_owned()).filter(|arn| !arn.is_empty()))
    }

    /// The token with which the node asks for an ARN in place of the one that it has, if any; the same until it has one.
    pub async fn token(&self) -> Result<String, AgentError> {
        let former = self.arn()?.unwrap_or_default();
        let known = read(&self.token)?;
        // One that asked in place of another ARN has been answered.
        if let Some((token, of)) = known.as_deref().and_then(|text| text.strip_suffix('\n')?.split_once(' '))
            && of == former
        {
            return Ok(token.to_owned());
        }
        let token = hex_id(&mut rand::rng(), TOKEN_DIGITS);
        keep(&self.token, &format!("{token} {former}")).await;
        Ok(token)
    }

    /// The node has this ARN from now on. Returns once that is on disk.
    pub async fn keep(&self, arn: &str) {
        keep(&self.arn, arn).await;
        // One that stays is of no use any more.
        let _ = fs::remove_file(&self.token);
    }
}

fn read(file: &Path) -> Result<Option<String>, AgentError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AgentError::io(file)(error)),
    }
}

/// Returns once it is on disk. A node that ended for want of room there would be a new one each time that it comes back.
async fn keep(file: &Path, line: &str) {
    let mut backoff = Backoff::default();
    while let Err(error) = write(file, line) {
        warn!(error = &error as &dyn std::error::Error, "the node begins when its registration can be kept");
        backoff.wait().await;
    }
}

fn write(file: &Path, line: &str) -> Result<(), AgentError> {
    let temporary: PathBuf = file.with_extension("new");
    let written = fs::write(&temporary, format!("{line}\n"))
        .and_then(|()| fs::File::open(&temporary)?.sync_data())
        .and_then(|()| fs::rename(&temporary, file))
        .and_then(|()| fs::File::open(file.parent().unwrap_or(file))?.sync_all());
    written.map_err(AgentError::io(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_registration_waits_for_room_to_be_kept_in() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("not there yet");
        let keeping = tokio::spawn({
            let kept = Kept::new(&state_dir);
            async move { kept.keep("arn").await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert!(!keeping.is_finished());
        fs::create_dir(&state_dir).unwrap();
        keeping.await.unwrap();
        assert_eq!(Kept::new(&state_dir).arn().unwrap().as_deref(), Some("arn"));
    }

    #[tokio::test]
    async fn a_token_is_the_same_until_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        // An agent that was killed is another one that finds the same directory.
        let kept = || Kept::new(dir.path());
        let mut former = kept().token().await.unwrap();
        for arn in ["first", "second"] {
            assert_eq!(kept().token().await.unwrap(), former);
            // It is killed before it can remove the token.
            keep(&kept().arn, arn).await;
            let next = kept().token().await.unwrap();
            assert_ne!(next, former);
            former = next;
        }
        kept().keep("third").await;
        assert!(!kept().token.exists());
    }

    #[tokio::test]
    async fn a_token_that_is_torn_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        for torn in ["", "0123", "0123 ", "\0\0\0\0"] {
            fs::write(&kept.token, torn).unwrap();
            assert_eq!(kept.token().await.unwrap().len(), TOKEN_DIGITS);
        }
    }
}
