//! Small clusters for cases that are spelled out.

use std::sync::Arc;
use std::time::Duration;

use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_sim::agent::tasks::Phase;
use estiva_sim::agent::{Node, Offer};
use estiva_sim::cluster::Cluster;
use estiva_sim::definition::{Definition, Image};
use estiva_sim::plane::instance_key;
use estiva_sim::settle;
use estiva_sim::world::World;
use tokio::time::sleep;

/// Long enough for nodes to begin and to settle.
pub const A_WHILE: Duration = Duration::from_secs(60);

/// A node of an ordinary size.
pub fn offer() -> Offer {
    let zone = "us-east-1a".to_owned();
    Offer { cpu: 4096, memory: 4096, task_slots: None, zone, addresses: 100, is_fargate: true }
}

/// So many connected nodes, and the task definition `web`.
pub async fn cluster(world: &Arc<World>, nodes: usize) -> Cluster {
    let cluster = Cluster::start(world, vec![offer(); nodes]).await;
    cluster.define(&Definition::new("web", Image::Good)).await.unwrap();
    sleep(A_WHILE).await;
    for node in cluster.nodes.iter() {
        assert!(is_connected(&cluster, node), "{} is not connected", node.name());
    }
    cluster
}

/// Whether the control plane has it that the node is connected.
pub fn is_connected(cluster: &Cluster, node: &Node) -> bool {
    let Some(view) = cluster.plane.view() else { return false };
    let key = node.instance().map(|instance| instance_key(&instance)).unwrap_or_default();
    view.get::<ConnectionRow>(&key).is_some_and(|row| row.connected)
}

/// The tasks that run on a node.
pub fn running(node: &Node) -> Vec<String> {
    node.tasks(|tasks| {
        tasks.phases().filter(|(_, phase)| *phase == Phase::Running).map(|(arn, _)| arn.to_owned()).collect()
    })
}

/// Transactions up to now.
pub fn transactions(cluster: &Cluster) -> u64 {
    cluster.plane.audit(|audit| audit.transactions)
}

/// Waits for everything to be as it is wanted.
pub async fn settled(cluster: &Cluster) {
    settle::settle(cluster, Duration::from_secs(600)).await;
}
