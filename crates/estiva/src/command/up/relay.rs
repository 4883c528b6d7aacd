//! What listens on the host's loopback, within a further node: the loopback of the one is not that of the other.
//!
//! A socket belongs to the network namespace that it was made in, whoever reads from it. So nothing of the host is open to
//! other networks than the node's own loopback.
//!
//! The relay is what tasks with a role have, no more than a share each, so that one that opens many connections takes none from
//! another. Who they are is kept: the service sees each task at a loopback address of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use estiva_network::within;
use estiva_wire::server::{Admission, Patient, Place, Shares};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, warn};

/// Connections of one node at one time, and of one task of it. Beyond that the least recently active one gives way.
const SHARES: Shares = Shares { source: 64, unproven: 1024, holder: 64 };
/// What the service answers begins with this where it has accepted a signature: with 101, or a status of success.
const ACCEPTING: [&[u8]; 2] = [b"HTTP/1.1 1", b"HTTP/1.1 2"];
/// After a connection could not be accepted, which is for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How long either end may read nothing.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long the node's end may go on once the service has said all it has to say.
const LINGER: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 8 * 1024;

/// Listens for as long as it is kept.
pub struct Relay(JoinHandle<()>);

impl Relay {
    /// Listens at the address that `service` has on the host, within the namespace. With the address of the node, the service
    /// is shown who calls.
    pub async fn open(namespace: PathBuf, service: SocketAddr, node: Option<Ipv4Addr>) -> Result<Self> {
        let listen = move || within(&namespace, || StdListener::bind(service));
        let listener = tokio::task::spawn_blocking(listen).await??;
        let listener = listener.with_context(|| format!("cannot listen at {service} within the node"))?;
        listener.set_nonblocking(true).context("cannot listen within the node")?;
        let listener = TcpListener::from_std(listener).context("cannot listen within the node")?;
        Ok(Self(tokio::spawn(relay(listener, service, node))))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(listener: TcpListener, service: SocketAddr, node: Option<Ipv4Addr>) {
    let admission = Admission::new(SHARES);
    loop {
        let Ok((inner, peer)) = listener.accept().await else {
            warn!("a node's connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let place = admission.enter(source(peer.ip()));
        let shown = node.map(|node| shown_as(peer.ip(), node));
        tokio::spawn(async move {
            let carried = tokio::select! {
                carried = carry(inner, service, shown, &place) => carried,
                () = place.evicted() => return debug!(%peer, "closed: others need the place"),
            };
            if let Err(error) = carried {
                debug!(%error, %service, "a node's connection ended");
            }
        });
    }
}

/// Who a connection counts for: what runs in the node's own network has as many loopback addresses as it likes.
fn source(peer: IpAddr) -> IpAddr {
    if peer.is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { peer }
}

/// The loopback address that stands for a task, or for what runs in the node's own network: tasks and nodes differ in the
/// last half of their addresses, as an installation has one block of /16.
fn shown_as(peer: IpAddr, node: Ipv4Addr) -> Ipv4Addr {
    let address = match peer {
        IpAddr::V4(task) if !task.is_loopback() => task,
        _ => node,
    };
    let [_, _, third, fourth] = address.octets();
    Ipv4Addr::new(127, SHOWN_NET, third, fourth)
}

/// An own part of the loopback network, so that no task passes for what else runs on the machine.
const SHOWN_NET: u8 = 77;

async fn carry(inner: TcpStream, service: SocketAddr, shown: Option<Ipv4Addr>, place: &Place) -> std::io::Result<()> {
    let holder = source(inner.peer_addr()?.ip()).to_string();
    let outer = connect(service, shown).await?;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    let (from_node, to_node) = tokio::io::split(Patient::new(inner, WRITE_MAX));
    let (from_service, to_service) = tokio::io::split(Patient::new(outer, WRITE_MAX));
    let standing = place.standing();
    let up = copy(from_node, to_service, |_| standing.touch());
    // An agent's session so is no stranger's, however many connections others open beside it.
    let down = copy(from_service, to_node, |read| {
        standing.touch();
        if ACCEPTING.iter().any(|beginning| read.starts_with(beginning)) {
            standing.prove(&holder, false);
        }
    });
    tokio::pin!(up, down);
    // Who has asked everything still hears the answer; when that is told, nothing more is heard.
    tokio::select! {
        biased;
        told = &mut down => {
            told?;
            timeout(LINGER, up).await.unwrap_or(Ok(()))
        }
        asked = &mut up => {
            asked?;
            down.await
        }
    }
}

async fn connect(service: SocketAddr, shown: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
    match shown {
        Some(shown) if service.is_ipv4() && service.ip().is_loopback() => {
            let socket = TcpSocket::new_v4()?;
            socket.bind((shown, 0).into())?;
            socket.connect(service).await
        }
        _ => TcpStream::connect(service).await,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        let Some(read) = buffer.get(..bytes).filter(|read| !read.is_empty()) else {
            return to.shutdown().await;
        };
        seen(read);
        to.write_all(read).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 6);

    /// A service that answers each line with who sent it, and a relay to it.
    async fn relayed() -> (SocketAddr, JoinHandle<()>) {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, peer)) = service.accept().await {
                tokio::spawn(async move {
                    while let Ok(1..) = stream.read(&mut [0; 64]).await {
                        let _ = stream.write_all(format!("{}\n", peer.ip()).as_bytes()).await;
                    }
                });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (at, tokio::spawn(relay(listener, address, Some(NODE))))
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"who am I\n").await.unwrap();
        let mut answer = [0; 64];
        let bytes = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..bytes]).trim().to_owned()
    }

    #[tokio::test]
    async fn silent_connections_give_way_and_those_at_work_stay() {
        let (at, relaying) = relayed().await;
        let mut session = TcpStream::connect(at).await.unwrap();
        assert_eq!(ask(&mut session).await, "127.77.0.6");
        let mut flood = Vec::new();
        for _ in 0..3 {
            for _ in 0..SHARES.unproven - 1 {
                flood.push(TcpStream::connect(at).await.unwrap());
            }
            assert_eq!(ask(&mut session).await, "127.77.0.6");
            let mut late = TcpStream::connect(at).await.unwrap();
            assert_eq!(ask(&mut late).await, "127.77.0.6");
            let ended = flood[0].read(&mut [0]).await;
            assert!(matches!(ended, Ok(0) | Err(_)));
            flood.clear();
        }
        relaying.abort();
    }

    #[tokio::test]
    async fn who_has_asked_everything_hears_the_answer() {
        let (at, relaying) = relayed().await;
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"who am I\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.trim(), "127.77.0.6");
        relaying.abort();
    }

    #[test]
    fn a_task_is_shown_as_itself_and_the_nodes_network_as_the_node() {
        assert_eq!(shown_as(IpAddr::from([10, 9, 4, 17]), NODE), Ipv4Addr::new(127, 77, 4, 17));
        assert_eq!(shown_as(IpAddr::from([127, 0, 0, 1]), NODE), Ipv4Addr::new(127, 77, 0, 6));
        assert_eq!(source(IpAddr::from([127, 9, 9, 9])), IpAddr::from([127, 0, 0, 1]));
    }
}
