//! Packets get where they should.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use super::*;
use crate::{Audience, Eni, HostService, Mac, Publish, TaskNetwork};

#[test]
fn a_dynamic_port_on_127_0_0_1_reaches_the_task() {
    let host = Host::new();
    let net = host.open("one");
    let mapping = PortMapping { container_port: 8080, host_port: None, protocol: Protocol::Tcp };
    let task = host.run(net.create_bridge("web", &[mapping])).expect("create");
    serve_tcp(&task.netns_path, 8080);
    let binding = task.bindings[0];
    assert!((49_153..=65_535).contains(&binding.host_port));
    assert_eq!(binding.container_port, 8080);
    for _ in 0..3 {
        assert_eq!(call_tcp(local(binding.host_port)).expect("call"), net.gateway());
    }
}

#[test]
fn a_fixed_port_and_udp_reach_the_task() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("dns", &[udp(53, 5353), tcp(53, 5353)])).expect("create");
    serve_tcp(&task.netns_path, 53);
    serve_udp(&task.netns_path, 53);
    call_tcp(local(5353)).expect("tcp");
    let socket = UdpSocket::bind(local(0)).expect("bind");
    call_udp(&socket, local(5353)).expect("udp");
    // Twice, from one socket: the second follows the first's connection entry.
    call_udp(&socket, local(5353)).expect("udp");
}

#[test]
fn another_task_reaches_a_published_port_by_the_gateway_and_so_does_the_task_itself() {
    let host = Host::new();
    let net = host.open("one");
    let server = host.run(net.create_bridge("server", &[tcp(8080, 18080)])).expect("create");
    let client = host.run(net.create_bridge("client", &[])).expect("create");
    serve_tcp(&server.netns_path, 8080);
    let published = SocketAddrV4::new(net.gateway(), 18080);
    for netns in [&client.netns_path, &server.netns_path] {
        within(netns, || call_tcp(published)).expect("by the gateway");
    }
    call_tcp(published).expect("by the gateway from the host");
}

#[test]
fn both_ways_of_bridge_netfilter_carry_published_ports() {
    let host = Host::new();
    let net = host.open("one");
    let server = host.run(net.create_bridge("server", &[tcp(8080, 18080)])).expect("create");
    let client = host.run(net.create_bridge("client", &[])).expect("create");
    serve_tcp(&server.netns_path, 8080);
    for setting in ["0", "1"] {
        // Where the module is not there, its parameter is not either, and there is but one way.
        if crate::namespace::read_sysctl("net/bridge/bridge-nf-call-iptables").is_ok() {
            crate::namespace::sysctl("net/bridge/bridge-nf-call-iptables", setting).expect("set");
        }
        within(&client.netns_path, || call_tcp(SocketAddrV4::new(net.gateway(), 18080))).expect("by the gateway");
        let direct = SocketAddrV4::new(server.ip.expect("address"), 8080);
        assert_eq!(within(&client.netns_path, || call_tcp(direct)).expect("direct"), client.ip.expect("address"));
    }
}

#[test]
fn awsvpc_tasks_have_their_address_and_mac_and_reach_each_other() {
    let host = Host::new();
    let net = host.open("one");
    let (first, _) = net.eni_range();
    let eni = |n: u8| Eni {
        ip: (u32::from(first) + u32::from(n)).into(),
        prefix_len: net.subnet().prefix(),
        mac: Mac([0x0a, 0, 0, 0, 0, n]),
        gateway: net.gateway(),
    };
    let one = host.run(net.create_awsvpc("one", eni(1))).expect("create");
    let two = host.run(net.create_awsvpc("two", eni(2))).expect("create");
    assert_eq!(one.ip, Some(eni(1).ip));
    serve_tcp(&one.netns_path, 80);
    let seen = within(&two.netns_path, || call_tcp(SocketAddrV4::new(eni(1).ip, 80))).expect("task to task");
    assert_eq!(seen, eni(2).ip, "no translation between tasks");
    let seen = call_tcp(SocketAddrV4::new(eni(1).ip, 80)).expect("host to task");
    assert_eq!(seen, net.gateway());
    let mac = within(&one.netns_path, || {
        let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
        link::links(&mut route).expect("links").into_iter().find(|link| link.name == "eth0").expect("eth0");
        std::fs::read_to_string("/proc/thread-self/net/arp").expect("arp")
    });
    assert!(mac.contains(&Mac::of(net.gateway()).to_string()), "the gateway's MAC is known to the task: {mac}");
}

#[test]
fn none_has_the_loopback_interface_alone() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_none("quiet")).expect("create");
    assert_eq!((task.ip, task.bindings.len()), (None, 0));
    within(&task.netns_path, || {
        let listener = TcpListener::bind(local(0)).expect("the loopback interface is up");
        assert!(!interfaces().contains(&"eth0".to_owned()));
        let to = listener.local_addr().expect("address");
        std::net::TcpStream::connect(to).expect("connect");
        assert!(std::net::TcpStream::connect(SocketAddrV4::new(net.gateway(), 80)).is_err());
    });
}

