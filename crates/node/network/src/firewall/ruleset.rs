//! The fixed part of the firewall: chains and rules. Nothing here depends on the tasks there are.
//!
//! In family `ip`:
//! - `guard` (raw prerouting): a task must not address 127.0.0.0/8, which `route_localnet` would otherwise deliver.
//! - `prerouting`, `output` (dnat): host services, those for some tasks only by the task's address, and published ports.
//! - `postrouting` (snat): what comes from the loopback network or another task by way of a published port takes the
//!   gateway's address, so that the answer comes back through us; what leaves the host takes the host's, but for what
//!   network interfaces (ENIs) of tasks send to other nodes.
//! - `forward`: no link-local addresses (the instance metadata service 169.254.169.254 among them); between tasks,
//!   to published ports and out freely; from other nodes to network interfaces; nothing else in.
//! - `input`: from tasks to the host only answers and host services.
//!
//! In family `bridge`: `guard` (prerouting): from a task's interface come only IPv4 and ARP, only with the MAC and IP
//! address that the task was given. The credentials endpoint may so trust a peer's address.

use sha2::{Digest as _, Sha256};

use crate::nft::{Batch, Chain, Expressions, Family, Field, Hook, Side};
use crate::{Publish, Subnet};

use super::element::{CLIENTS, ENDPOINTS, LISTENERS, PORTS, RESERVED, SERVICES, SETS};

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];

const CHAINS: [(Family, Chain); 7] = [
    (Family::Ip, Chain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 }),
    (Family::Ip, Chain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: -100 }),
    (Family::Ip, Chain { name: "output", kind: "nat", hook: Hook::Output, priority: -100 }),
    (Family::Ip, Chain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: 100 }),
    (Family::Ip, Chain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 }),
    (Family::Ip, Chain { name: "input", kind: "filter", hook: Hook::Input, priority: 0 }),
    (Family::Bridge, Chain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 }),
];

/// What the rules are made from.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    pub(crate) bridge: String,
    pub(crate) veth_prefix: String,
    pub(crate) subnet: Subnet,
    pub(crate) publish: Publish,
    /// What the name of the interfaces to other nodes begins with.
    pub(crate) uplink: String,
}

struct Rule {
    family: Family,
    chain: &'static str,
    expressions: Expressions,
}

/// Adds both tables, made anew, with their chains, sets and rules.
pub(crate) fn add(batch: &mut Batch<'_>, parameters: &Parameters) {
    for family in [Family::Ip, Family::Bridge] {
        batch.renew_table(family);
    }
    for (family, chain) in CHAINS {
        batch.add_chain(family, chain);
    }
    for (family, set) in SETS {
        batch.add_set(family, set);
    }
    let comment = fingerprint(parameters);
    for Rule { family, chain, expressions } in rules(parameters) {
        batch.add_rule(family, chain, &comment, expressions);
    }
}

/// Chain and comment of every rule of a family as the kernel must show them. The comment is a hash of all the rules, so
/// that a ruleset of another version or configuration, or one that lost a rule, is told from ours.
pub(crate) fn expected(parameters: &Parameters, family: Family) -> Vec<(String, String)> {
    let comment = fingerprint(parameters);
    let ours = rules(parameters).into_iter().filter(|rule| rule.family == family);
    let mut list: Vec<_> = ours.map(|rule| (rule.chain.to_owned(), comment.clone())).collect();
    list.sort();
    list
}

fn fingerprint(parameters: &Parameters) -> String {
    let mut hash = Sha256::new();
    for Rule { family, chain, expressions } in rules(parameters) {
        hash.update([family as u8]);
        hash.update(chain);
        hash.update(expressions.into_bytes());
    }
    format!("estiva {}", hex::encode(&hash.finalize()[..8]))
}

