//! The endpoint within a further node: the host's loopback is not the node's, so what listens there is this relay.
//!
//! A socket belongs to the network namespace that it was made in, whoever reads from it. So nothing of the endpoint is
//! open to other networks than the node's own loopback.

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
    /// Listens at the endpoint's address within the namespace.
    pub async fn open(namespace: PathBuf, endpoint: SocketAddr) -> Result<Self> {
        let listen = move || within(&namespace, || StdListener::bind(endpoint));
        let listener = tokio::task::spawn_blocking(listen).await??;
        let listener = listener.with_context(|| format!("cannot listen at {endpoint} within the node"))?;
        listener.set_nonblocking(true).context("cannot listen within the node")?;
        let listener = TcpListener::from_std(listener).context("cannot listen within the node")?;
        Ok(Self(tokio::spawn(relay(listener, endpoint))))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(listener: TcpListener, endpoint: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((inner, _)) = listener.accept().await else {
            warn!("a node's connection to the endpoint could not be accepted");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // One that finds no room is closed: it may try again.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        tokio::spawn(async move {
            if let Err(error) = carry(inner, endpoint).await {
                debug!(%error, "a node's connection to the endpoint ended");
            }
            drop(permit);
        });
    }
}

async fn carry(mut inner: TcpStream, endpoint: SocketAddr) -> std::io::Result<()> {
    let mut outer = TcpStream::connect(endpoint).await?;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    copy_bidirectional(&mut inner, &mut outer).await.map(drop)
}
