//! Listening sockets that one process makes and another serves. While nobody serves, who connects waits, and no other
//! program can take the address.
//!
//! `estiva up` tells its parts which descriptors they are. systemd's socket activation is understood too.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{getsockopt, sockopt};

/// Lists the descriptors in the child's environment.
const VARIABLE: &str = "ESTIVA_LISTEN_FDS";
/// As `sd_listen_fds(3)` has it.
const SYSTEMD_PID: &str = "LISTEN_PID";
const SYSTEMD_COUNT: &str = "LISTEN_FDS";
const SYSTEMD_NAMES: &str = "LISTEN_FDNAMES";
const SYSTEMD_FIRST: RawFd = 3;
/// More are a mistake.
const SYSTEMD_COUNT_MAX: RawFd = 64;

/// What a process was given to serve.
#[derive(Default)]
pub struct Sockets {
    /// At addresses.
    pub tcp: Vec<TcpListener>,
    /// In the file system.
    pub local: Vec<UnixListener>,
}

impl Sockets {
    /// As they are handed on.
    pub fn into_descriptors(self) -> Vec<OwnedFd> {
        let tcp = self.tcp.into_iter().map(OwnedFd::from);
        tcp.chain(self.local.into_iter().map(OwnedFd::from)).collect()
    }
}

/// Gives `command` these sockets, and no others that this process may have been given.
pub fn hand(command: &mut Command, sockets: &[OwnedFd]) {
    let passed: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let listed: Vec<String> = passed.iter().map(RawFd::to_string).collect();
    command.env(VARIABLE, listed.join(","));
    for variable in [SYSTEMD_PID, SYSTEMD_COUNT, SYSTEMD_NAMES] {
        command.env_remove(variable);
    }
    // In the child alone: another that is started meanwhile is not to hold them.
    let pass = move || {
        let kept = |descriptor: &RawFd| fcntl(*descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop);
        passed.iter().try_for_each(kept).map_err(io::Error::from)
    };
    // SAFETY: fcntl is async-signal-safe, and nothing else happens between fork and exec.
    unsafe { command.pre_exec(pass) };
}

/// What this process was given. Call it once, before anything else opens files.
pub fn take() -> Result<Sockets> {
    let mut sockets = Sockets::default();
    for number in numbers()? {
        sort(&mut sockets, number).with_context(|| format!("descriptor {number} is not a socket to serve"))?;
    }
    Ok(sockets)
}

fn numbers() -> Result<Vec<RawFd>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(listed) = variable(VARIABLE) {
        let parsed: Result<_, _> = listed.split(',').map(str::parse).collect();
        return parsed.with_context(|| format!("{VARIABLE} is not a list of numbers"));
    }
    // Another's, whose environment came down to this process.
    if variable(SYSTEMD_PID).is_none_or(|pid| pid != std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let count: RawFd = variable(SYSTEMD_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0);
    if !(0..=SYSTEMD_COUNT_MAX).contains(&count) {
        bail!("{SYSTEMD_COUNT} must be between 0 and {SYSTEMD_COUNT_MAX}");
    }
    Ok((SYSTEMD_FIRST..SYSTEMD_FIRST + count).collect())
}

fn sort(sockets: &mut Sockets, number: RawFd) -> Result<()> {
    // Also finds whether it is open at all.
    fcntl(number, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the parent opened this descriptor for us alone; nothing else in this process owns it.
    let descriptor = OwnedFd::from(unsafe { File::from_raw_fd(number) });
    if !getsockopt(&descriptor, sockopt::AcceptConn)? {
        bail!("it does not listen");
    }
    let tcp = TcpListener::from(descriptor);
    if tcp.local_addr().is_ok() {
        tcp.set_nonblocking(true)?;
        sockets.tcp.push(tcp);
        return Ok(());
    }
    let local = UnixListener::from(OwnedFd::from(tcp));
    local.local_addr()?;
    local.set_nonblocking(true)?;
    sockets.local.push(local);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn listeners_are_told_apart_and_nothing_else_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let local = UnixListener::bind(dir.path().join("socket")).unwrap();
        let mut sockets = Sockets::default();
        sort(&mut sockets, tcp.into_raw_fd()).unwrap();
        sort(&mut sockets, local.into_raw_fd()).unwrap();
        assert_eq!((sockets.tcp.len(), sockets.local.len()), (1, 1));
        let connected = TcpStream::connect(address).unwrap();
        assert!(sort(&mut sockets, connected.into_raw_fd()).is_err());
        assert!(sort(&mut sockets, File::open("/dev/null").unwrap().into_raw_fd()).is_err());
        assert!(sort(&mut sockets, 1_000_000).is_err());
        assert_eq!(sockets.into_descriptors().len(), 2);
    }

    #[test]
    fn a_child_has_the_sockets_under_the_numbers_that_it_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "readlink /proc/self/fd/$ESTIVA_LISTEN_FDS"]);
        let sockets = [OwnedFd::from(listener)];
        hand(&mut command, &sockets);
        let output = command.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("socket:"), "{output:?}");
    }
}
