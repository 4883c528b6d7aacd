//! What is made is removed; nothing of it stays, whatever the order.

use super::*;
use crate::{Eni, Mac};

#[test]
fn a_deleted_task_leaves_nothing() {
    let host = Host::new();
    let net = host.open("one");
    let before = host.inventory("one");
    let eni = Eni {
        ip: net.eni_range().1,
        prefix_len: net.subnet().prefix(),
        mac: Mac([0x0a, 1, 2, 3, 4, 5]),
        gateway: net.gateway(),
    };
    host.run(net.create_bridge("bridge", &[tcp(80, 8080), udp(53, 5353)])).expect("create");
    host.run(net.create_awsvpc("awsvpc", eni)).expect("create");
    host.run(net.create_none("none")).expect("create");
    assert_eq!(net.list().len(), 3);
    assert_ne!(host.inventory("one"), before);
    for id in ["bridge", "awsvpc", "none", "bridge", "never-there"] {
        host.run(net.delete(id)).expect("delete");
    }
    assert_eq!(host.inventory("one"), before);
    assert_eq!(net.list(), []);
    assert_eq!(host.run(net.verify()).expect("verify"), []);
    host.run(net.create_awsvpc("again", eni)).expect("its address is free again");
}

#[test]
fn a_hundred_come_and_go_at_once_and_leave_nothing() {
    let host = Host::new();
    let net = host.open("one");
    let before = host.inventory("one");
    let dynamic = PortMapping { container_port: 80, host_port: None, protocol: Protocol::Tcp };
    let addresses = host.run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let net = net.clone();
            tasks.spawn(async move {
                let id = format!("task-{n}");
                let task = net.create_bridge(&id, &[dynamic]).await.expect("create");
                net.delete(&id).await.expect("delete");
                task.ip
            });
        }
        tasks.join_all().await
    });
    assert_eq!(addresses.len(), 100);
    assert_eq!(host.inventory("one"), before);
}

#[test]
fn a_task_has_one_network_and_a_proper_id() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_none("task")).expect("create");
    assert!(matches!(host.run(net.create_bridge("task", &[])), Err(Error::TaskExists { .. })));
    assert_eq!(net.get("task"), Some(task), "the refusal did not harm it");
    for id in ["", "../task", "a/b"] {
        assert!(matches!(host.run(net.create_none(id)), Err(Error::InvalidTaskId { .. })));
        assert!(matches!(host.run(net.delete(id)), Err(Error::InvalidTaskId { .. })));
    }
}

#[test]
fn an_interface_that_does_not_fit_the_node_is_refused() {
    let host = Host::new();
    let net = host.open("one");
    let good = Eni {
        ip: net.eni_range().0,
        prefix_len: net.subnet().prefix(),
        mac: Mac([0x0a, 0, 0, 0, 0, 1]),
        gateway: net.gateway(),
    };
    let bad = [
        Eni { ip: net.gateway(), ..good },
        Eni { ip: Ipv4Addr::new(8, 8, 8, 8), ..good },
        Eni { prefix_len: 24, ..good },
        Eni { gateway: net.eni_range().1, ..good },
        Eni { mac: Mac([0x01, 0, 0, 0, 0, 1]), ..good },
    ];
    for eni in bad {
        let refused = host.run(net.create_awsvpc("task", eni));
        assert!(matches!(refused, Err(Error::InvalidEni { .. })), "{eni:?}: {refused:?}");
    }
    host.run(net.create_awsvpc("task", good)).expect("create");
    assert!(matches!(host.run(net.create_awsvpc("twin", good)), Err(Error::AddressInUse { .. })));
}

#[test]
fn a_creation_that_fails_midway_leaves_nothing() {
    let host = Host::new();
    let net = host.open("one");
    let before = host.inventory("one");
    // In the way of each step in turn: the namespace file, the interface's name, the firewall's element.
    let blocked = host.config("one").run_dir.join("netns/blocked");
    std::fs::create_dir(&blocked).expect("directory");
    assert!(host.run(net.create_bridge("blocked", &[tcp(80, 8080)])).is_err());
    std::fs::remove_dir(&blocked).expect("directory");
    host.run(net.delete("blocked")).expect("delete");
    assert_eq!(host.inventory("one"), before);

    let mut route = Socket::open(NETLINK_ROUTE).expect("socket");
    route.transact(&[link::delete(&crate::config::Names::new("one").bridge)]).expect("delete the bridge");
    assert!(host.run(net.create_bridge("detached", &[tcp(80, 8080)])).is_err());
    assert_eq!(host.run(net.repair()).expect("repair"), []);
    assert_eq!(host.inventory("one"), before);
    host.run(net.create_bridge("whole", &[tcp(80, 8080)])).expect("nothing is held any more");
}

#[test]
fn a_network_that_is_dismantled_leaves_no_directory_but_what_is_not_its_own() {
    let host = Host::new();
    let run_dir = host.config("one").run_dir;
    let net = host.open("one");
    host.run(net.create_none("task")).expect("create");
    host.run(net.dismantle()).expect("dismantle");
    assert!(!run_dir.exists());
    drop(net);

    let net = host.open("one");
    assert!(matches!(host.open_with(host.config("one")), Err(Error::AlreadyOpen { .. })));
    std::fs::write(run_dir.join("tasks/foreign"), "").expect("file");
    host.run(net.dismantle()).expect("dismantle");
    assert!(run_dir.join("tasks/foreign").exists());
}

#[test]
fn installations_live_side_by_side_and_go_alone() {
    let host = Host::new();
    let without = interfaces();
    let (one, two) = (host.open("one"), host.open("two"));
    assert!(!one.subnet().overlaps(two.subnet()));
    let dynamic = PortMapping { container_port: 80, host_port: None, protocol: Protocol::Tcp };
    let first = host.run(one.create_bridge("web", &[dynamic])).expect("create");
    let second = host.run(two.create_bridge("web", &[dynamic])).expect("create");
    serve_tcp(&first.netns_path, 80);
    serve_tcp(&second.netns_path, 80);
    assert_ne!(first.bindings, second.bindings);
    call_tcp(local(first.bindings[0].host_port)).expect("first");
    host.run(one.dismantle()).expect("dismantle");
    call_tcp(local(second.bindings[0].host_port)).expect("second goes on");
    assert!(call_tcp(local(first.bindings[0].host_port)).is_err());
    host.run(two.dismantle()).expect("dismantle");
    assert_eq!(interfaces(), without);
}

#[test]
fn an_installation_is_open_once() {
    let host = Host::new();
    let net = host.open("one");
    assert!(matches!(host.open_with(host.config("one")), Err(Error::AlreadyOpen { .. })));
    let subnet = net.subnet();
    drop(net);
    assert_eq!(host.open("one").subnet(), subnet);
}

#[test]
fn the_subnet_is_as_configured_or_refused() {
    let host = Host::new();
    let subnet = "10.9.8.0/24".parse().expect("subnet");
    let net = host.open_with(Config { subnet: Some(subnet), ..host.config("one") }).expect("open");
    assert_eq!(net.subnet(), subnet);
    let refused = host.open_with(Config { subnet: Some(subnet), ..host.config("two") });
    assert!(matches!(refused, Err(Error::SubnetConflict { .. })));
    drop(net);
    let other = "10.9.9.0/24".parse().expect("subnet");
    let refused = host.open_with(Config { subnet: Some(other), ..host.config("one") });
    assert!(matches!(refused, Err(Error::SubnetConflict { .. })), "the bridge is there already");
}
