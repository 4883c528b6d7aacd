//! Sockets that take whole messages: UDP, Unix datagrams.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram, lookup_host};
use tokio::time::timeout;

use crate::address::HostPort;
use crate::connection::{CONNECT_TIMEOUT, WRITE_TIMEOUT};
use crate::error::SendError;

/// Where datagrams go.
pub(crate) enum Target {
    Udp(HostPort),
    Unix(PathBuf),
    /// A Unix socket behind which messages may also be files in memory (systemd.io/JOURNAL_NATIVE_PROTOCOL).
    Journal(PathBuf),
}

/// A socket that is made when it is needed, and anew after an error.
pub(crate) struct Datagrams {
    target: Target,
    kept: Option<Socket>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Journal(UnixDatagram),
}

impl Datagrams {
    pub fn new(target: Target) -> Self {
        Self { target, kept: None }
    }

    pub fn address(&self) -> String {
        self.target.to_string()
    }

    /// Finds the host's address, or the socket's path.
    pub async fn connect(&mut self) -> Result<(), SendError> {
        self.kept = Some(self.take().await?);
        Ok(())
    }

    /// Sends one message; to the journal, if it is too large for its socket, as a file.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        let socket = self.take().await?;
        let address = || self.target.to_string();
        let sent = timeout(WRITE_TIMEOUT, socket.send(message)).await;
        let late = |_| SendError::Timeout { address: address(), operation: "take more", limit: WRITE_TIMEOUT };
        sent.map_err(late)?.map_err(|source| SendError::Write { address: address(), source })?;
        self.kept = Some(socket);
        Ok(())
    }

    async fn take(&mut self) -> Result<Socket, SendError> {
        if let Some(socket) = self.kept.take() {
            return Ok(socket);
        }
        let address = || self.target.to_string();
        let connected = timeout(CONNECT_TIMEOUT, self.target.connect()).await;
        let late = |_| SendError::Timeout { address: address(), operation: "connect", limit: CONNECT_TIMEOUT };
        connected.map_err(late)?.map_err(|source| SendError::Connect { address: address(), source })
    }
}

impl Target {
    async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Udp(address) => udp(address).await.map(Socket::Udp),
            Self::Unix(path) => unix(path).map(Socket::Unix),
            Self::Journal(path) => unix(path).map(Socket::Journal),
        }
    }
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

async fn udp(address: &HostPort) -> io::Result<UdpSocket> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host(address.pair()).await? {
        match udp_to(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn udp_to(address: SocketAddr) -> io::Result<UdpSocket> {
    let from: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(address).await?;
    Ok(socket)
}

impl Socket {
    async fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Unix(socket) => socket.send(message).await.map(drop),
            Self::Journal(socket) => match socket.send(message).await {
                Err(error) if is_too_large(&error) => send_file(socket, message).await,
                sent => sent.map(drop),
            },
        }
    }
}

fn is_too_large(error: &io::Error) -> bool {
    [Errno::EMSGSIZE as i32, Errno::ENOBUFS as i32].map(Some).contains(&error.raw_os_error())
}

/// The receiver reads the file instead of an empty message.
async fn send_file(socket: &UnixDatagram, message: &[u8]) -> io::Result<()> {
    let file = sealed(message)?;
    let descriptors = [file.as_raw_fd()];
    let send = || {
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let sent = sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&[])], &rights, flags, None);
        sent.map(drop).map_err(io::Error::from)
    };
    socket.async_io(Interest::WRITABLE, send).await
}

/// A file in memory that can change no more.
fn sealed(message: &[u8]) -> io::Result<File> {
    let flags = MemFdCreateFlag::MFD_CLOEXEC | MemFdCreateFlag::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"log-line", flags)?);
    file.write_all(message)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(file.as_raw_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(formatter, "udp://{address}"),
            Self::Unix(path) | Self::Journal(path) => write!(formatter, "unixgram://{}", path.display()),
        }
    }
}
