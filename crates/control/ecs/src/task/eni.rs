//! Addresses of tasks in network mode awsvpc: out of the range that the node offers for them.

use std::net::Ipv4Addr;

use estiva_model::{hex_id, uuid};
use estiva_store::{Row, Snapshot, Tx};
use rand::{Rng, RngExt};

use super::table::NetworkInterface;
use crate::container_instance::table::{
    AddressRow, BY_NODE, ContainerInstanceRow, ENI_GATEWAY_ATTRIBUTE, ENI_RANGE_ATTRIBUTE, address_key,
};

/// The most addresses of one node: a /16.
const RANGE_MAX: u32 = 1 << 16;

/// How many addresses the node has left.
pub(super) fn addresses_left(view: &Snapshot, instance: &ContainerInstanceRow) -> usize {
    let offered = instance.attribute(ENI_GATEWAY_ATTRIBUTE).and_then(|_| range(instance)).map_or(0, |(_, count)| count);
    let taken = view.index_count::<AddressRow>(BY_NODE, &instance.key());
    usize::try_from(offered).unwrap_or(usize::MAX).saturating_sub(taken)
}

/// The first address that the node offers, as a number, and how many follow on it, itself included.
fn range(instance: &ContainerInstanceRow) -> Option<(u32, u32)> {
    let (first, last) = instance.attribute(ENI_RANGE_ATTRIBUTE)?.split_once('-')?;
    let number = |address: &str| address.parse::<Ipv4Addr>().ok().map(u32::from);
    let (first, last) = (number(first)?, number(last)?);
    let count = last.checked_sub(first)?.checked_add(1).filter(|count| *count <= RANGE_MAX)?;
    Some((first, count))
}

/// Takes a free address of the node for a task; `None` if the node has none.
pub(super) fn allocate(
    tx: &mut Tx<'_>,
    instance: &ContainerInstanceRow,
    task: &str,
    subnet: &str,
    rng: &mut impl Rng,
) -> Option<NetworkInterface> {
    let (first, count) = range(instance)?;
    let gateway = instance.attribute(ENI_GATEWAY_ATTRIBUTE)?.to_owned();
    // From a place at random on: an address is not used again at once, and no long run of taken ones is walked over.
    let start = rng.random_range(0..count);
    let key = instance.key();
    let free = (0..count).map(|step| Ipv4Addr::from(first + (start + step) % count));
    let address = free.map(|it| it.to_string()).find(|it| tx.get::<AddressRow>(&address_key(&key, it)).is_none())?;
    tx.put(AddressRow { instance: key, address: address.clone(), task: task.to_owned() });
    let octets = address.parse::<Ipv4Addr>().ok()?.octets();
    Some(NetworkInterface {
        attachment_id: uuid(rng),
        id: format!("eni-{}", hex_id(rng, 17)),
        subnet: subnet.to_owned(),
        mac_address: format!("02:e5:{:02x}:{:02x}:{:02x}:{:02x}", octets[0], octets[1], octets[2], octets[3]),
        private_ipv4_address: address,
        gateway,
    })
}
