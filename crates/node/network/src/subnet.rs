//! IPv4 subnets, and the choice of one that clashes with nothing on the host. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Prefix length of a node's subnet unless the configuration says otherwise; AWS's default VPC has /20 subnets too.
const DEFAULT_PREFIX: u8 = 20;
/// Routes shorter than this are no networks that one is in but ways for all traffic, like the default route (a VPN
/// covers everything with 0.0.0.0/1 and 128.0.0.0/1); ours, being longer, go first.
const NETWORK_PREFIX_MIN: u8 = 8;

/// An IPv4 network, written `172.31.0.0/20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The network of `prefix` bits that `address` lies in; prefixes beyond 32 count as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { base: u32::from(address) & mask(prefix), prefix }
    }

    /// The network address.
    pub fn address(self) -> Ipv4Addr {
        self.base.into()
    }

    /// The prefix length, 0 to 32.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The netmask in network byte order.
    pub(crate) fn mask(self) -> [u8; 4] {
        mask(self.prefix).to_be_bytes()
    }

    /// The broadcast address.
    pub fn broadcast(self) -> Ipv4Addr {
        (self.base | !mask(self.prefix)).into()
    }

    /// The first host address, which the node's bridge has.
    pub fn gateway(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// First and last address that bridge-mode tasks get: the lower half without network address and gateway.
    pub(crate) fn task_range(self) -> (Ipv4Addr, Ipv4Addr) {
        ((self.base + 2).into(), (self.middle() - 1).into())
    }

    /// First and last address for network interfaces (ENIs): the upper half without the broadcast address.
    pub fn eni_range(self) -> (Ipv4Addr, Ipv4Addr) {
        (self.middle().into(), (u32::from(self.broadcast()) - 1).into())
    }

    /// The network of [`eni_range`](Self::eni_range): the upper half.
    pub(crate) fn eni_half(self) -> Self {
        Self::new(self.middle().into(), self.prefix + 1)
    }

    /// Whether this is a network that one is in, as against a way for all traffic.
    pub(crate) fn is_network(self) -> bool {
        self.prefix >= NETWORK_PREFIX_MIN
    }

    /// Whether `address` lies in this network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.base
    }

    /// Whether the two networks share an address.
    pub fn overlaps(self, other: Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.base & shorter == other.base & shorter
    }

    /// The number of `address` within the network.
    pub(crate) fn offset(self, address: Ipv4Addr) -> u32 {
        u32::from(address) - self.base
    }

    fn middle(self) -> u32 {
        self.base + (1 << (31 - self.prefix))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix)
    }
}

/// A text that is not a subnet.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an IPv4 subnet such as 172.31.0.0/20")]
pub struct ParseSubnetError(String);

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
            let subnet = Self::new(address, prefix);
            (subnet.address() == address && subnet.prefix == prefix).then_some(subnet)
        };
        parse().ok_or_else(|| ParseSubnetError(text.to_owned()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = ParseSubnetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// The first /20 that overlaps nothing of `occupied`: within 172.31.0.0/16 (AWS's default VPC) if possible, else in the
/// rest of 172.16.0.0/12, in 10.0.0.0/8, in 192.168.0.0/16.
pub(crate) fn choose(occupied: &[Subnet]) -> Option<Subnet> {
    let ranges = [([172, 31], 1), ([172, 16], 15), ([10, 0], 256), ([192, 168], 1)];
    ranges
        .into_iter()
        .flat_map(|([a, b], count)| {
            let first = u32::from(Ipv4Addr::new(a, b, 0, 0));
            (0..count << 4).map(move |slot: u32| Subnet::new((first + (slot << 12)).into(), DEFAULT_PREFIX))
        })
        .find(|candidate| !occupied.iter().any(|taken| taken.overlaps(*candidate)))
}

/// The first /16 that overlaps nothing of `occupied`: within 172.16.0.0/12 but for AWS's default VPC, which is the first
/// nodes', else in 10.0.0.0/8, else 192.168.0.0/16.
pub(crate) fn choose_block(occupied: &[Subnet]) -> Option<Subnet> {
    let blocks = (16..31).map(|b| [172, b, 0, 0]).chain((0..=255).map(|b| [10, b, 0, 0])).chain([[192, 168, 0, 0]]);
    let mut blocks = blocks.map(|address| Subnet::new(address.into(), 16));
    blocks.find(|candidate| !occupied.iter().any(|taken| taken.overlaps(*candidate)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("subnet")
    }

    #[test]
    fn the_halves_leave_out_what_is_reserved() {
        let subnet = subnet("172.31.16.0/20");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(172, 31, 16, 1));
        assert_eq!(subnet.task_range(), (Ipv4Addr::new(172, 31, 16, 2), Ipv4Addr::new(172, 31, 23, 255)));
        assert_eq!(subnet.eni_range(), (Ipv4Addr::new(172, 31, 24, 0), Ipv4Addr::new(172, 31, 31, 254)));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(172, 31, 31, 255));
        assert_eq!(subnet.eni_half().to_string(), "172.31.24.0/21");
    }

    #[test]
    fn the_choice_moves_on_when_ranges_are_taken() {
        assert_eq!(choose(&[]), Some(subnet("172.31.0.0/20")));
        assert_eq!(choose(&[subnet("172.31.0.0/24")]), Some(subnet("172.31.16.0/20")));
        assert_eq!(choose(&[subnet("172.31.0.0/16")]), Some(subnet("172.16.0.0/20")));
        assert_eq!(choose(&[subnet("172.16.0.0/12")]), Some(subnet("10.0.0.0/20")));
        assert_eq!(choose(&[subnet("172.16.0.0/12"), subnet("10.0.0.0/8")]), Some(subnet("192.168.0.0/20")));
        assert_eq!(choose(&[subnet("0.0.0.0/0")]), None);
    }

    #[test]
    fn only_a_network_address_is_a_subnet() {
        for text in ["", "172.31.0.0", "172.31.0.1/20", "172.31.0.0/33", "::/0"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_choice_never_overlaps(taken in prop::collection::vec((any::<u32>(), 8u8..=32), 0..40)) {
            let taken: Vec<_> = taken.into_iter().map(|(base, prefix)| Subnet::new(base.into(), prefix)).collect();
            for chosen in [choose(&taken), choose_block(&taken)].into_iter().flatten() {
                prop_assert!(taken.iter().all(|other| !other.overlaps(chosen)));
            }
        }

        #[test]
        fn text_round_trips(base: u32, prefix in 0u8..=32) {
            let subnet = Subnet::new(base.into(), prefix);
            prop_assert_eq!(subnet.to_string().parse::<Subnet>().ok(), Some(subnet));
        }
    }
}
