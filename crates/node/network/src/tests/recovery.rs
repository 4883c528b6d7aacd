//! The agent dies and comes back; somebody flushes the firewall.

use super::*;
use crate::engine::{Adoption, Fault};
use crate::nft::Batch;

#[test]
fn a_new_agent_keeps_known_tasks_and_removes_the_others() {
    let host = Host::new();
    let net = host.open("one");
    let before = host.inventory("one");
    let kept = host.run(net.create_bridge("kept", &[tcp(80, 8080)])).expect("create");
    let dropped = host.run(net.create_bridge("dropped", &[tcp(80, 8081)])).expect("create");
    serve_tcp(&kept.netns_path, 80);
    // As after kill -9: sockets and memory are gone, the kernel's state stays.
    drop(net);
    call_tcp(local(8080)).expect("traffic goes on without an agent");

    let net = host.open("one");
    let adoption = host.run(net.adopt(["kept".to_owned(), "lost".to_owned()])).expect("adopt");
    let expected =
        Adoption { kept: vec![kept.clone()], missing: vec!["lost".into()], removed: vec![dropped.task_id.clone()] };
    assert_eq!(adoption, expected);
    call_tcp(local(8080)).expect("still");
    assert!(matches!(host.run(net.create_bridge("new", &[tcp(80, 8080)])), Err(Error::PortInUse { .. })));
    let new = host.run(net.create_bridge("new", &[tcp(80, 8081)])).expect("the dropped task's port is free");
    assert_ne!(new.ip, kept.ip);
    for id in ["kept", "new"] {
        host.run(net.delete(id)).expect("delete");
    }
    assert_eq!(host.inventory("one"), before);
}

#[test]
fn an_unfinished_creation_is_swept_away() {
    let host = Host::new();
    let net = host.open("one");
    let before = host.inventory("one");
    host.run(net.create_bridge("half", &[tcp(80, 8080)])).expect("create");
    host.run(net.create_bridge("torn", &[tcp(80, 8081)])).expect("create");
    host.run(net.create_bridge("gone", &[tcp(80, 8082)])).expect("create");
    host.run(net.create_none("empty")).expect("create");
    drop(net);
    // A crash before the end, a record cut short, no record at all, a namespace unmounted by a reboot.
    let run_dir = host.config("one").run_dir;
    let record = run_dir.join("tasks/half.json");
    let text = std::fs::read_to_string(&record).expect("read");
    std::fs::write(&record, text.replace("\"ready\":true", "\"ready\":false")).expect("write");
    std::fs::write(run_dir.join("tasks/torn.json"), "{").expect("write");
    std::fs::remove_file(run_dir.join("tasks/gone.json")).expect("remove");
    nix::mount::umount(&run_dir.join("netns/empty")).expect("unmount");

    let net = host.open("one");
    assert_eq!(net.list().iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(), ["empty"]);
    let known = ["half", "torn", "gone", "empty"].map(str::to_owned);
    let adoption = host.run(net.adopt(known)).expect("adopt");
    assert_eq!(adoption.kept, []);
    assert_eq!(adoption.missing, ["empty", "gone", "half", "torn"]);
    assert_eq!(host.inventory("one"), before);
    host.run(net.create_bridge("half", &[tcp(80, 8080), tcp(81, 8081), tcp(82, 8082)])).expect("all is free");
}

#[test]
fn a_port_that_a_process_took_meanwhile_stays_with_the_task() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("create");
    serve_tcp(&task.netns_path, 80);
    drop(net);
    let _usurper = TcpListener::bind(local(8080)).expect("listen");
    let net = host.open("one");
    host.run(net.adopt(["web".to_owned()])).expect("adopt");
    call_tcp(local(8080)).expect("the task answers");
    host.run(net.delete("web")).expect("delete");
    let refused = host.run(net.create_bridge("next", &[tcp(80, 8080)]));
    assert!(matches!(refused, Err(Error::PortInUse { .. })));
}

