//! Receiving a container's pseudo-terminal from libcontainer, which sends it over a socket.

use std::{
    fs,
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The socket that a terminal will come through; removed when dropped.
#[derive(Debug)]
pub(super) struct TerminalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl TerminalSocket {
    pub(super) fn listen(path: PathBuf) -> io::Result<Self> {
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal's master side; after the container was created, when it has been sent already.
    pub(super) fn receive(&self) -> io::Result<OwnedFd> {
        self.listener.set_nonblocking(true)?;
        let (stream, _) = self.listener.accept()?;
        let mut byte = [0; 64];
        let mut data = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), flags)?;
        let received = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        let fd = received.ok_or_else(|| io::Error::other("no terminal came"))?;
        // SAFETY: the kernel has just installed it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl Drop for TerminalSocket {
    fn drop(&mut self) {
        // Its directory goes with the task in any case.
        let _ = fs::remove_file(&self.path);
    }
}
