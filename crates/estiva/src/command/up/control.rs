//! How commands speak with the `estiva up` that runs: one line of JSON each way, on a socket that only the owner reaches.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::listen;

/// A line has at most so many bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What is wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// A further node.
    Add {
        /// Of EC2's.
        instance_type: Option<String>,
        /// Its availability zone.
        zone: Option<String>,
        /// The cluster that it joins; that of the first node unless given.
        cluster: Option<String>,
        /// Its agent reaches the control plane over the node's network.
        over_network: bool,
    },
    /// A further node less.
    Remove {
        /// Its name.
        node: String,
        /// Although tasks run on it.
        force: bool,
    },
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A node is registered and connected, under this ARN.
    Added(String),
    /// A node is gone, with so many tasks.
    Removed(usize),
    /// It was not done, and why.
    Refused(String),
}

/// Where wishes are heard.
pub struct Control(UnixListener);

impl Control {
    /// In place of what an `estiva up` that was killed has left.
    pub fn open(socket: &Path) -> Result<Self> {
        let listener = UnixListener::from_std(listen::at_path(socket)?);
        Ok(Self(listener.with_context(|| format!("cannot listen at {}", socket.display()))?))
    }

    /// The next who wants something.
    pub async fn accept(&self) -> io::Result<Petitioner> {
        Ok(Petitioner(self.0.accept().await?.0))
    }
}

/// Takes away what an `estiva up` listened at; nothing is fine.
pub fn remove(socket: &Path) -> Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", socket.display()))
        }
        _ => Ok(()),
    }
}

/// Somebody who wants something.
pub struct Petitioner(UnixStream);

impl Petitioner {
    /// What it is.
    pub async fn wish(&mut self) -> Result<Wish> {
        read(&mut self.0).await
    }

    /// Tells what became of it.
    pub async fn tell(mut self, answer: &Answer) -> Result<()> {
        write(&mut self.0, answer).await
    }
}

/// Asks the `estiva up` that runs, and waits until it has done so.
pub async fn ask(socket: &Path, wish: &Wish) -> Result<Answer> {
    let mut stream = match UnixStream::connect(socket).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            bail!("Estiva is not up; `estiva up` starts it")
        }
        connected => connected.with_context(|| format!("cannot reach {}", socket.display()))?,
    };
    write(&mut stream, wish).await?;
    read(&mut stream).await.context("`estiva up` ended before it had answered")
}

async fn write(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(stream.write_all(&line).await?)
}

async fn read<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_wish_is_heard_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("up.sock");
        drop(Control::open(&socket).unwrap());
        let control = Control::open(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let serve = async {
            let mut petitioner = control.accept().await.unwrap();
            let Wish::Remove { node, force: true } = petitioner.wish().await.unwrap() else { panic!("another wish") };
            petitioner.tell(&Answer::Refused(node)).await.unwrap();
        };
        let wish = Wish::Remove { node: "i-1".to_owned(), force: true };
        let (answer, ()) = tokio::join!(ask(&socket, &wish), serve);
        assert!(matches!(answer.unwrap(), Answer::Refused(node) if node == "i-1"));
    }

    #[tokio::test]
    async fn without_a_supervisor_the_reason_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("up.sock");
        let wish = Wish::Remove { node: "i-1".to_owned(), force: false };
        assert!(ask(&socket, &wish).await.unwrap_err().to_string().contains("not up"));
        drop(Control::open(&socket).unwrap());
        assert!(ask(&socket, &wish).await.unwrap_err().to_string().contains("not up"));
    }
}
