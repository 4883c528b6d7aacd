//! How a process that was started tells the one that started it that it is ready: a line on an inherited pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::pipe2;

/// Names the descriptor in the child's environment.
pub const VARIABLE: &str = "ESTIVA_READY_FD";
/// Begins the line of a child that could not start; what follows is why.
const FAILURE: &str = "failed: ";

/// The descriptor is used once: later its number may be that of another file.
static ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// The reading end, and the writing end until the child has it.
pub struct Waiter {
    read: OwnedFd,
    write: OwnedFd,
}

impl Waiter {
    /// Gives `command` the writing end of a new pipe.
    pub fn for_child(command: &mut Command) -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let passed = write.as_raw_fd();
        command.env(VARIABLE, passed.to_string());
        // In the child alone: another that is started meanwhile would keep the pipe open after this one's end.
        let pass = move || fcntl(passed, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(io::Error::from);
        // SAFETY: fcntl is async-signal-safe, and nothing else happens between fork and exec.
        unsafe { command.pre_exec(pass) };
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
        match line.strip_prefix(FAILURE) {
            Some(reason) => bail!("{}", reason.trim_end()),
            None => Ok(line.trim_end().to_owned()),
        }
    }
}

/// Tells the parent, if one waits, why this process never became ready.
pub fn announce_failure(reason: &str) {
    // The reason is in the log as well, should the parent have gone.
    _ = announce(&format!("{FAILURE}{}", reason.replace('\n', " ")));
}

/// Tells the parent, if one waits, that this process is ready. `message` is one line.
pub fn announce(message: &str) -> Result<()> {
    if ANNOUNCED.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_heard_and_its_end_is_noticed_whoever_was_started_meanwhile() {
        let mut ready = shell("echo done >&$ESTIVA_READY_FD");
        let waiter = Waiter::for_child(&mut ready).unwrap();
        let mut ended = shell("exit 0");
        let never = Waiter::for_child(&mut ended).unwrap();
        let mut failed = shell("echo failed: no disk >&$ESTIVA_READY_FD");
        let told = Waiter::for_child(&mut failed).unwrap();
        let mut other = shell("exec sleep 1000").spawn().unwrap();
        let (mut ready, mut ended) = (ready.spawn().unwrap(), ended.spawn().unwrap());
        assert_eq!(waiter.wait().unwrap(), "done");
        assert!(never.wait().is_err());
        let mut failed = failed.spawn().unwrap();
        assert_eq!(told.wait().unwrap_err().to_string(), "no disk");
        for child in [&mut ready, &mut ended, &mut failed] {
            child.wait().unwrap();
        }
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
