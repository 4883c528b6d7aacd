//! What listens on the host's loopback, within a further node: the loopback of the one is not that of the other.
//!
//! A socket belongs to the network namespace that it was made in, whoever reads from it. So nothing of the host is open to
//! other networks than the node's own loopback.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use estiva_network::within;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

/// Connections of one node at one time.
const CONNECTIONS_MAX: usize = 1024;
/// After a connection could not be accepted, which is for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens for as long as it is kept.
pub struct Relay(JoinHandle<()>);

impl Relay {
    /// Listens at the address that `service` has on the host, within the namespace.
    pub async fn open(namespace: PathBuf, service: SocketAddr) -> Result<Self> {
        let listen = move || within(&namespace, || StdListener::bind(service));
        let listener = tokio::task::spawn_blocking(listen).await??;
        let listener = listener.with_context(|| format!("cannot listen at {service} within the node"))?;
        listener.set_nonblocking(true).context("cannot listen within the node")?;
        let listener = TcpListener::from_std(listener).context("cannot listen within the node")?;
        Ok(Self(tokio::spawn(relay(listener, service))))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(listener: TcpListener, service: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((inner, _)) = listener.accept().await else {
            warn!("a node's connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // One that finds no room is closed: it may try again.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        tokio::spawn(async move {
            if let Err(error) = carry(inner, service).await {
                debug!(%error, %service, "a node's connection ended");
            }
            drop(permit);
        });
    }
}

async fn carry(mut inner: TcpStream, service: SocketAddr) -> std::io::Result<()> {
    let mut outer = TcpStream::connect(service).await?;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    copy_bidirectional(&mut inner, &mut outer).await.map(drop)
}
