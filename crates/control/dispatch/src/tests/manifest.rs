//! What a node ought to have, and what it may stop.

use std::collections::BTreeSet;

use estiva_agent_protocol::acs::{AgentMessage, ManifestTask, ServerMessage, TaskManifest, TaskStopVerification};

use super::bench::{Bench, Node};

async fn manifest(node: &mut Node) -> TaskManifest {
    loop {
        match node.next().await {
            ServerMessage::TaskManifest(manifest) => return manifest,
            ServerMessage::Payload(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Of these tasks, those that the server lets the node stop.
async fn verified(node: &mut Node, candidates: &[&str]) -> Vec<String> {
    let candidate = |arn: &&str| ManifestTask { task_arn: (*arn).to_owned(), ..ManifestTask::default() };
    let stop_candidates = candidates.iter().map(candidate).collect();
    let question = TaskStopVerification { message_id: "m".to_owned(), stop_candidates };
    node.say(AgentMessage::TaskStopVerification(question)).await;
    loop {
        match node.next().await {
            ServerMessage::TaskStopVerificationAck(answer) => {
                assert_eq!(answer.message_id, "m");
                return answer.stop_tasks.into_iter().map(|task| task.task_arn).collect();
            }
            ServerMessage::TaskManifest(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_whose_task_was_reported_stopped_is_shown_what_it_is_to_have() {
    let bench = Bench::with_definition().await;
    let mut node = bench.join("a").await;
    let tasks = bench.run(2).await;
    node.payload().await;
    for task in &tasks {
        bench.report("a", task, "RUNNING").await;
    }
    // By another than the node: it knows nothing of that, and runs the task.
    bench.report("a", &tasks[0], "STOPPED").await;
    let shown = manifest(&mut node).await;
    let listed: Vec<_> = shown.tasks.iter().map(|task| &task.task_arn).collect();
    assert_eq!(listed, [&tasks[1]]);
    assert_eq!(verified(&mut node, &[&tasks[0], &tasks[1]]).await, [tasks[0].clone()]);
}

#[tokio::test]
async fn the_manifest_names_what_has_not_ended() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    assert_eq!(manifest(&mut node).await.tasks, []);
    let tasks = bench.run(3).await;
    node.payload().await;
    bench.report("a", &tasks[0], "STOPPED").await;
    bench.stop(&tasks[1]).await;
    drop(node);
    bench.noted(&arn, false).await;
    let manifest = manifest(&mut bench.connect("a", &arn).await).await;
    let listed: BTreeSet<_> =
        manifest.tasks.iter().map(|task| (task.task_arn.as_str(), task.desired_status.as_str())).collect();
    assert_eq!(listed, BTreeSet::from([(tasks[1].as_str(), "STOPPED"), (tasks[2].as_str(), "RUNNING")]));
    assert!(manifest.tasks.iter().all(|task| task.task_cluster_arn.ends_with(":cluster/default")));
}

#[tokio::test]
async fn a_node_may_stop_exactly_what_is_not_its_own() {
    let bench = Bench::with_definition().await;
    let (mut a, mut b) = (bench.join("a").await, bench.join("b").await);
    bench.run(2).await;
    let mine = a.told().await.remove(0).0;
    let others = b.told().await.remove(0).0;
    let unknown = "arn:aws:ecs:us-east-1:000000000000:task/default/00000000000000000000000000000000";
    assert_eq!(verified(&mut a, &[&mine, &others, unknown, "no arn"]).await, [&others, unknown, "no arn"]);
    bench.report("a", &mine, "STOPPED").await;
    assert_eq!(verified(&mut a, &[&mine]).await, [mine]);
    assert!(verified(&mut a, &[]).await.is_empty());
}
