//! The node's network, looked after: what somebody flushes or turns off from outside is made again.

use std::convert::Infallible;
use std::time::Duration;

use estiva_network::NodeNetwork;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// Containers are cut off until it is noticed.
const INTERVAL: Duration = Duration::from_secs(4);

/// Looks again and again, for as long as it is polled.
pub(crate) async fn run(network: &NodeNetwork) -> Infallible {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match network.mend().await {
            Ok(faults) => {
                for fault in faults {
                    warn!(%fault, "the node's network was damaged from outside; what can be is made again");
                }
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, "the node's network cannot be looked after; it is tried again");
            }
        }
    }
}
