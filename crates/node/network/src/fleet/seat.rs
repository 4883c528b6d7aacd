//! Which addresses a node has: all follow from the installation's block and the node's slot. Pure.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::Subnet;

/// The slots there are. The first subnet of the block is for the links to the nodes.
pub const SLOTS: RangeInclusive<u8> = 1..=63;
/// 64 of them fill a block of /16; each has room for some 500 bridge-mode tasks and as many network interfaces.
const SUBNET_PREFIX: u8 = 22;
/// Two ends of a link, with the addresses that no host may have.
const LINK_PREFIX: u8 = 30;

/// What a node has in its installation's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The host's address on the link to the node.
    pub gateway: Ipv4Addr,
    /// The node's own: where its published ports answer.
    pub address: Ipv4Addr,
    /// The node's tasks'.
    pub subnet: Subnet,
}

impl Seat {
    pub(super) fn new(block: Subnet, slot: u8) -> Self {
        let base = u32::from(block.address());
        let link = Subnet::new((base + u32::from(slot) * 4).into(), LINK_PREFIX);
        Self {
            gateway: link.gateway(),
            address: (u32::from(link.gateway()) + 1).into(),
            subnet: Subnet::new((base + (u32::from(slot) << (32 - SUBNET_PREFIX))).into(), SUBNET_PREFIX),
        }
    }

    pub(super) fn link(self) -> Subnet {
        Subnet::new(self.gateway, LINK_PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_seats_share_an_address() {
        let block: Subnet = "10.7.0.0/16".parse().expect("subnet");
        let seats: Vec<Seat> = SLOTS.map(|slot| Seat::new(block, slot)).collect();
        let networks: Vec<Subnet> = seats.iter().flat_map(|seat| [seat.link(), seat.subnet]).collect();
        for (index, one) in networks.iter().enumerate() {
            assert!(block.overlaps(*one) && one.prefix() > block.prefix(), "{one}");
            assert!(networks[..index].iter().all(|other| !other.overlaps(*one)), "{one}");
        }
        for seat in seats {
            assert!(seat.link().contains(seat.address) && seat.address != seat.gateway);
            assert_ne!(seat.address, seat.link().broadcast());
        }
    }
}
