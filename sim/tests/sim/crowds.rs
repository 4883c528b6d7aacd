//! Many callers at once.

use estiva_sim::cluster::Cluster;
use estiva_sim::definition::{Definition, Image};
use estiva_sim::simulate;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::bench::{A_WHILE, offer, settled};

#[test]
fn of_a_thousand_that_want_the_last_room_one_gets_it() {
    simulate(1, |world| async move {
        let cluster = Cluster::start(&world, [offer()]).await;
        cluster.define(&Definition { cpu: 4000, ..Definition::new("large", Image::Good) }).await.unwrap();
        sleep(A_WHILE).await;
        let answers = join_all((0..1000).map(|_| cluster.run_task("large", 1))).await;
        let placed: usize = answers.into_iter().map(|answer| answer.unwrap().len()).sum();
        assert_eq!(placed, 1);
        settled(&cluster).await;
        Some(cluster)
    })
    .check("crowds");
}
