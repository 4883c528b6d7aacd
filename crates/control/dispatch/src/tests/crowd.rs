//! Every node of a large cluster comes back at once, as after a restart of the server.

use std::sync::Arc;

use estiva_agent_protocol::acs::ServerMessage;
use estiva_ecs::container_instance::table::ConnectionRow;
use futures_util::stream::{self, StreamExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::bench::Bench;

/// ECS's quota of container instances in a cluster.
const NODES: usize = 5000;
/// Connections that are being opened at one time: what the kernel's queue of a listening socket takes.
const AT_ONCE: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_nodes_come_back_at_once() {
    // Both ends of every connection are in this process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 2 * NODES as u64 + 1000;
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).unwrap();
    let bench = Arc::new(Bench::with_definition().await);
    let names = stream::iter(0..NODES).map(|number| format!("node-{number}"));
    let arns: Vec<(String, String)> = names
        .map(|name| {
            let bench = Arc::clone(&bench);
            async move {
                let arn = bench.register(&name).await;
                (name, arn)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let nodes: Vec<_> = stream::iter(arns)
        .map(|(name, arn)| {
            let bench = Arc::clone(&bench);
            async move {
                let mut node = bench.connect(&name, &arn).await;
                assert!(matches!(node.next().await, ServerMessage::TaskManifest(_)));
                // It goes on reading, or it would be taken for silent.
                drop(tokio::spawn(async move {
                    loop {
                        node.next().await;
                    }
                }));
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let connected = bench.store.view().scan::<ConnectionRow>("").filter(|row| row.connected).count();
    assert_eq!((nodes.len(), connected), (NODES, NODES));
    // And it goes on.
    assert_eq!(bench.run(10).await.len(), 10);
}