#[test]
fn damage_is_found_and_repaired() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("create");
    serve_tcp(&task.netns_path, 80);
    assert_eq!(host.run(net.verify()).expect("verify"), []);
    let whole = host.inventory("one");
    let names = crate::config::Names::new("one");
    let mut netfilter = Socket::open(NETLINK_NETFILTER).expect("socket");
    let mut route = Socket::open(NETLINK_ROUTE).expect("socket");

    let faults = || host.run(net.verify()).expect("verify");
    let repaired = || {
        assert_eq!(host.run(net.repair()).expect("repair"), []);
        assert_eq!(host.inventory("one"), whole);
        call_tcp(local(8080)).expect("traffic flows again");
    };

    for family in [Family::Ip, Family::Bridge] {
        let mut batch = Batch::new(&names.table);
        batch.delete_table(family);
        batch.commit(&mut netfilter).expect("delete the table");
        assert_eq!(faults(), [Fault::Rules]);
        repaired();
    }

    let mut batch = Batch::new(&names.table);
    let port = Element::Port {
        protocol: Protocol::Tcp,
        host_port: 8080,
        task: SocketAddrV4::new(task.ip.expect("address"), 80),
    };
    batch.delete_element(Family::Ip, "ports", &port.key());
    let foreign = Element::Port { protocol: Protocol::Udp, host_port: 1, task: local(1) };
    batch.add_element(Family::Ip, "ports", &foreign.key(), foreign.data().as_deref());
    batch.commit(&mut netfilter).expect("commit");
    assert_eq!(faults(), [Fault::Elements(2)]);
    repaired();

    crate::namespace::sysctl("net/ipv4/ip_forward", "0").expect("set");
    assert_eq!(faults(), [Fault::Parameter("net/ipv4/ip_forward".into())]);
    repaired();

    route.transact(&[link::delete(&names.bridge)]).expect("delete the bridge");
    let found = faults();
    assert!(found.contains(&Fault::Bridge) && found.contains(&Fault::Detached("web".into())), "{found:?}");
    repaired();

    nix::mount::umount(&task.netns_path).expect("unmount");
    assert_eq!(host.run(net.repair()).expect("repair"), [Fault::Lost("web".into())]);
    host.run(net.delete("web")).expect("delete");
    assert_eq!(faults(), []);
}

#[test]
fn what_somebody_flushes_is_mended_and_what_is_whole_is_left_alone() {
    let host = Host::new();
    let net = host.open("one");
    let task = host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("create");
    serve_tcp(&task.netns_path, 80);
    let whole = host.inventory("one");
    let names = crate::config::Names::new("one");
    let mut netfilter = Socket::open(NETLINK_NETFILTER).expect("socket");
    let mended = || host.run(net.mend()).expect("mend");
    for _ in 0..2 {
        assert_eq!(mended(), []);
        let before = crate::nft::generation(&mut netfilter).expect("generation");
        assert_eq!(mended(), []);
        assert_eq!(crate::nft::generation(&mut netfilter).expect("generation"), before);

        let mut batch = Batch::new(&names.table);
        batch.delete_table(Family::Ip);
        batch.commit(&mut netfilter).expect("delete the table");
        assert_eq!(mended(), [Fault::Rules]);
        assert_eq!(host.inventory("one"), whole);
        call_tcp(local(8080)).expect("traffic flows again");

        crate::namespace::sysctl("net/ipv4/ip_forward", "0").expect("set");
        assert_eq!(mended(), [Fault::Parameter("net/ipv4/ip_forward".into())]);
    }
    nix::mount::umount(&task.netns_path).expect("unmount");
    let mut batch = Batch::new(&names.table);
    batch.delete_table(Family::Ip);
    batch.commit(&mut netfilter).expect("delete the table");
    assert_eq!(mended(), [Fault::Rules, Fault::Lost("web".into())]);
    assert_eq!(mended(), [Fault::Lost("web".into())]);
    assert_eq!(mended(), [], "what is beyond repair is told once");
}

#[test]
fn rules_of_another_version_are_replaced_when_opened() {
    let host = Host::new();
    let net = host.open("one");
    host.run(net.create_bridge("web", &[tcp(80, 8080)])).expect("create");
    drop(net);
    let all = Config { publish: crate::Publish::All, ..host.config("one") };
    let net = host.open_with(all).expect("open");
    assert_eq!(host.run(net.verify()).expect("verify"), []);
    assert_eq!(host.inventory("one")["ports"].len(), 1);
}
