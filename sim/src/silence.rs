//! Nodes that cannot be heard must be known to be away soon: nothing is placed on them, and their tasks run elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use estiva_ecs::container_instance::table::ConnectionRow;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::plane::instance_key;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks after which a silent node must be known to be silent: the server's three probes, and before them the longest write
/// of a node's disk, with whose acknowledgement one that hears nothing is heard once more.
const LOOKS_MAX: u32 = 22;

/// Watches for as long as it is polled.
pub async fn watch(cluster: &Cluster) {
    let mut silent: BTreeMap<&str, (u32, [bool; 2])> = BTreeMap::new();
    loop {
        sleep(LOOK_INTERVAL).await;
        let Some(view) = cluster.plane.view().filter(|_| cluster.plane.is_up()) else {
            silent.clear();
            continue;
        };
        for node in cluster.nodes.iter() {
            let (looks, former) = silent.entry(node.name()).or_default();
            let blocked = [node.link().is_deaf(), node.link().is_mute()];
            // What was held up in one direction passes when it is the other one's turn.
            *looks = if node.is_reachable() || *former != blocked { 0 } else { *looks + 1 };
            *former = blocked;
            let key = node.instance().map(|instance| instance_key(&instance)).unwrap_or_default();
            if *looks == LOOKS_MAX && view.get::<ConnectionRow>(&key).is_some_and(|row| row.connected) {
                cluster.world.violated(&format!("{} is silent for {looks} s, and counts as connected", node.name()));
            }
        }
    }
}
