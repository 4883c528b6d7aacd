//! Several nodes on one host: who reaches whom, and what is left.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::isolation::machine_beyond;
use super::*;
use crate::nft::Batch;
use crate::{Eni, Fleet, Mac, Publish, Seat, TaskNetwork, UPLINK};

/// What must not arrive is given this long.
const SILENCE: Duration = Duration::from_millis(300);

/// A node of a fleet, with its own threads.
struct Node {
    seat: Seat,
    netns: std::path::PathBuf,
    config: Config,
}

impl Host {
    fn fleet(&self) -> Fleet {
        let dir = self.dir.path().join("fleet");
        Fleet::open("one", &dir.join("state"), &dir.join("run")).expect("fleet")
    }

    fn node(&self, fleet: &mut Fleet, name: &str, slot: u8) -> Node {
        let seat = fleet.join(name, slot, Ipv4Addr::LOCALHOST).expect("join");
        let mut config = self.config(name);
        config.publish = Publish::All;
        config.subnet = Some(seat.subnet);
        config.uplink = Some(UPLINK.to_owned());
        Node { seat, netns: fleet.namespace(name), config }
    }
}

impl Node {
    /// Makes a task of the node's, with a network interface or with published ports.
    fn task(&self, id: &str, eni: bool, ports: &[PortMapping]) -> TaskNetwork {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                let net = NodeNetwork::open(self.config.clone()).await.expect("open");
                if eni {
                    net.create_awsvpc(id, interface(&net)).await.expect("create")
                } else {
                    net.create_bridge(id, ports).await.expect("create")
                }
            })
        };
        crate::within(&self.netns, work).expect("within")
    }
}

fn interface(net: &NodeNetwork) -> Eni {
    let (first, _) = net.eni_range();
    let ip = Ipv4Addr::from(u32::from(first) + 5);
    Eni { ip, prefix_len: net.subnet().prefix(), mac: Mac::of(ip), gateway: net.gateway() }
}

fn at(ip: Option<Ipv4Addr>, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip.expect("address"), port)
}

#[test]
fn network_interfaces_reach_one_another_on_all_nodes_by_their_own_addresses() {
    let host = Host::new();
    let first = host.open("one");
    let mut fleet = host.fleet();
    let (a, b) = (host.node(&mut fleet, "a", 1), host.node(&mut fleet, "b", 2));
    let at_home = host.run(first.create_awsvpc("home", interface(&first))).expect("create");
    let tasks = [at_home, a.task("t", true, &[]), b.task("t", true, &[])];
    for server in &tasks {
        serve_tcp(&server.netns_path, 8080);
        call_tcp(at(server.ip, 8080)).expect("from the host");
        for client in &tasks {
            let seen = within(&client.netns_path, || call_tcp(at(server.ip, 8080))).expect("from a task");
            assert_eq!(Some(seen), client.ip);
        }
    }
}

#[test]
fn two_nodes_publish_the_same_port_each_at_its_address() {
    let host = Host::new();
    let mut fleet = host.fleet();
    let nodes = [host.node(&mut fleet, "a", 1), host.node(&mut fleet, "b", 63)];
    let tasks: Vec<_> = nodes.iter().map(|node| node.task("web", false, &[tcp(80, 8080)])).collect();
    for (node, task) in nodes.iter().zip(&tasks) {
        serve_tcp(&task.netns_path, 80);
        let seen = call_tcp(SocketAddrV4::new(node.seat.address, 8080)).expect("from the host");
        assert_eq!(seen, node.seat.gateway);
    }
    let across = SocketAddrV4::new(nodes[1].seat.address, 8080);
    let seen = within(&tasks[0].netns_path, || call_tcp(across)).expect("from a task of the other node");
    assert_eq!(seen, nodes[0].seat.address);
}

#[test]
fn a_node_reaches_no_service_of_the_host_and_uses_no_other_address() {
    let host = Host::new();
    let mut fleet = host.fleet();
    let (a, b) = (host.node(&mut fleet, "a", 1), host.node(&mut fleet, "b", 2));
    let service = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).expect("listen");
    let to_host = SocketAddrV4::new(a.seat.gateway, 9000);
    let refused = crate::within(&a.netns, || TcpStream::connect_timeout(&to_host.into(), SILENCE)).expect("within");
    assert!(refused.is_err(), "a service of the host's answered");
    drop(service);

    let listener = within(&b.netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9001)).expect("bind"));
    listener.set_read_timeout(Some(ARRIVAL)).expect("timeout");
    let to_b = SocketAddrV4::new(b.seat.address, 9001);
    let send = |from: Ipv4Addr| {
        within(&a.netns, || UdpSocket::bind((from, 0)).expect("bind").send_to(b"x", to_b).expect("send"));
    };
    let arrived = || listener.recv_from(&mut [0; 8]).expect("a datagram arrives").1.ip();
    send(a.seat.address);
    assert_eq!(arrived(), a.seat.address);
    let stranger = Ipv4Addr::new(203, 0, 113, 7);
    within(&a.netns, || {
        let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
        route.transact(&[link::new_loopback_address(stranger)]).expect("address");
    });
    // On one way: the first to arrive would be the first that was sent.
    send(stranger);
    send(a.seat.address);
    assert_eq!(arrived(), a.seat.address, "a packet with a foreign source arrived");
}

