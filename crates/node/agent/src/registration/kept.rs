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
/// The same once more: a node whose ARN is lost would be another one.
const COPY_FILE: &str = "container-instance-arn.copy";
const TOKEN_FILE: &str = "registration-token";
/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 32;

/// A node's registration as its directory has it.
pub(super) struct Kept {
    arn: PathBuf,
    copy: PathBuf,
    token: PathBuf,
}

impl Kept {
    /// That of the node with this directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { arn: state_dir.join(ARN_FILE), copy: state_dir.join(COPY_FILE), token: state_dir.join(TOKEN_FILE) }
    }

    /// The ARN that the node was last registered under. A file that does not hold one (cut short, overwritten) is repaired
    /// from its copy. Without a copy a node that has tasks does not guess: as a new instance it would end them.
    pub fn arn(&self, has_tasks: bool) -> Result<Option<String>, AgentError> {
        let Some(content) = read(&self.arn)? else { return Ok(None) };
        if let Some(arn) = arn_in(&content) {
            return Ok(Some(arn.to_owned()));
        }
        let file = self.arn.display();
        if let Some(arn) = read(&self.copy)?.as_deref().and_then(arn_in) {
            warn!(%file, arn, "the file holds no container instance's ARN; its copy does");
            return Ok(Some(arn.to_owned()));
        }
        if has_tasks {
            let reason = "it holds no container instance's ARN, and the node has tasks. Write the ARN there (aws ecs \
                          list-container-instances), or remove the file: the node becomes a new instance and ends them";
            return Err(AgentError::Broken { path: self.arn.clone(), reason: reason.to_owned() });
        }
        warn!(%file, "the file holds no container instance's ARN; the node becomes a new instance");
        Ok(None)
    }

    /// The token with which the node asks for an ARN in place of the one that it has, if any; the same until it has one.
    pub async fn token(&self) -> Result<String, AgentError> {
        let former = read(&self.arn)?.as_deref().and_then(arn_in).unwrap_or_default().to_owned();
        let known = read(&self.token)?;
        // One that asked in place of another ARN has been answered.
        let known = known.as_deref().and_then(|text| str::from_utf8(text).ok());
        if let Some((token, of)) = known.and_then(|text| text.strip_suffix('\n')?.split_once(' '))
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
        keep(&self.copy, arn).await;
        // One that stays is of no use any more.
        let _ = fs::remove_file(&self.token);
    }

    /// Makes both files say the same, where one does not yet: it was broken, or is of an earlier version.
    pub async fn mend(&self, arn: &str) {
        for file in [&self.arn, &self.copy] {
            if read(file).ok().flatten().as_deref().and_then(arn_in) != Some(arn) {
                keep(file, arn).await;
            }
        }
    }
}

/// The ARN in a file's content, if that is what it is.
fn arn_in(content: &[u8]) -> Option<&str> {
    let arn = str::from_utf8(content).ok()?.trim();
    let is_arn = arn.starts_with("arn:") && arn.contains(":container-instance/");
    (is_arn && arn.bytes().all(|byte| byte.is_ascii_graphic())).then_some(arn)
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, AgentError> {
    match fs::read(file) {
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

    const ONE: &str = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/1";
    const OTHER: &str = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/2";

    #[tokio::test]
    async fn a_broken_arn_is_repaired_from_its_copy_and_never_guessed_while_there_are_tasks() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        kept.keep(ONE).await;
        for broken in
            [&b""[..], b"\n", b"nonsense", b"\xff\xfe\0", b"arn:aws:ecs:us-east-1:0:cluster/x", &ONE.as_bytes()[..30]]
        {
            fs::write(&kept.arn, broken).unwrap();
            assert_eq!(kept.arn(true).unwrap().as_deref(), Some(ONE));
            kept.mend(ONE).await;
            assert_eq!(fs::read_to_string(&kept.arn).unwrap().trim(), ONE);
            fs::write(&kept.arn, broken).unwrap();
            fs::remove_file(&kept.copy).unwrap();
            assert!(kept.arn(true).unwrap_err().to_string().contains("container-instance-arn"));
            assert_eq!(kept.arn(false).unwrap(), None);
            kept.mend(ONE).await;
        }
        fs::remove_file(&kept.arn).unwrap();
        assert_eq!(kept.arn(true).unwrap(), None, "who removes it wants another instance");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registration_waits_for_room_to_be_kept_in() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("not there yet");
        let keeping = tokio::spawn({
            let kept = Kept::new(&state_dir);
            async move { kept.keep(ONE).await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert!(!keeping.is_finished());
        fs::create_dir(&state_dir).unwrap();
        keeping.await.unwrap();
        assert_eq!(Kept::new(&state_dir).arn(true).unwrap().as_deref(), Some(ONE));
    }

    #[tokio::test]
    async fn a_token_is_the_same_until_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        // An agent that was killed is another one that finds the same directory.
        let kept = || Kept::new(dir.path());
        let mut former = kept().token().await.unwrap();
        for arn in [ONE, OTHER] {
            assert_eq!(kept().token().await.unwrap(), former);
            // It is killed before it can remove the token.
            keep(&kept().arn, arn).await;
            let next = kept().token().await.unwrap();
            assert_ne!(next, former);
            former = next;
        }
        kept().keep(ONE).await;
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
