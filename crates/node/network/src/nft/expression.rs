//! The expressions that rules are made of: small instructions on 32-bit registers.

use super::{Family, uapi};
use crate::netlink::Attributes;

/// `NFT_REG32_00`, the first of sixteen registers of four bytes.
const REGISTER_0: u32 = 8;
const REGISTER_1: u32 = 9;
const VERDICT_REGISTER: u32 = 0;

const DROP: i32 = 0;
const ACCEPT: i32 = 1;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// Connection states: established and related.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// `IPS_DST_NAT`: the connection's destination was rewritten.
const STATUS_DNAT: u32 = 1 << 5;
/// `NFT_FIB_RESULT_ADDRTYPE` of the destination address (`NFTA_FIB_F_DADDR`).
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// `NFT_FIB_RESULT_OIF` of the source address by way of the incoming interface (`NFTA_FIB_F_SADDR`, `NFTA_FIB_F_IIF`).
const FIB_INTERFACE: u32 = 1;
const FIB_SOURCE_BY_INTERFACE: u32 = 1 | 8;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NAT_DESTINATION: u32 = 1;
/// `NFT_REJECT_ICMP_UNREACH` with `ICMP_PKT_FILTERED`, administratively prohibited.
const REJECT_BY_ICMP: u32 = 0;
const PROHIBITED: u8 = 13;

/// Part of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// 0 link layer, 1 network, 2 transport.
    base: u32,
    offset: u32,
    bytes: u32,
}

impl Field {
    /// Source address of the Ethernet header.
    pub(crate) const ETHER_SOURCE: Self = Self { base: 0, offset: 6, bytes: 6 };
    /// Type of the Ethernet header.
    pub(crate) const ETHER_TYPE: Self = Self { base: 0, offset: 12, bytes: 2 };
    /// Sender's hardware address of an ARP packet.
    pub(crate) const ARP_SENDER_MAC: Self = Self { base: 1, offset: 8, bytes: 6 };
    /// Sender's IPv4 address of an ARP packet.
    pub(crate) const ARP_SENDER_IP: Self = Self { base: 1, offset: 14, bytes: 4 };
    /// IPv4 source address.
    pub(crate) const SOURCE: Self = Self { base: 1, offset: 12, bytes: 4 };
    /// IPv4 destination address.
    pub(crate) const DESTINATION: Self = Self { base: 1, offset: 16, bytes: 4 };
    /// Destination port of TCP and UDP.
    pub(crate) const DESTINATION_PORT: Self = Self { base: 2, offset: 2, bytes: 2 };
}

/// Which end of a packet's way through the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The interface that it came in by.
    In,
    /// The interface that it goes out by.
    Out,
}

/// The expressions of one rule, in order.
#[derive(Debug, Default)]
pub(crate) struct Expressions(Attributes);

impl Expressions {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// Goes on only if the interface on that side has this name.
    pub(crate) fn interface(self, side: Side, name: &str) -> Self {
        self.load_interface(side, 0).compare(EQUAL, &padded(name))
    }

    /// Goes on only if the interface on that side has another name.
    pub(crate) fn not_interface(self, side: Side, name: &str) -> Self {
        self.load_interface(side, 0).compare(NOT_EQUAL, &padded(name))
    }

    /// Goes on only if the name of the interface on that side does not begin with `prefix`.
    pub(crate) fn not_interface_prefix(self, side: Side, prefix: &str) -> Self {
        self.load_interface(side, 0).compare(NOT_EQUAL, prefix.as_bytes())
    }

    /// Goes on only if the name of the interface on that side begins with `prefix`.
    pub(crate) fn interface_prefix(self, side: Side, prefix: &str) -> Self {
        self.load_interface(side, 0).compare(EQUAL, prefix.as_bytes())
    }

    /// Goes on only if the field has this value.
    pub(crate) fn field(self, field: Field, value: &[u8]) -> Self {
        self.load(field, 0).compare(EQUAL, value)
    }

    /// Goes on only if the IPv4 address lies in the network.
    pub(crate) fn network(self, field: Field, network: crate::Subnet) -> Self {
        self.load(field, 0).mask(network.mask()).compare(EQUAL, &network.address().octets())
    }

    /// Goes on only if the packet belongs to a connection that is there already, or is an error message about one.
    pub(crate) fn established(self) -> Self {
        self.conntrack(CT_STATE, ESTABLISHED_OR_RELATED)
    }

    /// Goes on only if the connection's destination was rewritten: to a published port or a host service.
    pub(crate) fn redirected(self) -> Self {
        self.conntrack(CT_STATUS, STATUS_DNAT)
    }

    /// Goes on only if the destination address is one of the host's.
    pub(crate) fn destined_to_host(self) -> Self {
        self.push("fib", |list| {
            list.number(uapi::fib::TO, REGISTER_0);
            list.number(uapi::fib::RESULT, FIB_ADDRESS_TYPE).number(uapi::fib::FLAGS, FIB_DESTINATION);
        })
        .compare(EQUAL, &LOCAL.to_ne_bytes())
    }

