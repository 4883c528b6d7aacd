//! What must be once no more faults happen: every task that is wanted runs on exactly its node, and nothing else runs anywhere.

mod services;

use std::collections::BTreeSet;
use std::time::Duration;

use estiva_ecs::container_instance::table::{ConnectionRow, arn};
use estiva_ecs::task::table::TaskRow;
use estiva_planning::lifecycle::{DesiredStatus, TaskState, TaskStatus};
use estiva_store::Row;
use tokio::time::sleep;

use crate::agent::tasks::Phase;
use crate::agent::{Node, Power, short};
use crate::audit::Audit;
use crate::cluster::Cluster;
use crate::plane::instance_key;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long it is watched that nothing happens any more.
const REST: Duration = Duration::from_secs(60);
/// Messages that a node gets at rest in that time: heartbeats, and a few more.
const REST_FRAMES_MAX: u64 = 6;

/// Waits until everything is as it is wanted, and sees that it stays so at no cost. What is still wrong after `patience` is a
/// violation.
pub async fn settle(cluster: &Cluster, patience: Duration) {
    let mut waited = Duration::ZERO;
    loop {
        let wrong = unsettled(cluster);
        if wrong.is_empty() {
            break;
        }
        if waited >= patience {
            for what in wrong {
                cluster.world.violated(&format!("{} s after the last fault: {what}", waited.as_secs()));
            }
            return;
        }
        sleep(LOOK_INTERVAL).await;
        waited += LOOK_INTERVAL;
    }
    cluster.world.say(format_args!("settled"));
    rest(cluster).await;
}

/// At rest nothing is written and hardly anything said.
async fn rest(cluster: &Cluster) {
    let counted = || (cluster.plane.audit(|audit| audit.transactions), cluster.world.frames());
    let before = counted();
    sleep(REST).await;
    let after = counted();
    let is_steady = unsettled(cluster);
    for what in is_steady {
        cluster.world.violated(&format!("after it had settled: {what}"));
    }
    let (transactions, frames) = (after.0 - before.0, after.1 - before.1);
    if transactions > 0 {
        cluster.world.violated(&format!("{transactions} transactions at rest"));
    }
    if frames > cluster.nodes.len() as u64 * REST_FRAMES_MAX {
        cluster.world.violated(&format!("{frames} messages at rest"));
    }
}

/// What is not as it is wanted.
pub fn unsettled(cluster: &Cluster) -> Vec<String> {
    let mut wrong = cluster.plane.audit(|audit| wrong_tasks(cluster, audit));
    wrong.extend(cluster.plane.audit(|audit| services::wrong(audit)));
    for node in cluster.nodes.iter().filter(|node| node.power() == Power::On) {
        wrong.extend(wrong_on(cluster, node));
    }
    wrong
}

/// Tasks that are not where and as they are wanted.
fn wrong_tasks(cluster: &Cluster, audit: &Audit) -> Vec<String> {
    let live = audit.live();
    live.filter_map(|(row, state)| Some(format!("task {} {}", short(&row.id), wrong_with(cluster, audit, row, state)?)))
        .collect()
}

fn wrong_with(cluster: &Cluster, audit: &Audit, row: &TaskRow, state: &TaskState) -> Option<String> {
    let instance = arn(&row.scope, &row.container_instance_cluster, &row.container_instance);
    let Some(node) = cluster.node_of(&instance) else { return Some("is on no node".to_owned()) };
    if node.power() == Power::Gone {
        // Nobody knows what became of it, until the owner says that the node is gone.
        return None;
    }
    if row.desired_status == DesiredStatus::Stopped {
        return Some(format!("is to stop, and {}", state.last_status.as_str()));
    }
    if state.last_status != TaskStatus::Running {
        return Some(format!("is {}", state.last_status.as_str()));
    }
    if row.timeout_seconds.is_some() {
        return Some("is to run for a time, and runs".to_owned());
    }
    if row.group.starts_with("hook:") {
        return Some("is that of a hook, and runs though none holds up anything".to_owned());
    }
    if audit.protected_until(&row.key()).is_some() {
        return Some("is protected still".to_owned());
    }
    let (phase, health) = node.tasks(|tasks| (tasks.phase(&row.arn()), tasks.health_of(&row.arn())));
    if phase != Some(Phase::Running) {
        return Some(format!("is {phase:?} on {}", node.name()));
    }
    let known = state.containers.first().map(|container| container.health);
    (known != health).then(|| format!("is {health:?} on {}, and {known:?}", node.name()))
}

fn wrong_on(cluster: &Cluster, node: &Node) -> Vec<String> {
    let Some(instance) = node.instance() else { return vec![format!("{} is not registered", node.name())] };
    let key = instance_key(&instance);
    let wanted: BTreeSet<String> = cluster.plane.audit(|audit| audit.holders(&key).map(TaskRow::arn).collect());
    let mut wrong = node.tasks(|tasks| {
        let live = tasks.phases().filter(|(_, phase)| *phase != Phase::Ended);
        let surplus = live.filter(|(task, _)| !wanted.contains(*task));
        let mut wrong: Vec<_> = surplus.map(|(task, _)| format!("{} runs {}", node.name(), short(task))).collect();
        wrong.extend(tasks.next().map(|_| format!("something is about to happen on {}", node.name())));
        wrong.extend(
            tasks.unreported().map(|report| format!("{} has not told of {}", node.name(), short(&report.task))),
        );
        wrong
    });
    let view = cluster.plane.view();
    if !view.is_some_and(|view| view.get::<ConnectionRow>(&key).is_some_and(|row| row.connected)) {
        wrong.push(format!("{} is not connected", node.name()));
    }
    wrong
}
