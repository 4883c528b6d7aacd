//! The node's firewall and address translation: two nf_tables tables of our own, whose rules are fixed and whose sets
//! and maps have an element for each task interface and published port. Other tables are never touched.
//!
//! A chain that drops in another table (Docker's `FORWARD` policy, for example) is stronger than our accept: traffic
//! through the host's 127.0.0.1 passes by it, traffic between tasks and outwards does not.

mod element;
mod ruleset;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

pub(crate) use element::Element;
pub(crate) use ruleset::Parameters;

use crate::Protocol;
use crate::netlink::{Attributes, NetlinkError, Request, Socket, attributes};
use crate::nft::{self, Batch, Family};

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_GET`.
const GET_CONNECTION: u16 = 1 << 8 | 1;
/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_DELETE`.
const DELETE_CONNECTION: u16 = 1 << 8 | 2;
/// `struct nfgenmsg` before each message's attributes.
const HEADER_BYTES: usize = 4;
// <linux/netfilter/nfnetlink_conntrack.h>
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
// Which parts of the tuple the filter looks at: bits of the kernel's nf_internals.h.
const FILTER_BY_SOURCE: u32 = 1;
const FILTER_BY_PROTOCOL: u32 = 1 << 3;
const FILTER_BY_DESTINATION_PORT: u32 = 1 << 5;

/// What is wrong with the firewall.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// A table is missing, or its rules are not ours.
    pub(crate) rules: bool,
    pub(crate) missing: BTreeSet<Element>,
    pub(crate) extra: BTreeSet<Element>,
}

/// The firewall of one installation.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    parameters: Parameters,
    socket: Socket,
}

impl Firewall {
    pub(crate) fn new(table: String, parameters: Parameters, socket: Socket) -> Self {
        Self { table, parameters, socket }
    }

