//! What a good operator does after a storm.

use std::time::Duration;

use estiva_ecs::service::rollout_table::Deployment;
use estiva_ecs::service::table::ServiceRow;
use estiva_ecs::task::table::TaskRow;
use estiva_store::Row;
use tokio::time::sleep;

use super::capacity_of;
use super::families::sound;
use crate::agent::Power;
use crate::cluster::Cluster;
use crate::definition::Capacity;
use crate::owner::{Change, Hook, TaskSet};
use estiva_api_ecs::types::DeploymentLifecycleHookStage as Stage;

/// How often a task set is tried to be created while former ones take the places.
const TRIES_MAX: usize = 100;
/// What users ask for at most.
const PROTECTION_MAX: Duration = Duration::from_secs(5 * 60);
const TRY_INTERVAL: Duration = Duration::from_secs(5);

/// What is gone is deregistered, what was taken out is put back, and every service runs something that works.
pub async fn mend(cluster: &Cluster) {
    for node in cluster.nodes.iter() {
        let Some(instance) = node.instance() else { continue };
        // Whether it was registered at all is no matter.
        let _ = match node.power() {
            Power::Gone => cluster.deregister(&instance).await,
            Power::On | Power::Off => cluster.set_state(&instance, false).await,
        };
    }
    unprotect(cluster).await;
    let services: Vec<(String, ServiceRow)> =
        cluster.plane.audit(|audit| audit.services.active().map(|(key, row)| (key.clone(), row.clone())).collect());
    for (key, service) in services {
        cluster.world.say(format_args!("user mends {}", service.name));
        let mended = if service.is_external {
            mend_sets(cluster, &key, &service).await
        } else {
            let change = change(&service);
            cluster.update_service(&service.name, change).await.map_err(|error| format!("{error:?}"))
        };
        if let Err(error) = mended {
            cluster.world.violated(&format!("{} cannot be mended: {error}", service.name));
        }
    }
}

/// A clock that was wrong may have made protection last for very long.
async fn unprotect(cluster: &Cluster) {
    let latest = cluster.world.clock.elapsed() + PROTECTION_MAX;
    let tasks: Vec<String> = cluster.plane.audit(|audit| {
        let lasts = |row: &TaskRow| audit.protected_until(&row.key()).is_some_and(|until| until > latest);
        audit.live().filter(|(row, _)| lasts(row)).map(|(row, _)| row.arn()).collect()
    });
    for task in tasks {
        if let Err(error) = cluster.protect(&task, None).await {
            cluster.world.violated(&format!("the protection of {task} cannot be ended: {error:?}"));
        }
    }
}

/// Something that works, which nothing holds up for good.
fn change(service: &ServiceRow) -> Change {
    let hook = Hook { task: None, stage: Stage::PostScaleUp, minutes: 1, continues: true };
    Change {
        definition: Some(sound(capacity_of(service)).to_owned()),
        desired: (!service.is_daemon).then_some(3),
        is_forced: true,
        hooks: Some(vec![hook]),
        ..Change::default()
    }
}

/// A set that works in the place of all others.
async fn mend_sets(cluster: &Cluster, key: &str, service: &ServiceRow) -> Result<(), String> {
    let refused = |error| format!("{error:?}");
    let change = Change { desired: Some(3), ..Change::default() };
    cluster.update_service(&service.name, change).await.map_err(refused)?;
    let sets: Vec<Deployment> = cluster
        .plane
        .audit(|audit| audit.services.rollouts.get(key).map(|rollout| rollout.deployments.clone()).unwrap_or_default());
    for set in sets {
        cluster.delete_task_set(&service.name, &set.id).await.map_err(refused)?;
    }
    let set = TaskSet {
        definition: sound(Capacity::Bridge).to_owned(),
        scale: 100.0,
        capacity: Capacity::Bridge,
        shares: Vec::new(),
    };
    let mut answer = cluster.create_task_set(&service.name, &set).await;
    for _ in 0..TRIES_MAX {
        if answer.is_ok() {
            break;
        }
        sleep(TRY_INTERVAL).await;
        answer = cluster.create_task_set(&service.name, &set).await;
    }
    let set = answer.map_err(refused)?.unwrap_or_default();
    cluster.promote_task_set(&service.name, &set).await.map_err(refused)
}
