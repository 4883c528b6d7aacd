//! Nodes that hear nothing, that are not heard, and that come and go.

use std::time::Duration;

use estiva_sim::cluster::Cluster;
use estiva_sim::simulate;
use tokio::time::sleep;

use super::bench::{A_WHILE, cluster, is_connected, running, settled, transactions};

/// Runs tasks on two nodes, blocks one of them, and gives what ran there before and after.
async fn partitioned(cluster: &Cluster, is_deaf: bool, is_mute: bool) {
    cluster.run_task("web", 10).await.unwrap();
    settled(cluster).await;
    let node = &cluster.nodes[0];
    let before = running(node);
    node.link().block(is_deaf, is_mute);
    sleep(A_WHILE).await;
    assert!(!is_connected(cluster, node), "a node that does not answer is away");
    assert_eq!(running(node), before, "containers need no control plane");
    // What is wanted of it meanwhile it hears later.
    cluster.stop_task(&before[0]).await.unwrap();
    cluster.run_task("web", 4).await.unwrap();
    assert!(cluster.plane.audit(|audit| audit.live().count()) == 14);
    node.link().block(false, false);
    settled(cluster).await;
    assert!(is_connected(cluster, node));
    assert_eq!(running(node), before[1..]);
}

#[test]
fn a_node_that_hears_nothing_is_away_and_catches_up() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 2).await;
        partitioned(&cluster, true, false).await;
        Some(cluster)
    })
    .check("partitions");
}

#[test]
fn a_node_that_is_not_heard_is_away_and_catches_up() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 2).await;
        partitioned(&cluster, false, true).await;
        Some(cluster)
    })
    .check("partitions");
}

#[test]
fn a_node_that_comes_and_goes_costs_little_and_keeps_its_tasks() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 2).await;
        cluster.run_task("web", 10).await.unwrap();
        settled(&cluster).await;
        let node = &cluster.nodes[0];
        let (tasks, before) = (running(node), transactions(&cluster));
        for _ in 0..10 {
            node.link().block(true, true);
            sleep(Duration::from_secs(10)).await;
            node.link().block(false, false);
            sleep(Duration::from_secs(10)).await;
        }
        settled(&cluster).await;
        assert_eq!(running(node), tasks);
        let cost = transactions(&cluster) - before;
        assert!(cost <= 20, "that it is away and that it is back, ten times, are {cost} transactions");
        Some(cluster)
    })
    .check("partitions");
}