    /// Makes everything anew in one transaction: no packet meets a state between.
    pub(crate) fn install(&mut self, elements: &BTreeSet<Element>) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(&self.table);
        ruleset::add(&mut batch, &self.parameters);
        for element in elements {
            add(&mut batch, element);
        }
        batch.commit(&mut self.socket)
    }

    /// Compares the kernel's state with what should be there.
    pub(crate) fn inspect(&mut self, expected: &BTreeSet<Element>) -> Result<Damage, NetlinkError> {
        let mut found = BTreeSet::new();
        for family in [Family::Ip, Family::Bridge] {
            let broken = Damage { rules: true, ..Damage::default() };
            if !nft::tables(&mut self.socket, family)?.contains(&self.table) {
                return Ok(broken);
            }
            let mut rules = nft::rules(&mut self.socket, family, &self.table)?;
            rules.sort();
            if rules != ruleset::expected(&self.parameters, family) {
                return Ok(broken);
            }
        }
        for (family, set) in element::SETS {
            let elements = match nft::elements(&mut self.socket, family, &self.table, set.name) {
                Err(error) if error.errno() == Some(libc::ENOENT) => {
                    return Ok(Damage { rules: true, ..Damage::default() });
                }
                other => other?,
            };
            found.extend(elements.iter().map(|(key, data)| Element::read(set.name, key, data)));
        }
        Ok(Damage {
            rules: false,
            missing: expected.difference(&found).cloned().collect(),
            extra: found.difference(expected).cloned().collect(),
        })
    }

    /// As [`nft::generation`].
    pub(crate) fn generation(&mut self) -> Result<u32, NetlinkError> {
        nft::generation(&mut self.socket)
    }

    /// Adds elements, all or none; EEXIST if one has a key that is there.
    pub(crate) fn add(&mut self, elements: &[Element]) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(&self.table);
        for element in elements {
            add(&mut batch, element);
        }
        batch.commit(&mut self.socket)
    }

    /// Removes those of the elements that are there; fine if the table is not.
    pub(crate) fn remove(&mut self, elements: &[Element]) -> Result<(), NetlinkError> {
        match self.remove_together(elements) {
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            other => return other,
        }
        // One was missing, which undid the batch: one by one then.
        for element in elements {
            match self.remove_together(std::slice::from_ref(element)) {
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Removes both tables; fine if they are not there.
    pub(crate) fn uninstall(&mut self) -> Result<(), NetlinkError> {
        for family in [Family::Ip, Family::Bridge] {
            let mut batch = Batch::new(&self.table);
            batch.delete_table(family);
            match batch.commit(&mut self.socket) {
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Forgets the connections that were redirected to `ip`. Without this, a UDP client that goes on sending to a
    /// published port would be led to the old holder of the port for as long as it sends.
    pub(crate) fn forget_connections_of(&mut self, ip: Ipv4Addr) -> Result<(), NetlinkError> {
        let mut list = Attributes::after(&[Family::Ip as u8, 0, 0, 0]);
        list.nested(CTA_TUPLE_REPLY, |tuple| {
            tuple.nested(CTA_TUPLE_IP, |addresses| {
                addresses.bytes(CTA_IP_V4_SRC, &ip.octets());
            });
        });
        self.forget(list, CTA_FILTER_REPLY_FLAGS, FILTER_BY_SOURCE)
    }

    /// Forgets what was sent to a UDP port of the host before it was published: that too is a connection to the kernel,
    /// and later packets of it would not be redirected.
    pub(crate) fn forget_connections_to(&mut self, udp_port: u16) -> Result<(), NetlinkError> {
        let mut list = Attributes::after(&[Family::Ip as u8, 0, 0, 0]);
        list.nested(CTA_TUPLE_ORIG, |tuple| {
            tuple.nested(CTA_TUPLE_PROTO, |protocol| {
                protocol.bytes(CTA_PROTO_NUM, &[Protocol::Udp.number()]);
                protocol.bytes(CTA_PROTO_DST_PORT, &udp_port.to_be_bytes());
            });
        });
        self.forget(list, CTA_FILTER_ORIG_FLAGS, FILTER_BY_PROTOCOL | FILTER_BY_DESTINATION_PORT)
    }

    /// One by one: only newer kernels than Debian 12 has delete by a filter.
    fn forget(&mut self, mut tuple: Attributes, side: u16, flags: u32) -> Result<(), NetlinkError> {
        tuple.nested(CTA_FILTER, |filter| {
            filter.bytes(side, &flags.to_ne_bytes());
        });
        let found = self.socket.dump(&Request { kind: GET_CONNECTION, flags: 0, body: tuple.into_bytes() })?;
        let deletions: Vec<Request> = found.iter().map(|connection| deletion(&connection.body)).collect();
        let refused = self.socket.transact_each(&deletions)?;
        // Some have ended by themselves in the meantime.
        refused.into_iter().find(|error| error.errno() != Some(libc::ENOENT)).map_or(Ok(()), Err)
    }

    fn remove_together(&mut self, elements: &[Element]) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(&self.table);
        for element in elements {
            let (family, set) = element.place();
            batch.delete_element(family, set, &element.key());
        }
        batch.commit(&mut self.socket)
    }
}

/// The request that deletes this very connection, and no later one of the same addresses.
fn deletion(connection: &[u8]) -> Request {
    let mut which = Attributes::after(&[Family::Ip as u8, 0, 0, 0]);
    for (kind, value) in attributes(connection.get(HEADER_BYTES..).unwrap_or_default()) {
        match kind {
            CTA_TUPLE_ORIG => which.nested(kind, |tuple| tuple.append(value)),
            CTA_ID => which.bytes(kind, value),
            _ => &mut which,
        };
    }
    Request { kind: DELETE_CONNECTION, flags: 0, body: which.into_bytes() }
}

fn add(batch: &mut Batch<'_>, element: &Element) {
    let (family, set) = element.place();
    batch.add_element(family, set, &element.key(), element.data().as_deref());
}
