//! Services under particular misfortunes.

use std::time::Duration;

use estiva_ecs::service::rollout_table::Rollout;
use estiva_sim::agent::{Node, Offer, Power};
use estiva_sim::cluster::Cluster;
use estiva_sim::definition::{Definition, Image};
use estiva_sim::owner::{Change, Kind, Service};
use estiva_sim::plane::{LOST_NODE_AFTER, scope};
use estiva_sim::run::simulate;
use tokio::time::sleep;

use super::bench::{A_WHILE, cluster, offer, running, settled, transactions};

/// How the deployment of `web` stands: the family that it runs, and how its rollout is.
fn stands(cluster: &Cluster) -> (String, Rollout) {
    let key = scope().key(&["default", "web"]);
    cluster.plane.audit(|audit| {
        let primary = audit.services.rollouts[&key].primary().unwrap().clone();
        let definition = audit.definition_of(&key, &primary.revision).unwrap();
        (definition.family.clone(), primary.rollout)
    })
}

/// How many tasks of `family` were ever started.
fn started(cluster: &Cluster, family: &str) -> usize {
    cluster.plane.audit(|audit| audit.tasks.values().filter(|task| task.family == family).count())
}

async fn with_service(cluster: &Cluster, service: Service) {
    cluster.define(&Definition::new("crashing", Image::Crashing)).await.unwrap();
    cluster.define(&Definition::new("unstartable", Image::Unstartable)).await.unwrap();
    cluster.create_service(&service).await.unwrap();
    settled(cluster).await;
}

fn change_to(definition: &str) -> Change {
    Change { definition: Some(definition.to_owned()), ..Change::default() }
}

#[test]
fn the_breaker_takes_a_crash_loop_back() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service { has_breaker: true, ..Service::new("web", "web", 4) }).await;
        cluster.update_service("web", change_to("crashing")).await.unwrap();
        settled(&cluster).await;
        assert_eq!(stands(&cluster), ("web".to_owned(), Rollout::Completed));
        let tried = started(&cluster, "crashing");
        assert!((3..=12).contains(&tried), "{tried} tasks were tried");
        Some(cluster)
    })
    .check("services");
}

#[test]
fn without_a_breaker_what_never_starts_is_tried_ever_more_slowly() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 2)).await;
        cluster.update_service("web", change_to("unstartable")).await.unwrap();
        let mut tried = Vec::new();
        for _ in 0..6 {
            tried.push(tried_in_ten_minutes(&cluster, "unstartable").await);
        }
        assert!(tried[5] < tried[0] && tried[5] <= 4, "starts in ten minutes each: {tried:?}");
        assert_eq!(running_tasks(&cluster, "web").len(), 2, "the old tasks serve on");
        cluster.update_service("web", change_to("web")).await.unwrap();
        settled(&cluster).await;
        assert_eq!(stands(&cluster), ("web".to_owned(), Rollout::Completed));
        Some(cluster)
    })
    .check("services");
}

async fn tried_in_ten_minutes(cluster: &Cluster, family: &str) -> usize {
    let before = started(cluster, family);
    sleep(Duration::from_secs(600)).await;
    started(cluster, family) - before
}

#[test]
fn what_runs_and_crashes_is_tried_again_but_not_as_fast_as_it_can_fail() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 2)).await;
        cluster.update_service("web", change_to("crashing")).await.unwrap();
        for _ in 0..3 {
            let before = transactions(&cluster);
            let tried = tried_in_ten_minutes(&cluster, "crashing").await;
            let cost = transactions(&cluster) - before;
            // A round of two tasks in ten seconds at most, and a handful of transactions for each.
            assert!((10..=120).contains(&tried) && cost <= 1000, "{tried} tasks, {cost} transactions");
        }
        cluster.update_service("web", change_to("web")).await.unwrap();
        settled(&cluster).await;
        Some(cluster)
    })
    .check("services");
}

/// The tasks of a family that run somewhere.
fn running_tasks(cluster: &Cluster, family: &str) -> Vec<String> {
    let all = cluster.nodes.iter().flat_map(running);
    all.filter(|arn| cluster.plane.audit(|audit| audit.task(arn).is_some_and(|row| row.family == family))).collect()
}

