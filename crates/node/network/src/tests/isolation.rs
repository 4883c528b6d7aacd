//! What tasks cannot do. Each refusal has its control: the same packet, but for the one thing that is forbidden, arrives.

use std::os::fd::AsRawFd as _;

use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket};

use super::*;
use crate::{Audience, HostService, Mac, TaskNetwork};

/// An Ethernet frame with a UDP datagram (its checksum left out, as IPv4 allows).
struct Datagram {
    mac: Mac,
    gateway_mac: Mac,
    from: Ipv4Addr,
    to: SocketAddrV4,
    content: u8,
}

impl Datagram {
    fn send(&self, netns: &Path) {
        let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
        ip.extend(self.from.octets());
        ip.extend(self.to.ip().octets());
        let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("two carries do not occur here");
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let [high, low] = self.to.port().to_be_bytes();
        let udp = [0x30, 0x39, high, low, 0, 9, 0, 0, self.content];
        let frame = [&self.gateway_mac.0[..], &self.mac.0, &[0x08, 0x00], &ip, &udp].concat();
        within(netns, || {
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("packet socket");
            let index = nix::net::if_::if_nametoindex("eth0").expect("eth0");
            let address = libc::sockaddr_ll {
                sll_family: u16::try_from(libc::AF_PACKET).expect("family"),
                sll_protocol: 0x0800u16.to_be(),
                sll_ifindex: index.cast_signed(),
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 0,
                sll_addr: [0; 8],
            };
            let length = libc::socklen_t::try_from(size_of_val(&address)).expect("length");
            // SAFETY: the pointer and the length are those of a sockaddr_ll, whose family says so.
            let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.expect("address");
            sendto(fd.as_raw_fd(), &frame, &address, MsgFlags::empty()).expect("send");
        });
    }
}

/// A host with a task that may reach one UDP service of the host.
struct Scene {
    host: Host,
    net: NodeNetwork,
    task: TaskNetwork,
    service: UdpSocket,
    honest: Datagram,
}

fn scene() -> Scene {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("task", &[])).expect("create");
    let service = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind");
    service.set_read_timeout(Some(ARRIVAL)).expect("timeout");
    let address = SocketAddrV4::new(net.gateway(), service.local_addr().expect("address").port());
    // Offered on the loopback address: so the input chain lets it through, and the guard alone stops a direct call.
    let offer =
        HostService { protocol: Protocol::Udp, address, target: local(address.port()), audience: Audience::All };
    host.run(net.offer(offer)).expect("offer");
    let ip = task.ip.expect("address");
    let honest =
        Datagram { mac: Mac::of(ip), gateway_mac: Mac::of(net.gateway()), from: ip, to: address, content: b'+' };
    Scene { host, net, task, service, honest }
}

/// Sends the forbidden datagram, then the honest one on the same way: the first to arrive must be the honest one.
fn assert_stopped(scene: &Scene, forbidden: &Datagram) {
    forbidden.send(&scene.task.netns_path);
    scene.honest.send(&scene.task.netns_path);
    let mut content = [0; 1];
    scene.service.recv_from(&mut content).expect("the honest datagram arrives");
    assert_eq!(content[0], b'+', "the forbidden datagram arrived");
}

#[test]
fn a_task_cannot_address_the_loopback_network_of_the_host() {
    let scene = scene();
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, scene.honest.to.port());
    assert_stopped(&scene, &Datagram { to, content: b'-', ..scene.honest });
}

#[test]
fn a_task_cannot_take_the_address_of_another() {
    let scene = scene();
    let other = scene.host.run(scene.net.create_bridge("other", &[])).expect("create").ip.expect("address");
    assert_stopped(&scene, &Datagram { from: other, content: b'-', ..scene.honest });
    assert_stopped(&scene, &Datagram { mac: Mac::of(other), content: b'-', ..scene.honest });
    assert_stopped(&scene, &Datagram { from: Ipv4Addr::LOCALHOST, content: b'-', ..scene.honest });
}

#[test]
fn a_task_reaches_no_service_of_the_host_that_was_not_offered() {
    let scene = scene();
    let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("listen");
    let port = everywhere.local_addr().expect("address").port();
    let other = scene.host.open("other").gateway();
    for address in [scene.net.gateway(), other] {
        let to = SocketAddrV4::new(address, port);
        TcpStream::connect_timeout(&to.into(), ARRIVAL).expect("the host itself reaches it");
        let refused = within(&scene.task.netns_path, || TcpStream::connect_timeout(&to.into(), ARRIVAL));
        let kind = refused.expect_err("denied").raw_os_error();
        assert_eq!(kind, Some(libc::EHOSTUNREACH), "refused at once, not left to time out");
    }
}

/// Another machine, with a TCP server on port 80: a task of a second installation whose firewall is taken away.
pub(super) fn machine_beyond(host: &Host, subnet: &str, ip: Ipv4Addr) -> (NodeNetwork, SocketAddrV4) {
    let config = Config { subnet: Some(subnet.replace('-', "/").parse().expect("subnet")), ..host.config(subnet) };
    let config = Config { installation: format!("beyond {ip}"), ..config };
    let table = config.names().expect("names").table;
    let net = host.open_with(config).expect("open");
    let gateway = net.gateway();
    let eni = crate::Eni { ip, prefix_len: net.subnet().prefix(), mac: Mac([0x0a, 0, 0, 0, 0, 9]), gateway };
    let machine = host.run(net.create_awsvpc("machine", eni)).expect("create");
    let mut batch = nft::Batch::new(&table);
    batch.delete_table(Family::Ip);
    batch.commit(&mut Socket::open(NETLINK_NETFILTER).expect("socket")).expect("delete the table");
    serve_tcp(&machine.netns_path, 80);
    (net, SocketAddrV4::new(ip, 80))
}

#[test]
fn a_task_reaches_other_machines_but_not_the_instance_metadata_service() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("task", &[])).expect("create");
    let (beyond, machine) = machine_beyond(&host, "198.18.0.0-16", Ipv4Addr::new(198, 18, 169, 254));
    let (_cloud, metadata) = machine_beyond(&host, "169.254.0.0-16", Ipv4Addr::new(169, 254, 169, 254));
    let seen = within(&task.netns_path, || call_tcp(machine)).expect("another machine");
    assert_eq!(seen, beyond.gateway(), "it sees the host's address, not the task's");
    call_tcp(metadata).expect("the host reaches the metadata service");
    let refused = within(&task.netns_path, || call_tcp(metadata));
    assert_eq!(refused.expect_err("denied").raw_os_error(), Some(libc::EHOSTUNREACH));
}

#[test]
fn tasks_of_two_installations_do_not_reach_each_other() {
    let host = Host::new();
    let (one, two) = (host.open("one"), host.open("two"));
    let client = host.run(one.create_bridge("client", &[])).expect("create");
    let neighbour = host.run(two.create_bridge("neighbour", &[])).expect("create");
    let server = host.run(two.create_bridge("server", &[tcp(80, 8080)])).expect("create");
    serve_tcp(&server.netns_path, 80);
    let direct = SocketAddrV4::new(server.ip.expect("address"), 80);
    within(&neighbour.netns_path, || call_tcp(direct)).expect("within one installation");
    let connect = || TcpStream::connect_timeout(&direct.into(), Duration::from_millis(300));
    assert!(within(&client.netns_path, connect).is_err());
    let published = SocketAddrV4::new(two.gateway(), 8080);
    assert!(within(&client.netns_path, || call_tcp(published)).is_err(), "published on the loopback address alone");
}
