//! The network as its users see it, with real namespaces, interfaces and packets.
//!
//! Each test plays in a network and mount namespace of its own that stands for the host, so tests run side by side and
//! leave nothing behind, whatever becomes of them. Must run as root.

mod fleet;
mod isolation;
mod lifecycle;
mod ports;
mod recovery;
mod traffic;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::firewall::Element;
use crate::netlink::Socket;
use crate::nft::{self, Family};
use crate::{Config, Error, NodeNetwork, PortMapping, Protocol, link};

/// So long may a packet take that must arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A machine of its own: namespaces, directories, and a runtime whose threads are all within.
struct Host {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Host {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces of our own");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).expect("private");
        let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
        route.transact(&[link::loopback_up()]).expect("loopback up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        Self { dir: tempfile::tempdir().expect("directory"), runtime }
    }

    fn config(&self, installation: &str) -> Config {
        let dir = self.dir.path().join(installation);
        Config::new(installation, dir.join("state"), dir.join("run"))
    }

    fn open(&self, installation: &str) -> NodeNetwork {
        self.open_with(self.config(installation)).expect("open")
    }

    fn open_with(&self, config: Config) -> Result<NodeNetwork, Error> {
        self.runtime.block_on(NodeNetwork::open(config))
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// All that tasks could leave behind, in words.
    fn inventory(&self, installation: &str) -> BTreeMap<String, Vec<String>> {
        let names = crate::config::Names::new(installation);
        let mut netfilter = Socket::open(NETLINK_NETFILTER).expect("socket");
        let mut found = BTreeMap::new();
        let sets = ["ports", "services", "reserved", "clients", "listeners"].map(|set| (Family::Ip, set));
        for (family, set) in sets.into_iter().chain([(Family::Bridge, "endpoints")]) {
            let elements = nft::elements(&mut netfilter, family, &names.table, set).expect("elements");
            let mut elements: Vec<_> =
                elements.iter().map(|(key, data)| format!("{:?}", Element::read(set, key, data))).collect();
            elements.sort();
            found.insert(set.to_owned(), elements);
        }
        found.insert("links".into(), interfaces());
        for directory in ["netns", "tasks"] {
            let path = self.config(installation).run_dir.join(directory);
            let mut entries: Vec<_> = std::fs::read_dir(path)
                .expect("directory")
                .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
                .collect();
            entries.sort();
            found.insert(directory.into(), entries);
        }
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
        let mounts = mounts.lines().filter(|line| line.contains(&*self.dir.path().to_string_lossy()));
        found.insert("mounts".into(), mounts.map(str::to_owned).collect());
        found
    }
}

impl Drop for Host {
    /// Namespaces that a test leaves are mounted in the directory, which could not be removed else.
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for path in paths.filter(|path| Path::new(path).starts_with(self.dir.path())) {
            umount2(path, MntFlags::MNT_DETACH).ok();
        }
    }
}

fn interfaces() -> Vec<String> {
    let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
    let mut names: Vec<_> = link::links(&mut route).expect("links").into_iter().map(|link| link.name).collect();
    names.sort();
    names
}

/// Runs `work` in a thread within the namespace; sockets made there stay of that namespace.
fn within<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let enter = || {
            setns(File::open(netns).expect("namespace file"), CloneFlags::CLONE_NEWNET).expect("enter");
            work()
        };
        scope.spawn(enter).join().expect("work within the namespace")
    })
}

/// Answers every TCP connection with what it sends, preceded by the peer's address; for as long as the test runs.
fn serve_tcp(netns: &Path, port: u16) {
    let listener = within(netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("listen"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(SocketAddr::V4(peer)) = stream.peer_addr() else { return };
            let mut buffer = [0; 4];
            if stream.read_exact(&mut buffer).is_ok() {
                stream.write_all(&[&peer.ip().octets()[..], &buffer].concat()).ok();
            }
        }
    });
}

/// Answers every datagram with the peer's address and its content.
fn serve_udp(netns: &Path, port: u16) {
    let socket = within(netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, SocketAddr::V4(peer))) = socket.recv_from(&mut buffer) {
            socket.send_to(&[&peer.ip().octets()[..], &buffer[..length]].concat(), peer).ok();
        }
    });
}

/// Speaks to [`serve_tcp`] and returns the address that the server saw.
fn call_tcp(to: SocketAddrV4) -> std::io::Result<Ipv4Addr> {
    let mut stream = TcpStream::connect_timeout(&to.into(), ARRIVAL)?;
    stream.set_read_timeout(Some(ARRIVAL))?;
    stream.write_all(b"ping")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer[4..], b"ping");
    Ok(Ipv4Addr::new(answer[0], answer[1], answer[2], answer[3]))
}

/// Speaks to [`serve_udp`] and returns the address that the server saw.
fn call_udp(socket: &UdpSocket, to: SocketAddrV4) -> std::io::Result<Ipv4Addr> {
    socket.set_read_timeout(Some(ARRIVAL))?;
    socket.send_to(b"ping", to)?;
    let mut answer = [0; 8];
    let (length, from) = socket.recv_from(&mut answer)?;
    assert_eq!((length, from), (8, to.into()));
    assert_eq!(&answer[4..], b"ping");
    Ok(Ipv4Addr::new(answer[0], answer[1], answer[2], answer[3]))
}

fn tcp(container_port: u16, host_port: u16) -> PortMapping {
    PortMapping { container_port, host_port: Some(host_port), protocol: Protocol::Tcp }
}

fn udp(container_port: u16, host_port: u16) -> PortMapping {
    PortMapping { container_port, host_port: Some(host_port), protocol: Protocol::Udp }
}

fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}
