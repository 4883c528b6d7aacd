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

/// How many addresses the node has left for tasks.
pub(super) fn left(view: &Snapshot, instance: &ContainerInstanceRow) -> usize {
    let taken = view.index_count::<AddressRow>(BY_NODE, &instance.key());
    range(instance).map_or(0, |(_, count)| usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(taken))
}

/// The first address of the range, and how many there are.
fn range(instance: &ContainerInstanceRow) -> Option<(u32, u32)> {
    let (first, last) = instance.attribute(ENI_RANGE_ATTRIBUTE)?.split_once('-')?;
    let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().ok()?, last.parse().ok()?);
    let count = u32::from(last).checked_sub(u32::from(first))?.checked_add(1)?;
    (count <= RANGE_MAX).then_some((u32::from(first), count))
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