fn rules(parameters: &Parameters) -> Vec<Rule> {
    let Parameters { bridge, veth_prefix, subnet, publish, uplink } = parameters;
    let rule = Expressions::default;
    let from_tasks = || rule().interface(Side::In, bridge);
    let to_tasks = || rule().interface(Side::Out, bridge);
    let loopback = Subnet::new([127, 0, 0, 0].into(), 8);
    let link_local = Subnet::new([169, 254, 0, 0].into(), 16);
    let gateway = subnet.gateway().octets();

    let to_port = |match_address: Expressions| {
        match_address.load_protocol(0).load(Field::DESTINATION_PORT, 1).map(PORTS.name).dnat()
    };
    let endpoint = |kind: [u8; 2], mac: Field, ip: Field| {
        let frame = rule().field(Field::ETHER_TYPE, &kind);
        frame.load_interface(Side::In, 0).load(mac, 4).load(ip, 6).lookup(ENDPOINTS.name)
    };

    let mut ip = vec![
        ("guard", from_tasks().network(Field::DESTINATION, loopback).drop()),
        ("prerouting", load_service(from_tasks()).map(SERVICES.name).dnat()),
        (
            "prerouting",
            load_service(from_tasks().load(Field::SOURCE, 0).lookup(CLIENTS.name)).map(RESERVED.name).dnat(),
        ),
    ];
    ip.extend(match publish {
        Publish::Loopback => vec![
            ("prerouting", to_port(from_tasks().field(Field::DESTINATION, &gateway))),
            ("output", to_port(rule().field(Field::DESTINATION, &[127, 0, 0, 1]))),
            ("output", to_port(rule().field(Field::DESTINATION, &gateway))),
        ],
        Publish::All => {
            vec![("prerouting", to_port(rule().destined_to_host())), ("output", to_port(rule().destined_to_host()))]
        }
    });
    ip.extend([
        ("postrouting", to_tasks().network(Field::SOURCE, loopback).masquerade()),
        ("postrouting", to_tasks().network(Field::SOURCE, *subnet).redirected().masquerade()),
        ("postrouting", rule().interface_prefix(Side::Out, uplink).network(Field::SOURCE, subnet.eni_half()).accept()),
        ("postrouting", rule().not_interface(Side::Out, bridge).network(Field::SOURCE, *subnet).masquerade()),
        ("forward", from_tasks().network(Field::DESTINATION, link_local).reject()),
        ("forward", rule().established().accept()),
        ("forward", from_tasks().interface(Side::Out, bridge).accept()),
        ("forward", to_tasks().redirected().accept()),
        (
            "forward",
            to_tasks().interface_prefix(Side::In, uplink).network(Field::DESTINATION, subnet.eni_half()).accept(),
        ),
        ("forward", to_tasks().drop()),
        ("input", from_tasks().established().accept()),
        ("input", load_service(from_tasks()).lookup(LISTENERS.name).accept()),
        ("input", from_tasks().reject()),
    ]);
    let bridge = [
        rule().not_interface_prefix(Side::In, veth_prefix).accept(),
        endpoint(ETHERTYPE_IPV4, Field::ETHER_SOURCE, Field::SOURCE).accept(),
        // An ARP packet names its sender twice; both must be true.
        endpoint(ETHERTYPE_ARP, Field::ETHER_SOURCE, Field::ARP_SENDER_IP)
            .load_interface(Side::In, 0)
            .load(Field::ARP_SENDER_MAC, 4)
            .load(Field::ARP_SENDER_IP, 6)
            .lookup(ENDPOINTS.name)
            .accept(),
        rule().drop(),
    ];
    let ip = ip.into_iter().map(|(chain, expressions)| Rule { family: Family::Ip, chain, expressions });
    ip.chain(bridge.map(|expressions| Rule { family: Family::Bridge, chain: "guard", expressions })).collect()
}

/// Loads the key that services and listeners have: protocol, destination address and port.
fn load_service(rule: Expressions) -> Expressions {
    rule.load_protocol(0).load(Field::DESTINATION, 1).load(Field::DESTINATION_PORT, 2)
}
