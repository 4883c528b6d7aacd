//! The addresses of bridge-mode tasks, and who holds which ENI address. Pure: what is held is told at start.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::{Error, Subnet};

/// The addresses of one subnet.
#[derive(Debug)]
pub(crate) struct Pool {
    subnet: Subnet,
    held: BTreeSet<Ipv4Addr>,
    /// The address given last. The next search starts after it, so that an address rests as long as possible before it
    /// is used again and late packets for its last holder do not reach the next one.
    last: Ipv4Addr,
}

impl Pool {
    pub(crate) fn new(subnet: Subnet, held: BTreeSet<Ipv4Addr>) -> Self {
        let (first, end) = subnet.task_range();
        let last = held.range(first..=end).next_back().copied().unwrap_or(subnet.gateway());
        Self { subnet, held, last }
    }

    /// Takes a free address of the lower half.
    pub(crate) fn take(&mut self) -> Result<Ipv4Addr, Error> {
        let (first, end) = self.subnet.task_range();
        let (first, end, last) = (u32::from(first), u32::from(end), u32::from(self.last));
        let ip = (last + 1..=end)
            .chain(first..=last.min(end))
            .map(Ipv4Addr::from)
            .find(|ip| !self.held.contains(ip))
            .ok_or(Error::AddressesExhausted { subnet: self.subnet })?;
        self.held.insert(ip);
        self.last = ip;
        Ok(ip)
    }

    /// Takes the ENI address `ip`.
    pub(crate) fn take_eni(&mut self, ip: Ipv4Addr) -> Result<(), Error> {
        let (first, end) = self.subnet.eni_range();
        if !(first..=end).contains(&ip) {
            return Err(Error::InvalidEni { ip, reason: "its address is outside of the node's range" });
        }
        if self.held.insert(ip) { Ok(()) } else { Err(Error::AddressInUse { ip }) }
    }

    pub(crate) fn release(&mut self, ip: Ipv4Addr) {
        self.held.remove(&ip);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet() -> Subnet {
        "10.1.2.0/26".parse().expect("subnet")
    }

    #[test]
    fn every_address_is_given_once_then_none_is_left() {
        let mut pool = Pool::new(subnet(), BTreeSet::new());
        let mut given = BTreeSet::new();
        while let Ok(ip) = pool.take() {
            assert!(given.insert(ip), "{ip} twice");
        }
        assert_eq!(given.len(), 30);
        assert!(matches!(pool.take(), Err(Error::AddressesExhausted { .. })));
        pool.release(Ipv4Addr::new(10, 1, 2, 7));
        assert_eq!(pool.take().ok(), Some(Ipv4Addr::new(10, 1, 2, 7)));
    }

    #[test]
    fn a_released_address_rests() {
        let mut pool = Pool::new(subnet(), BTreeSet::new());
        let first = pool.take().expect("address");
        pool.release(first);
        assert_ne!(pool.take().expect("address"), first);
    }

    #[test]
    fn an_eni_has_one_holder_and_its_own_half() {
        let mut pool = Pool::new(subnet(), BTreeSet::new());
        let ip = Ipv4Addr::new(10, 1, 2, 40);
        pool.take_eni(ip).expect("free");
        assert!(matches!(pool.take_eni(ip), Err(Error::AddressInUse { .. })));
        assert!(matches!(pool.take_eni(Ipv4Addr::new(10, 1, 2, 5)), Err(Error::InvalidEni { .. })));
        assert!(matches!(pool.take_eni(Ipv4Addr::new(10, 1, 2, 63)), Err(Error::InvalidEni { .. })));
    }

    proptest! {
        /// Against the plain model, a set: never given while held, never outside the lower half.
        #[test]
        fn never_twice_while_held(held in prop::collection::btree_set(2u8..32, 0..30), steps in prop::collection::vec(any::<(bool, u8)>(), 0..200)) {
            let held: BTreeSet<_> = held.into_iter().map(|host| Ipv4Addr::new(10, 1, 2, host)).collect();
            let (mut pool, mut model) = (Pool::new(subnet(), held.clone()), held);
            for (take, host) in steps {
                if take {
                    if let Ok(ip) = pool.take() {
                        prop_assert!(model.insert(ip) && (2..32).contains(&ip.octets()[3]));
                    } else {
                        prop_assert_eq!(model.len(), 30);
                    }
                } else {
                    let ip = Ipv4Addr::new(10, 1, 2, host);
                    pool.release(ip);
                    model.remove(&ip);
                }
            }
        }
    }
}