#[test]
fn the_namespace_has_the_parameters_that_containers_expect() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("web", &[])).expect("create");
    let parameter =
        |name: &'static str| within(&task.netns_path, || crate::namespace::read_sysctl(name).expect("read"));
    assert_eq!(parameter("net/ipv4/ip_unprivileged_port_start"), "0");
    assert_eq!(parameter("net/ipv4/ping_group_range"), "0\t2147483647");
    assert_eq!(parameter("net/ipv6/conf/eth0/disable_ipv6"), "1");
    assert_eq!(parameter("net/ipv6/conf/lo/disable_ipv6"), "0");
}

#[test]
fn published_on_all_addresses_if_asked() {
    let host = Host::new();
    let net = host.open_with(Config { publish: Publish::All, ..host.config("all") }).expect("open");
    let outside = host.open("outside");
    let server = host.run(net.create_bridge("server", &[tcp(8080, 18080)])).expect("create");
    serve_tcp(&server.netns_path, 8080);
    // The other installation's gateway is an address of the host like any other.
    for address in [Ipv4Addr::LOCALHOST, net.gateway(), outside.gateway()] {
        call_tcp(SocketAddrV4::new(address, 18080)).expect("published");
    }
    // And from beyond the bridge, as another machine would come.
    let neighbour = host.run(outside.create_bridge("neighbour", &[])).expect("create");
    within(&neighbour.netns_path, || call_tcp(SocketAddrV4::new(outside.gateway(), 18080))).expect("from outside");
}

/// Answers on the host's loopback; gives where.
fn serve_on_host(host: &Host) -> SocketAddrV4 {
    let listener = TcpListener::bind(local(0)).expect("listen");
    let target = local(listener.local_addr().expect("address").port());
    drop(listener);
    let host_netns = host.dir.path().join("host");
    std::fs::write(&host_netns, "").expect("file");
    let here = Path::new("/proc/thread-self/ns/net");
    mount(Some(here), &host_netns, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("mount");
    serve_tcp(&host_netns, target.port());
    target
}

#[test]
fn an_offered_service_is_reached_at_its_own_address() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("task", &[])).expect("create");
    let target = serve_on_host(&host);
    let address = SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 80);
    let service = HostService { protocol: Protocol::Tcp, address, target, audience: Audience::All };
    let call = || within(&task.netns_path, || call_tcp(address));
    assert!(call().is_err(), "not offered yet");
    host.run(net.offer(service)).expect("offer");
    assert_eq!(call().expect("offered"), task.ip.expect("address"), "the service sees which task calls");
    host.run(net.withdraw(service)).expect("withdraw");
    assert!(call().is_err(), "withdrawn");
}

#[test]
fn a_service_for_clients_is_reached_by_clients_alone() {
    let host = Host::new();
    let net = host.open("one");
    let target = serve_on_host(&host);
    let address = SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 4566);
    let service = HostService { protocol: Protocol::Tcp, address, target, audience: Audience::Clients };
    host.run(net.offer(service)).expect("offer");
    let [client, stranger] = ["client", "stranger"].map(|id| host.run(net.create_bridge(id, &[])).expect("create"));
    let call = |task: &TaskNetwork| within(&task.netns_path, || call_tcp(address)).ok();
    assert_eq!(call(&client), None, "nobody is a client by birth");
    for _ in 0..2 {
        host.run(net.make_client("client")).expect("make it a client");
    }
    assert_eq!((call(&client), call(&stranger)), (client.ip, None));
    assert_eq!(host.run(net.verify()).expect("verify"), [], "the element is one that is expected");
    // Whoever opens the network next knows it still.
    drop(net);
    let net = host.open("one");
    host.run(net.adopt(["client", "stranger"].map(str::to_owned))).expect("adopt");
    host.run(net.offer(service)).expect("offer");
    assert_eq!((call(&client), call(&stranger)), (client.ip, None));
    // The next task with the address is no client.
    host.run(net.delete("client")).expect("delete");
    assert!(host.inventory("one")["clients"].is_empty());
    host.run(net.make_client("client")).expect("a task that is gone has nothing to be let in by");
}

#[test]
fn a_udp_client_follows_its_port_to_the_next_task() {
    let host = Host::new();
    let net = host.open("one");
    let socket = UdpSocket::bind(local(0)).expect("bind");
    // Too early: nobody has the port yet.
    socket.send_to(b"ping", local(5353)).expect("send");
    for id in ["first", "second"] {
        let task = host.run(net.create_bridge(id, &[udp(53, 5353)])).expect("create");
        serve_udp(&task.netns_path, 53);
        call_udp(&socket, local(5353)).expect(id);
        host.run(net.delete(id)).expect("delete");
    }
}
