//! One agent's connection, never blocking: bytes in until a frame is whole, bytes out as the socket takes them.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::protocol::{FRAME_BYTES_MAX, LENGTH_BYTES, Message, Request};

/// What may wait to be sent; an agent that does not read is disconnected, and learns all by asking for the state.
const OUTGOING_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, incoming: Vec::new(), outgoing: Vec::new() })
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads what has come; the whole requests among it.
    ///
    /// # Errors
    /// The connection is over: closed, broken, or the peer does not speak the protocol.
    pub(super) fn receive(&mut self) -> io::Result<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            let mut chunk = [0; CHUNK_BYTES];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.incoming.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(requests),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(request) = self.take_request()? {
                requests.push(request);
            }
        }
    }

    fn take_request(&mut self) -> io::Result<Option<Request>> {
        let Some((length, rest)) = self.incoming.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let request = serde_json::from_slice(frame)?;
        self.incoming.drain(..LENGTH_BYTES + length);
        if self.incoming.is_empty() {
            // A large spec has gone through; its memory is not kept for the years until the next.
            self.incoming = Vec::new();
        }
        Ok(Some(request))
    }

    /// Queues a message; [`Self::flush`] sends.
    ///
    /// # Errors
    /// The peer does not read.
    pub(super) fn send(&mut self, message: &Message) -> io::Result<()> {
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(&[0; LENGTH_BYTES]);
        serde_json::to_writer(&mut self.outgoing, message)?;
        let bytes = self.outgoing.len() - start - LENGTH_BYTES;
        let length = u32::try_from(bytes).map_err(io::Error::other)?;
        self.outgoing[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        if self.outgoing.len() > OUTGOING_BYTES_MAX {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// As [`Self::send`], with copies of `fds`, which the peer gets with the first byte of the message.
    ///
    /// # Errors
    /// The peer does not read: descriptors are not queued.
    pub(super) fn send_with(&mut self, message: &Message, fds: &[OwnedFd]) -> io::Result<()> {
        if fds.is_empty() {
            return self.send(message);
        }
        self.flush()?;
        if self.wants_to_write() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.send(message)?;
        let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let data = [IoSlice::new(&self.outgoing)];
        let control = [ControlMessage::ScmRights(&numbers)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &data, &control, flags, None)?;
        self.outgoing.drain(..sent);
        Ok(())
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
