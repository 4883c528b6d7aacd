//! What a node reports of its tasks: until it is accepted, sometimes late, sometimes twice.

use std::time::Duration;

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types as api;
use tokio::time::sleep;

use super::tasks::Report;
use super::{Backoff, Node, short};
use crate::plane::{CallError, request_of};
use crate::world::lock;

/// By how much a repeated report is late.
const LATE_MS: std::ops::Range<u64> = 100..30_000;

/// Reports whatever is to be reported, one after another.
pub(super) async fn run(node: &Node) {
    let mut backoff = Backoff::default();
    loop {
        let changed = node.0.news.notified();
        let Some(report) = lock(&node.0.tasks).unreported() else {
            changed.await;
            continue;
        };
        match submit(node, &report).await {
            Ok(_) => {
                node.say(&format!("reported {} {}", short(&report.task), report.status));
                node.tasks(|tasks| tasks.reported(&report));
                backoff = Backoff::default();
            }
            // As AWS's agent: what the control plane will never take is dropped.
            Err(CallError::Refused(error)) => {
                node.say(&format!("report of {} is refused: {error}", short(&report.task)));
                node.tasks(|tasks| tasks.reported(&report));
            }
            Err(CallError::Lost) => backoff.wait(node).await,
        }
    }
}

async fn submit(node: &Node, report: &Report) -> Result<api::SubmitTaskStateChangeResponse, CallError> {
    let (name, input) = (node.0.name.clone(), input(report));
    if node.chance(node.0.world.weather().late) {
        tokio::spawn(repeat(node.clone(), input.clone()));
    }
    node.call(|ecs| async move { ecs.submit_task_state_change(request_of(&name, input)).await }).await
}

/// The network brings a report once more, long after it was sent.
async fn repeat(node: Node, input: api::SubmitTaskStateChangeRequest) {
    sleep(Duration::from_millis(node.random(LATE_MS))).await;
    let name = node.0.name.clone();
    // Nobody waits for the answer.
    let _ = node.0.plane.call(|ecs| async move { ecs.submit_task_state_change(request_of(&name, input)).await }).await;
}

fn input(report: &Report) -> api::SubmitTaskStateChangeRequest {
    let containers = report.containers.iter().map(|name| api::ContainerStateChange {
        container_name: Some(name.clone()),
        status: Some(report.status.to_owned()),
        exit_code: report.exit_code,
        ..api::ContainerStateChange::default()
    });
    api::SubmitTaskStateChangeRequest {
        cluster: Some("default".to_owned()),
        task: Some(report.task.clone()),
        status: Some(report.status.to_owned()),
        reason: report.reason.clone(),
        containers: Some(containers.collect()),
        ..api::SubmitTaskStateChangeRequest::default()
    }
}
