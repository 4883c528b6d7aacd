//! How a process that was started tells the one that started it that it is ready: a line on an inherited pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::pipe2;

/// Names the descriptor in the child's environment.
const VARIABLE: &str = "ESTIVA_READY_FD";

/// The reading end, and the writing end until the child has it.
pub struct Waiter {
    read: OwnedFd,
    write: OwnedFd,
}

impl Waiter {
    /// Gives `command` the writing end of a new pipe.
    pub fn for_child(command: &mut Command) -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        // The child inherits the writing end; the reading end stays here.
        fcntl(write.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("cannot pass the pipe on")?;
        command.env(VARIABLE, write.as_raw_fd().to_string());
        Ok(Self { read, write })
    }

    /// Blocks until the child has spoken or ended; call it after the child was started. Gives what it said.
    pub fn wait(self) -> Result<String> {
        drop(self.write);
        let mut line = String::new();
        BufReader::new(File::from(self.read)).read_line(&mut line).context("cannot hear the child")?;
        if line.is_empty() {
            bail!("it ended before it was ready");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Tells the parent, if one waits, that this process is ready. `message` is one line.
pub fn announce(message: &str) -> Result<()> {
    let Ok(number) = std::env::var(VARIABLE) else { return Ok(()) };
    let descriptor: RawFd = number.parse().with_context(|| format!("{VARIABLE} is not a number"))?;
    // SAFETY: the parent opened this descriptor for us alone; nothing else in this process owns it.
    let mut pipe = unsafe { File::from_raw_fd(descriptor) };
    match writeln!(pipe, "{message}") {
        // The parent has gone: nobody waits any more.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot tell the parent"),
        _ => Ok(()),
    }
}
