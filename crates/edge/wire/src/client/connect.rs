//! Bare connections, for pooled calls and for WebSockets: over TCP, or over a socket of this machine's file system.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::stream::Stream;

/// Connects to `authority`, such as `127.0.0.1:4566`.
pub(super) async fn over_tcp(authority: &str) -> io::Result<Stream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Connects to a socket, for hyper's pool. Whatever host a URL names, the socket is where it goes.
#[derive(Clone)]
pub(super) struct SocketConnector(pub Arc<Path>);

impl SocketConnector {
    pub async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.0).await
    }
}

impl Service<Uri> for SocketConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}
