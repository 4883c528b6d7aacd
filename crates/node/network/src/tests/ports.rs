//! Each host port has one holder.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::*;

#[test]
fn of_many_that_want_one_port_one_gets_it() {
    const RIVALS: usize = 200;
    let host = Host::new();
    let net = host.open("one");
    let results = host.run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..RIVALS {
            let net = net.clone();
            tasks.spawn(async move { net.create_bridge(&format!("rival-{n}"), &[tcp(80, 8080)]).await });
        }
        tasks.join_all().await
    });
    let mut winners = 0;
    for result in results {
        match result {
            Ok(_) => winners += 1,
            Err(Error::PortInUse { port: 8080, protocol: Protocol::Tcp }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners, 1);
    let left = host.inventory("one");
    assert_eq!((left["ports"].len(), left["endpoints"].len(), left["netns"].len(), left["tasks"].len()), (1, 1, 1, 1));
}

#[test]
fn a_port_that_a_process_listens_on_is_refused_and_free_when_it_stops() {
    let host = Host::new();
    let net = host.open("one");
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let listener = TcpListener::bind((address, 8080)).expect("listen");
        let refused = host.run(net.create_bridge("web", &[tcp(80, 8080)]));
        assert!(matches!(refused, Err(Error::PortInUse { port: 8080, .. })), "{refused:?}");
        drop(listener);
        host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("free again");
        assert!(TcpListener::bind((address, 8080)).is_err(), "a task's port is taken for the host's processes too");
        host.run(net.delete("web")).expect("delete");
    }
    let socket = UdpSocket::bind(local(5353)).expect("bind");
    host.run(net.create_bridge("tcp", &[tcp(53, 5353)])).expect("the other protocol");
    let refused = host.run(net.create_bridge("udp", &[udp(53, 5353)]));
    assert!(matches!(refused, Err(Error::PortInUse { protocol: Protocol::Udp, .. })));
    drop(socket);
}

#[test]
fn connections_that_linger_after_a_server_do_not_hold_its_port() {
    let host = Host::new();
    let net = host.open("one");
    let listener = TcpListener::bind(local(8080)).expect("listen");
    let client = TcpStream::connect(local(8080)).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    // The server closes first, so its end stays in TIME_WAIT.
    drop((server, listener));
    drop(client);
    host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("create");
}

#[test]
fn dynamic_ports_are_never_given_twice_and_run_out() {
    let host = Host::new();
    let config = Config { dynamic_ports: 50_000..=50_009, ..host.config("one") };
    let net = host.open_with(config).expect("open");
    let _taken = TcpListener::bind(local(50_003)).expect("listen");
    let dynamic = PortMapping { container_port: 80, host_port: Some(0), protocol: Protocol::Tcp };
    let mut given = BTreeSet::new();
    for n in 0..3 {
        let task = host.run(net.create_bridge(&format!("task-{n}"), &[dynamic; 3])).expect("create");
        for binding in task.bindings {
            assert!(given.insert(binding.host_port), "{} twice", binding.host_port);
        }
    }
    assert!(!given.contains(&50_003));
    let refused = host.run(net.create_bridge("late", &[dynamic]));
    assert!(matches!(refused, Err(Error::PortsExhausted { .. })), "{refused:?}");
    host.run(net.delete("task-0")).expect("delete");
    // Two of the three that came free are enough for these, and a refused task keeps none.
    assert!(host.run(net.create_bridge("greedy", &[dynamic; 4])).is_err());
    host.run(net.create_bridge("modest", &[dynamic; 3])).expect("create");
}

#[test]
fn a_fixed_port_of_a_task_is_kept_from_its_dynamic_ones() {
    let host = Host::new();
    let config = Config { dynamic_ports: 50_000..=50_001, ..host.config("one") };
    let net = host.open_with(config).expect("open");
    let dynamic = PortMapping { container_port: 80, host_port: None, protocol: Protocol::Tcp };
    let task = host.run(net.create_bridge("web", &[dynamic, tcp(81, 50_000)])).expect("create");
    let ports: Vec<_> = task.bindings.iter().map(|binding| (binding.container_port, binding.host_port)).collect();
    assert_eq!(ports, [(80, 50_001), (81, 50_000)]);
}

#[test]
fn mappings_that_cannot_be_are_refused() {
    let host = Host::new();
    let net = host.open("one");
    let refused = host.run(net.create_bridge("web", &[tcp(0, 8080)]));
    assert!(matches!(refused, Err(Error::InvalidContainerPort)));
    let refused = host.run(net.create_bridge("web", &[tcp(80, 0); 101]));
    assert!(matches!(refused, Err(Error::TooManyPorts { count: 101, .. })));
    let refused = host.run(net.create_bridge("web", &[tcp(80, 8080), tcp(81, 8080)]));
    assert!(matches!(refused, Err(Error::PortInUse { port: 8080, .. })));
    let _free = TcpListener::bind(local(8080)).expect("a refused task holds nothing");
}

#[test]
fn two_installations_do_not_share_a_port() {
    let host = Host::new();
    let (one, two) = (host.open("one"), host.open("two"));
    host.run(one.create_bridge("web", &[tcp(80, 8080)])).expect("create");
    let refused = host.run(two.create_bridge("web", &[tcp(80, 8080)]));
    assert!(matches!(refused, Err(Error::PortInUse { port: 8080, .. })));
}
