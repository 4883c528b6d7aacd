//! The socket that agents connect to, and their connections.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::DirBuilderExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
};

use nix::{
    sys::{
        socket::{getsockopt, sockopt},
        stat::{Mode, umask},
    },
    unistd::geteuid,
};

use super::connection::Connection;
use crate::protocol::{Message, Request};

/// An agent, its predecessor that is not quite gone, and for a moment each further program that is started.
const CONNECTIONS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    connections: BTreeMap<u64, Connection>,
    accepted: u64,
}

impl Server {
    /// Listens at `path`, where a killed shim may have left its socket. Only this user can connect.
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: BTreeMap::new(), accepted: 0 })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = (u64, &Connection)> {
        self.connections.iter().map(|(number, connection)| (*number, connection))
    }

    /// Takes in everybody who waits; strangers and too many are turned away by closing.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) if self.connections.len() < CONNECTIONS_MAX && is_own_user(&stream)? => {
                    self.accepted += 1;
                    self.connections.insert(self.accepted, Connection::new(stream)?);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The requests that have come on a connection; a broken one is closed.
    pub(super) fn receive(&mut self, number: u64) -> Vec<Request> {
        let received = self.connections.get_mut(&number).map(Connection::receive);
        match received {
            Some(Ok(requests)) => requests,
            Some(Err(_)) => {
                self.connections.remove(&number);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Sends to one connection, if it is still there, with copies of `fds`.
    pub(super) fn send(&mut self, number: u64, message: &Message, fds: &[OwnedFd]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.send_with(message, fds).and_then(|()| connection.flush()).is_err() {
            self.connections.remove(&number);
        }
    }

    /// Sends to everybody.
    pub(super) fn broadcast(&mut self, message: &Message) {
        self.connections.retain(|_, connection| connection.send(message).and_then(|()| connection.flush()).is_ok());
    }

    /// Goes on sending what a socket would not take before.
    pub(super) fn flush(&mut self, number: u64) {
        let flushed = self.connections.get_mut(&number).map(Connection::flush);
        if matches!(flushed, Some(Err(_))) {
            self.connections.remove(&number);
        }
    }
}

fn is_own_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(getsockopt(stream, sockopt::PeerCredentials)?.uid() == geteuid().as_raw())
}