    /// Goes on only if an answer would not leave by the interface that the packet came in by: the source is not its own.
    pub(crate) fn source_of_elsewhere(self) -> Self {
        self.push("fib", |list| {
            list.number(uapi::fib::TO, REGISTER_0);
            list.number(uapi::fib::RESULT, FIB_INTERFACE).number(uapi::fib::FLAGS, FIB_SOURCE_BY_INTERFACE);
        })
        .compare(EQUAL, &[0; 4])
    }

    /// Loads the layer-4 protocol into a register.
    pub(crate) fn load_protocol(self, register: u32) -> Self {
        self.meta(META_L4PROTO, register)
    }

    /// Loads an interface name, sixteen bytes.
    pub(crate) fn load_interface(self, side: Side, register: u32) -> Self {
        self.meta(if side == Side::In { META_IIFNAME } else { META_OIFNAME }, register)
    }

    /// Loads a field.
    pub(crate) fn load(self, field: Field, register: u32) -> Self {
        self.push("payload", |list| {
            use uapi::payload::{BASE, BYTES, OFFSET, TO};
            list.number(TO, REGISTER_0 + register).number(BASE, field.base);
            list.number(OFFSET, field.offset).number(BYTES, field.bytes);
        })
    }

    /// Goes on only if the registers from 0 on are a key of the set.
    pub(crate) fn lookup(self, set: &str) -> Self {
        self.push("lookup", |list| {
            list.text(uapi::lookup::SET, set).number(uapi::lookup::FROM, REGISTER_0);
        })
    }

    /// Goes on only if the registers from 0 on are a key of the map, whose data replaces them.
    pub(crate) fn map(self, map: &str) -> Self {
        self.push("lookup", |list| {
            use uapi::lookup::{FROM, SET, TO};
            list.text(SET, map).number(FROM, REGISTER_0).number(TO, REGISTER_0);
        })
    }

    /// Rewrites the destination to the address in register 0 and the port in register 1.
    pub(crate) fn dnat(self) -> Self {
        self.push("nat", |list| {
            use uapi::nat::{ADDRESS_FROM, FAMILY, PORT_FROM, TYPE};
            list.number(TYPE, NAT_DESTINATION).number(FAMILY, Family::Ip as u32);
            list.number(ADDRESS_FROM, REGISTER_0).number(PORT_FROM, REGISTER_1);
        })
    }

    /// Rewrites the source to the address of the interface that the packet leaves by.
    pub(crate) fn masquerade(self) -> Self {
        self.push("masq", |_| {})
    }

    pub(crate) fn accept(self) -> Self {
        self.verdict(ACCEPT)
    }

    pub(crate) fn drop(self) -> Self {
        self.verdict(DROP)
    }

    /// Refuses with an ICMP message, so that the sender fails at once.
    pub(crate) fn reject(self) -> Self {
        self.push("reject", |list| {
            list.number(uapi::reject::TYPE, REJECT_BY_ICMP).bytes(uapi::reject::ICMP_CODE, &[PROHIBITED]);
        })
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.push("meta", |list| {
            list.number(uapi::fact::TO, REGISTER_0 + register).number(uapi::fact::KEY, key);
        })
    }

    fn conntrack(self, key: u32, bits: u32) -> Self {
        self.push("ct", |list| {
            list.number(uapi::fact::TO, REGISTER_0).number(uapi::fact::KEY, key);
        })
        .mask(bits.to_ne_bytes())
        .compare(NOT_EQUAL, &[0; 4])
    }

    fn mask(self, mask: [u8; 4]) -> Self {
        use uapi::bitwise::{BYTES, FROM, MASK, TO, XOR};
        self.push("bitwise", |list| {
            list.number(FROM, REGISTER_0).number(TO, REGISTER_0).number(BYTES, 4);
            for (kind, value) in [(MASK, mask), (XOR, [0; 4])] {
                list.nested(kind, |data| {
                    data.bytes(uapi::data::VALUE, &value);
                });
            }
        })
    }

    fn compare(self, operation: u32, value: &[u8]) -> Self {
        use uapi::compare::{DATA, FROM, OPERATION};
        self.push("cmp", |list| {
            list.number(FROM, REGISTER_0).number(OPERATION, operation).nested(DATA, |data| {
                data.bytes(uapi::data::VALUE, value);
            });
        })
    }

    fn verdict(self, code: i32) -> Self {
        use uapi::data::{VERDICT, VERDICT_CODE};
        self.push("immediate", |list| {
            list.number(uapi::immediate::TO, VERDICT_REGISTER).nested(uapi::immediate::DATA, |data| {
                data.nested(VERDICT, |verdict| {
                    verdict.number(VERDICT_CODE, code.cast_unsigned());
                });
            });
        })
    }

    fn push(mut self, name: &str, fill: impl FnOnce(&mut Attributes)) -> Self {
        self.0.nested(uapi::ENTRY, |element| {
            element.text(uapi::expression::NAME, name).nested(uapi::expression::DATA, fill);
        });
        self
    }
}

/// An interface name as the kernel compares it: `IFNAMSIZ` bytes, filled up with zeros.
pub(crate) fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    bytes
}
