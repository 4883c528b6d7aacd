//! A rollout of 20 tasks during which the control plane dies with each of its writes in turn.

use std::time::Duration;

use estiva_sim::cluster::Cluster;
use estiva_sim::disk::Death;
use estiva_sim::fault;
use estiva_sim::owner::{Change, Service};
use estiva_sim::{Outcome, simulate};
use tokio::time::sleep;

use super::bench::{cluster, settled};

/// Longer than a rollout takes.
const ROLLOUT: Duration = Duration::from_secs(900);

async fn roll_out(cluster: &Cluster, death: Option<(u64, bool)>) -> u64 {
    let service = Service { percents: (50, 150), ..Service::new("web", "web", 20) };
    cluster.create_service(&service).await.unwrap();
    settled(cluster).await;
    let before = cluster.plane.disk().commits();
    if let Some((step, is_written)) = death {
        cluster.plane.disk().set_death(Death { commit: before + step, is_written });
    }
    let change = Change { is_forced: true, ..Change::default() };
    while cluster.update_service("web", change.clone()).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(ROLLOUT).await;
    settled(cluster).await;
    cluster.plane.disk().commits() - before
}

/// The outcome, and how many writes the rollout took.
fn run(death: Option<(u64, bool)>) -> (Outcome, u64) {
    let mut writes = 0;
    let outcome = simulate(1, |world| {
        let writes = &mut writes;
        async move {
            let cluster = cluster(&world, 5).await;
            tokio::select! {
                biased;
                taken = roll_out(&cluster, death) => *writes = taken,
                () = fault::keep_alive(cluster.clone()) => {}
            }
            Some(cluster)
        }
    });
    (outcome, writes)
}

#[test]
fn a_rollout_survives_the_death_of_the_control_plane_at_each_step() {
    let (outcome, writes) = run(None);
    outcome.check("rollouts");
    assert!(writes > 40, "{writes}");
    // Each step, dying before the write and after it in turn.
    for step in 1..=writes {
        let (outcome, _) = run(Some((step, step % 2 == 0)));
        assert!(outcome.trace.contains("plane dies"), "step {step}");
        outcome.check("rollouts");
    }
}
