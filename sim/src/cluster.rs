//! A control plane and its nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::agent::{Node, Offer, Power};
use crate::plane::Plane;
use crate::world::{Weather, World};

/// A control plane and its nodes. Clones are the same.
#[derive(Clone)]
pub struct Cluster {
    /// Its surroundings.
    pub world: Arc<World>,
    /// Its control plane.
    pub plane: Plane,
    /// Its nodes.
    pub nodes: Arc<[Node]>,
}

impl Cluster {
    /// One whose control plane and agents have been started.
    pub async fn start(world: &Arc<World>, offers: impl IntoIterator<Item = Offer>) -> Self {
        let plane = Plane::new(world);
        plane.start().await;
        let node = |(number, offer)| Node::new(world, &plane, format!("node-{number}"), offer);
        let nodes: Arc<[Node]> = offers.into_iter().enumerate().map(node).collect();
        nodes.iter().for_each(Node::start_agent);
        Self { world: Arc::clone(world), plane, nodes }
    }

    /// The node whose container instance has this ARN.
    pub fn node_of(&self, instance: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.instance().as_deref() == Some(instance))
    }

    /// The control plane dies and comes back after a while.
    pub async fn bounce(&self, downtime: Duration) {
        self.plane.crash();
        sleep(downtime).await;
        self.revive().await;
    }

    /// The control plane comes back, even if it dies again while it begins.
    pub async fn revive(&self) {
        while !self.plane.is_up() {
            self.plane.crash();
            self.plane.start().await;
        }
    }

    /// No more faults: whatever can come back does.
    pub async fn heal(&self) {
        self.world.say(format_args!("the faults are over"));
        self.world.set_weather(Weather::default());
        self.world.clock.set_skew(0);
        self.plane.disk().spare();
        self.revive().await;
        for node in self.nodes.iter().filter(|node| node.power() != Power::Gone) {
            node.power_on();
            node.link().block(false, false);
            node.start_agent();
        }
    }
}
