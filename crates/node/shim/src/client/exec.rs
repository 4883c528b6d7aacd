//! Further programs: a connection of their own, over which their streams come as descriptors.

use std::{
    io::{self, IoSliceMut, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use nix::sys::{
    socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, setsockopt, socket,
        sockopt,
    },
    time::{TimeVal, TimeValLike},
};

use super::{ClientError, connection::encode, spawn::blocking};
use crate::{
    protocol::{Command, FRAME_BYTES_MAX, LENGTH_BYTES, Message, Request},
    spec::ExecSpec,
};

/// A program is executed within milliseconds; a shim that has not answered by then never will.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The agent's ends of a program's streams. Dropping them is what closing a terminal window is.
#[derive(Debug)]
pub enum ExecStreams {
    /// A terminal, both ways; its size is set with `TIOCSWINSZ`.
    Terminal(OwnedFd),
    /// Three pipes.
    Pipes {
        /// To be written.
        stdin: OwnedFd,
        /// To be read.
        stdout: OwnedFd,
        /// To be read.
        stderr: OwnedFd,
    },
}

/// Runs a further program in a running container of the shim at `socket`; it is running when this returns. Its end comes
/// as [`Event::ExecEnded`](crate::protocol::Event::ExecEnded) on every connection.
///
/// # Errors
/// [`ClientError::Failed`] as for a container's own program, `WrongState` when the container is not running.
pub async fn exec(socket: &Path, spec: &ExecSpec) -> Result<ExecStreams, ClientError> {
    let socket = socket.to_owned();
    let frame = encode(&Request { id: 0, command: Command::Exec(Box::new(spec.clone())) })?;
    blocking(move || {
        let (message, fds) = ask(&socket, &frame).map_err(|source| ClientError::Unreachable { socket, source })?;
        if let Message::Reply { result, .. } = message {
            result?;
        }
        let mut fds = fds.into_iter();
        match (fds.next(), fds.next(), fds.next()) {
            (Some(terminal), None, None) => Ok(ExecStreams::Terminal(terminal)),
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(ExecStreams::Pipes { stdin, stdout, stderr }),
            _ => Err(ClientError::Closed),
        }
    })
    .await
}

/// Sends one request and receives its reply, with the descriptors that came along; events in between are others' news.
fn ask(socket: &Path, frame: &[u8]) -> io::Result<(Message, Vec<OwnedFd>)> {
    let mut stream = connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(frame)?;
    let mut fds = Vec::new();
    loop {
        let mut length = [0; LENGTH_BYTES];
        // The descriptors come with the first byte of their frame.
        let received = receive(&stream, &mut length, &mut fds)?;
        stream.read_exact(&mut length[received..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let message = serde_json::from_slice(&body)?;
        if matches!(message, Message::Reply { .. }) {
            return Ok((message, fds));
        }
    }
}

/// Connects, within [`ANSWER_MAX`]: the queue of a shim that hangs is full some day, and the kernel would wait for ever.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let timeout = TimeVal::seconds(i64::try_from(ANSWER_MAX.as_secs()).unwrap_or(i64::MAX));
    setsockopt(&fd, sockopt::SendTimeout, &timeout)?;
    nix::sys::socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}

fn receive(stream: &UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut data = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!([RawFd; 3]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just installed them for us.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(message.bytes) }
}
