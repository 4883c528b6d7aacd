//! Connections that are kept: TCP, TLS, Unix streams.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::HostPort;
use crate::error::SendError;

/// For names, connections and TLS' handshake together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a backend may take not a single byte.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Of answers: acknowledgements have some 40 bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// How much is read, and forgotten, from a backend that should say nothing before it counts as broken.
const CHATTER_READS_MAX: usize = 64;

/// Where a stream leads.
#[derive(Clone)]
pub(crate) enum Endpoint {
    Tcp(HostPort),
    Tls(HostPort, Arc<ClientConfig>),
    Unix(PathBuf),
}

/// A stream that is made when it is needed, kept while it is whole, and made anew afterwards.
pub(crate) struct Link {
    endpoint: Endpoint,
    write_timeout: Duration,
    kept: Option<Box<dyn Duplex>>,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

impl Link {
    pub fn new(endpoint: Endpoint, write_timeout: Duration) -> Self {
        Self { endpoint, write_timeout, kept: None }
    }

    /// Makes sure that there is a connection.
    pub async fn connect(&mut self) -> Result<(), SendError> {
        self.kept = Some(self.take().await?);
        Ok(())
    }

    /// Returns when this machine's kernel has all `bytes`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let mut stream = self.take().await?;
        self.write_to(&mut *stream, bytes).await?;
        self.kept = Some(stream);
        Ok(())
    }

    /// Writes, and waits until `is_whole` says so of what was answered, or what is wrong with it.
    pub async fn exchange(
        &mut self,
        bytes: &[u8],
        limit: Duration,
        is_whole: impl Fn(&[u8]) -> Result<bool, &'static str> + Send,
    ) -> Result<(), SendError> {
        let mut stream = self.take().await?;
        self.write_to(&mut *stream, bytes).await?;
        let answer = timeout(limit, self.read_from(&mut *stream, is_whole)).await;
        answer.map_err(|_| self.timeout("acknowledge", limit))??;
        self.kept = Some(stream);
        Ok(())
    }

    pub fn broken(&self, source: io::Error) -> SendError {
        SendError::Write { address: self.endpoint.to_string(), source }
    }

    /// The connection. It is given back only when it is at a message's end, so that neither an error nor a caller who
    /// stops waiting leaves half a message on it.
    async fn take(&mut self) -> Result<Box<dyn Duplex>, SendError> {
        if let Some(mut stream) = self.kept.take()
            && is_open(&mut *stream)
        {
            return Ok(stream);
        }
        let connected = timeout(CONNECT_TIMEOUT, self.endpoint.connect()).await;
        let connected = connected.map_err(|_| self.timeout("connect", CONNECT_TIMEOUT))?;
        connected.map_err(|source| SendError::Connect { address: self.endpoint.to_string(), source })
    }

    async fn write_to(&self, stream: &mut dyn Duplex, mut bytes: &[u8]) -> Result<(), SendError> {
        let limit = self.write_timeout;
        while !bytes.is_empty() {
            let written = timeout(limit, stream.write(bytes)).await.map_err(|_| self.timeout("take more", limit))?;
            match written.map_err(|source| self.broken(source))? {
                0 => return Err(self.broken(io::ErrorKind::WriteZero.into())),
                count => bytes = &bytes[count..],
            }
        }
        let flushed = timeout(limit, stream.flush()).await.map_err(|_| self.timeout("take more", limit))?;
        flushed.map_err(|source| self.broken(source))
    }

    async fn read_from(
        &self,
        stream: &mut dyn Duplex,
        is_whole: impl Fn(&[u8]) -> Result<bool, &'static str> + Send,
    ) -> Result<(), SendError> {
        let wrong = |reason| SendError::Acknowledgement { address: self.endpoint.to_string(), reason };
        let mut answer = Vec::new();
        while !is_whole(&answer).map_err(wrong)? {
            if answer.len() >= ANSWER_BYTES_MAX {
                return Err(wrong("the answer is too long"));
            }
            if stream.read_buf(&mut answer).await.map_err(|source| self.broken(source))? == 0 {
                return Err(wrong("the connection was closed"));
            }
        }
        Ok(())
    }

    fn timeout(&self, operation: &'static str, limit: Duration) -> SendError {
        SendError::Timeout { address: self.endpoint.to_string(), operation, limit }
    }
}

/// Without a look at what the backend did since, the first lines after it went away would be written to nobody.
fn is_open(stream: &mut dyn Duplex) -> bool {
    let mut chatter = [0; 256];
    for _ in 0..CHATTER_READS_MAX {
        match stream.read(&mut chatter).now_or_never() {
            None => return true,
            Some(Ok(1..)) => {}
            Some(Ok(0) | Err(_)) => return false,
        }
    }
    false
}

impl Endpoint {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(tcp(address).await?),
            Self::Tls(address, config) => {
                let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(config.clone()).connect(name, tcp(address).await?).await?)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

async fn tcp(address: &HostPort) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address.pair()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Tls(address, _) => write!(formatter, "tls://{address}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
        }
    }
}