#[test]
fn the_tasks_of_a_node_that_is_gone_run_elsewhere_and_not_twice_when_it_is_back() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 6)).await;
        let lost = &cluster.nodes[0];
        let were_there = running(lost);
        assert!(!were_there.is_empty());
        lost.link().block(true, true);
        sleep(LOST_NODE_AFTER / 2).await;
        assert_eq!(started(&cluster, "web"), 6, "it may come back");
        sleep(LOST_NODE_AFTER + A_WHILE).await;
        assert_eq!(running(lost), were_there, "nobody can tell it");
        let elsewhere: usize = cluster.nodes[1..].iter().map(|node| running(node).len()).sum();
        assert_eq!(elsewhere, 6);
        lost.link().block(false, false);
        settled(&cluster).await;
        assert_eq!(running_tasks(&cluster, "web").len(), 6);
        assert!(running(lost).iter().all(|task| !were_there.contains(task)));
        Some(cluster)
    })
    .check("services");
}

#[test]
fn a_node_that_boots_loses_its_tasks_and_the_service_does_not() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 6)).await;
        let node = &cluster.nodes[0];
        node.power_off(Power::Off);
        sleep(Duration::from_secs(5)).await;
        node.power_on();
        settled(&cluster).await;
        assert_eq!(running_tasks(&cluster, "web").len(), 6);
        Some(cluster)
    })
    .check("services");
}

#[test]
fn a_node_that_comes_and_goes_makes_no_service_restless() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 6)).await;
        let before: Vec<Vec<String>> = cluster.nodes.iter().map(running).collect();
        for _ in 0..20 {
            cluster.nodes[0].link().block(true, true);
            sleep(Duration::from_secs(10)).await;
            cluster.nodes[0].link().block(false, false);
            sleep(Duration::from_secs(10)).await;
        }
        settled(&cluster).await;
        assert_eq!(cluster.nodes.iter().map(running).collect::<Vec<_>>(), before);
        assert_eq!(started(&cluster, "web"), 6);
        Some(cluster)
    })
    .check("services");
}

#[test]
fn a_node_that_takes_leave_is_empty_at_last() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 3).await;
        with_service(&cluster, Service::new("web", "web", 6)).await;
        let node = &cluster.nodes[0];
        cluster.set_state(&node.instance().unwrap(), true).await.unwrap();
        settled(&cluster).await;
        assert_eq!(cluster.nodes.iter().map(|node: &Node| running(node).len()).collect::<Vec<_>>(), [0, 3, 3]);
        Some(cluster)
    })
    .check("services");
}

#[test]
fn room_that_comes_bit_by_bit_is_used() {
    simulate(1, |world| async move {
        let cluster = cluster(&world, 1).await;
        let sized = |family: &str, cpu: i32| Definition { cpu, ..Definition::new(family, Image::Good) };
        for definition in [sized("small", 1000), sized("middle", 2000), sized("large", 2500)] {
            cluster.define(&definition).await.unwrap();
        }
        let small = cluster.run_task("small", 2).await.unwrap();
        let middle = cluster.run_task("middle", 1).await.unwrap();
        cluster.create_service(&Service::new("web", "large", 1)).await.unwrap();
        settled(&cluster).await;
        assert_eq!(started(&cluster, "large"), 0);
        // More room, but not enough; and then enough.
        cluster.stop_task(&small[0]).await.unwrap();
        settled(&cluster).await;
        cluster.stop_task(&middle[0]).await.unwrap();
        settled(&cluster).await;
        assert_eq!(running_tasks(&cluster, "large").len(), 1);
        Some(cluster)
    })
    .check("services");
}

#[test]
fn a_daemon_has_one_task_on_each_node_from_the_beginning() {
    simulate(1, |world| async move {
        let offers = ["us-east-1a", "us-east-1b", "us-east-1a", "us-east-1a"];
        let offers = offers.map(|zone| Offer { zone: zone.to_owned(), ..offer() });
        let cluster = Cluster::start(&world, offers).await;
        cluster.define(&Definition::new("web", Image::Good)).await.unwrap();
        sleep(A_WHILE).await;
        let service = Service { kind: Kind::Daemon, percents: (0, 100), ..Service::new("web", "web", 0) };
        cluster.create_service(&service).await.unwrap();
        settled(&cluster).await;
        assert_eq!(cluster.nodes.iter().map(|node: &Node| running(node).len()).collect::<Vec<_>>(), [1; 4]);
        assert_eq!(started(&cluster, "web"), 4);
        Some(cluster)
    })
    .check("services");
}