#[test]
fn other_machines_are_reached_and_reach_nothing() {
    let host = Host::new();
    let (beyond, machine) = machine_beyond(&host, "198.18.0.0-16", Ipv4Addr::new(198, 18, 169, 254));
    let (_cloud, metadata) = machine_beyond(&host, "169.254.0.0-16", Ipv4Addr::new(169, 254, 169, 254));
    let mut fleet = host.fleet();
    let node = host.node(&mut fleet, "a", 1);
    let eni = node.task("eni", true, &[]);
    serve_tcp(&eni.netns_path, 8080);
    for netns in [&node.netns, &eni.netns_path] {
        let seen = within(netns, || call_tcp(machine)).expect("another machine");
        assert_eq!(seen, beyond.gateway(), "it sees the host's address");
        assert!(within(netns, || call_tcp(metadata)).is_err(), "the host's metadata service answered");
    }
    let outside = host.config("198.18.0.0-16").run_dir.join("netns/machine");
    for to in [at(eni.ip, 8080), SocketAddrV4::new(node.seat.address, 8080)] {
        let connect = || TcpStream::connect_timeout(&to.into(), SILENCE);
        let error = within(&outside, connect).expect_err("another machine reached a node");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "dropped, not merely unanswered");
    }
}

#[test]
fn an_address_of_the_hosts_is_the_nodes_own_within_it() {
    let host = Host::new();
    let mut fleet = host.fleet();
    let local = Ipv4Addr::new(192, 0, 2, 80);
    for _ in 0..2 {
        fleet.join("a", 1, local).expect("join");
    }
    let bound = within(&fleet.namespace("a"), || TcpListener::bind((local, 80)).map(drop));
    bound.expect("bind within the node");
    assert!(TcpListener::bind((local, 80)).is_err(), "it is none of this host's");
}

#[test]
fn joining_again_keeps_what_runs_and_repairs_what_is_missing() {
    let host = Host::new();
    let mut fleet = host.fleet();
    let node = host.node(&mut fleet, "a", 1);
    let task = node.task("t", true, &[]);
    serve_tcp(&task.netns_path, 8080);
    drop(fleet);
    let mut fleet = host.fleet();
    assert_eq!(host.node(&mut fleet, "a", 1).seat, node.seat);
    call_tcp(at(task.ip, 8080)).expect("adopted");
    let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
    let link = interfaces().into_iter().find(|name| name.contains('m')).expect("link");
    route.transact(&[link::delete(&link)]).expect("delete");
    host.node(&mut fleet, "a", 1);
    call_tcp(at(task.ip, 8080)).expect("repaired");
}

#[test]
fn what_somebody_flushes_of_the_hosts_part_is_mended() {
    let host = Host::new();
    let mut fleet = host.fleet();
    let node = host.node(&mut fleet, "a", 1);
    let task = node.task("web", false, &[tcp(80, 8080)]);
    serve_tcp(&task.netns_path, 80);
    let reached = || call_tcp(SocketAddrV4::new(node.seat.address, 8080)).expect("from the host");
    let table = format!("{}_nodes", crate::config::Names::new("one").table);
    let mut netfilter = Socket::open(NETLINK_NETFILTER).expect("socket");
    let rules = |socket: &mut Socket| crate::nft::rules(socket, Family::Ip, &table).expect("rules");
    let whole = rules(&mut netfilter);
    assert!(!fleet.mend().expect("mend") && !fleet.mend().expect("mend"));

    let mut batch = Batch::new(&table);
    batch.delete_table(Family::Ip);
    batch.commit(&mut netfilter).expect("delete the table");
    assert!(fleet.mend().expect("mend"));
    assert_eq!(rules(&mut netfilter), whole);
    assert!(!fleet.mend().expect("mend"));

    crate::namespace::sysctl("net/ipv4/ip_forward", "0").expect("set");
    assert!(fleet.mend().expect("mend") && !fleet.mend().expect("mend"));
    reached();
}

#[test]
fn what_leaves_is_gone() {
    let host = Host::new();
    let before = interfaces();
    let mut fleet = host.fleet();
    host.node(&mut fleet, "a", 1);
    let b = host.node(&mut fleet, "b", 2);
    fleet.sweep(&[("b", 2)]).expect("sweep");
    assert!(!fleet.namespace("a").exists() && fleet.namespace("b").exists());
    assert_eq!(interfaces().len(), before.len() + 1);
    let netns = b.netns.clone();
    fleet.leave("b", 2).expect("leave");
    fleet.leave("b", 2).expect("once more");
    fleet.dismantle().expect("dismantle");
    assert!(!netns.exists());
    assert_eq!(interfaces(), before);
    let mut netfilter = Socket::open(NETLINK_NETFILTER).expect("socket");
    assert!(nft::tables(&mut netfilter, Family::Ip).expect("tables").is_empty());
    let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
    assert!(link::routes(&mut route).expect("routes").iter().all(|known| known.subnet.prefix() != 16));
}

#[test]
fn two_installations_have_different_blocks() {
    let host = Host::new();
    let dir = host.dir.path();
    let one = Fleet::open("one", &dir.join("1"), &dir.join("r1")).expect("one");
    let two = Fleet::open("two", &dir.join("2"), &dir.join("r2")).expect("two");
    assert!(!one.seat(1).subnet.overlaps(two.seat(1).subnet));
    let again = Fleet::open("one", &dir.join("1"), &dir.join("r1")).expect("one again");
    assert_eq!(again.seat(1), one.seat(1));
}
