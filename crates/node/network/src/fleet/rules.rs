//! The host's firewall between nodes, host and world: one table of family `ip`, whose rules depend on nothing but the
//! installation's block.
//!
//! - `guard` (raw prerouting): a node uses no address but its own and its tasks'.
//! - `postrouting` (snat): what leaves the installation takes the host's address.
//! - `forward`: no link-local addresses; between nodes and out freely; nothing else in.
//! - `input`: from nodes to the host only answers.

use crate::Subnet;
use crate::config::Names;
use crate::netlink::{NetlinkError, Socket};
use crate::nft::{self, Batch, Chain, Expressions, Family, Field, Hook, Side};

const CHAINS: [Chain; 4] = [
    Chain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 },
    Chain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: 100 },
    Chain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 },
    Chain { name: "input", kind: "filter", hook: Hook::Input, priority: 0 },
];
const COMMENT: &str = "estiva";

/// Makes the table anew in one transaction: no packet meets a state between.
pub(super) fn install(socket: &mut Socket, names: &Names, block: Subnet) -> Result<(), NetlinkError> {
    let table = table(names);
    let mut batch = Batch::new(&table);
    batch.renew_table(Family::Ip);
    for chain in CHAINS {
        batch.add_chain(Family::Ip, chain);
    }
    for (chain, expressions) in rules(names, block) {
        batch.add_rule(Family::Ip, chain, COMMENT, expressions);
    }
    batch.commit(socket)
}

/// Whether the table is there with its rules.
pub(super) fn are_whole(socket: &mut Socket, names: &Names, block: Subnet) -> Result<bool, NetlinkError> {
    let table = table(names);
    if !nft::tables(socket, Family::Ip)?.contains(&table) {
        return Ok(false);
    }
    let mut found = nft::rules(socket, Family::Ip, &table)?;
    let mut expected: Vec<_> =
        rules(names, block).into_iter().map(|(chain, _)| (chain.to_owned(), COMMENT.to_owned())).collect();
    found.sort();
    expected.sort();
    Ok(found == expected)
}

/// Removes the table; fine if it is not there.
pub(super) fn uninstall(socket: &mut Socket, names: &Names) -> Result<(), NetlinkError> {
    let table = table(names);
    let mut batch = Batch::new(&table);
    batch.delete_table(Family::Ip);
    match batch.commit(socket) {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn table(names: &Names) -> String {
    format!("{}_nodes", names.table)
}

fn rules(names: &Names, block: Subnet) -> [(&'static str, Expressions); 8] {
    let rule = Expressions::default;
    let from_nodes = || rule().interface_prefix(Side::In, &names.link_prefix);
    let to_nodes = || rule().interface_prefix(Side::Out, &names.link_prefix);
    let outwards = rule().not_interface_prefix(Side::Out, &names.prefix);
    let link_local = Subnet::new([169, 254, 0, 0].into(), 16);
    [
        ("guard", from_nodes().source_of_elsewhere().drop()),
        ("postrouting", outwards.network(Field::SOURCE, block).masquerade()),
        ("forward", from_nodes().network(Field::DESTINATION, link_local).reject()),
        ("forward", to_nodes().established().accept()),
        ("forward", to_nodes().interface_prefix(Side::In, &names.prefix).accept()),
        ("forward", to_nodes().drop()),
        ("input", from_nodes().established().accept()),
        ("input", from_nodes().reject()),
    ]
}
