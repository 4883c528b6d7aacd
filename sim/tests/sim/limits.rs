//! Limits of tasks under particular misfortunes.

use std::time::Duration;

use estiva_sim::owner::Run;
use estiva_sim::simulate;
use tokio::time::sleep;

use super::bench::{A_WHILE, cluster, running};

#[test]
fn a_clock_that_is_wrong_takes_no_time_from_a_task() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 1).await;
        world.clock.set_skew(-3_600_000);
        let run = Run { definition: "web".to_owned(), count: 1, timeout: Some(600), ..Run::default() };
        cluster.run(&run).await.unwrap();
        sleep(A_WHILE).await;
        assert_eq!(running(&cluster.nodes[0]).len(), 1);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(running(&cluster.nodes[0]).len(), 0);
        Some(cluster)
    })
    .check("limits");
}
