//! Tasks on their way to a node.

use std::collections::BTreeSet;

use estiva_agent_protocol::acs::{AgentMessage, Nack, ServerMessage};
use estiva_ecs::task::table::TaskRow;
use estiva_store::backend::Memory;
use estiva_store::{Row, Schema, Store};

use super::bench::{Bench, Node, instance_key};
use crate::assignments::{Assignments, Batch};
use crate::sessions::{Dirty, SESSIONS_MAX};

fn running(task: &str) -> (String, String) {
    (task.to_owned(), "RUNNING".to_owned())
}

fn stopped(task: &str) -> (String, String) {
    (task.to_owned(), "STOPPED".to_owned())
}

/// All tasks that a node hears of, up to the manifest.
async fn told_first(node: &mut Node) -> BTreeSet<(String, String)> {
    let mut told = BTreeSet::new();
    loop {
        match node.next().await {
            ServerMessage::Payload(payload) => {
                told.extend(payload.tasks.into_iter().map(|task| (task.arn, task.desired_status)));
            }
            ServerMessage::TaskManifest(_) => return told,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_task_reaches_its_node_when_it_is_run_and_when_it_is_stopped() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    let task = bench.run(1).await.remove(0);
    let payload = node.payload().await;
    assert_eq!(payload.container_instance_arn, arn);
    assert_eq!(payload.cluster_arn, "arn:aws:ecs:us-east-1:000000000000:cluster/default");
    let sent = &payload.tasks[0];
    assert_eq!((&sent.arn, sent.desired_status.as_str()), (&task, "RUNNING"));
    assert_eq!((sent.family.as_str(), sent.version.as_str(), sent.containers.len()), ("web", "1", 1));
    node.ack(&payload.message_id).await;
    bench.report("a", &task, "RUNNING").await;
    bench.stop(&task).await;
    assert_eq!(node.told().await, [stopped(&task)]);
}

#[tokio::test]
async fn what_a_node_knows_is_not_sent_again_within_a_session() {
    let bench = Bench::with_definition().await;
    let mut node = bench.join("a").await;
    let first = bench.run(1).await.remove(0);
    assert_eq!(node.told().await, [running(&first)]);
    bench.report("a", &first, "RUNNING").await;
    bench.report("a", &first, "STOPPED").await;
    // Had the reports caused a payload, it would come before this one.
    let second = bench.run(1).await.remove(0);
    assert_eq!(node.told().await, [running(&second)]);
}

#[tokio::test]
async fn each_node_hears_of_its_own_tasks_only() {
    let bench = Bench::with_definition().await;
    let mut nodes = [bench.join("a").await, bench.join("b").await];
    let tasks: BTreeSet<_> = bench.run(2).await.into_iter().collect();
    // One is placed on each, to spread them.
    let mut told = BTreeSet::new();
    for node in &mut nodes {
        let payload = node.told().await;
        assert_eq!(payload.len(), 1);
        told.insert(payload[0].0.clone());
    }
    assert_eq!(told, tasks);
}

#[tokio::test]
async fn a_payload_has_at_most_ten_tasks() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    let tasks = bench.run(12).await;
    drop(node);
    bench.noted(&arn, false).await;
    let mut node = bench.connect("a", &arn).await;
    let (first, second) = (node.told().await, node.told().await);
    assert_eq!((first.len(), second.len()), (10, 2));
    let told: BTreeSet<_> = first.into_iter().chain(second).collect();
    assert_eq!(told, tasks.iter().map(|task| running(task)).collect());
    assert!(matches!(node.next().await, ServerMessage::TaskManifest(manifest) if manifest.tasks.len() == 12));
}

#[tokio::test]
async fn after_a_reconnect_everything_that_has_not_ended_is_sent_again() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    let tasks = bench.run(4).await;
    let payload = node.payload().await;
    node.ack(&payload.message_id).await;
    bench.report("a", &tasks[1], "RUNNING").await;
    bench.report("a", &tasks[2], "STOPPED").await;
    drop(node);
    bench.noted(&arn, false).await;
    bench.stop(&tasks[3]).await;
    let expected = [running(&tasks[0]), running(&tasks[1]), stopped(&tasks[3])];
    let mut node = bench.connect("a", &arn).await;
    assert_eq!(told_first(&mut node).await, expected.into_iter().collect());
}

#[tokio::test]
async fn generations_grow_over_a_restart() {
    let bench = Bench::with_definition().await;
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.run(1).await;
    let before = node.payload().await.seq_num;
    let later = Bench::with(bench.crash(), SESSIONS_MAX).await;
    let after = later.connect("a", &arn).await.payload().await.seq_num;
    assert!(after > before, "{after} after {before}");
}

#[tokio::test]
async fn a_watcher_that_is_too_late_looks_at_everything() {
    // A history that holds no transaction of RunTask: the watcher can only find that it was left behind.
    let options = estiva_store::Options { history_changes_max: 1, ..estiva_store::Options::default() };
    let store = Store::open_with(Memory::new(), estiva_ecs::tables(Schema::new(1)), options).unwrap();
    let bench = Bench::with(store, SESSIONS_MAX).await;
    bench.define().await;
    let mut node = bench.join("a").await;
    for _ in 0..2 {
        let task = bench.run(1).await.remove(0);
        assert_eq!(node.told().await, [running(&task)]);
        bench.stop(&task).await;
        assert_eq!(node.told().await, [stopped(&task)]);
    }
}

/// Keys of tasks of a node, none of which it knows yet; and the node's account.
async fn account(bench: &Bench, count: usize) -> (Assignments, Vec<String>) {
    let arn = bench.register("a").await;
    let mut node = bench.connect("a", &arn).await;
    node.next().await;
    bench.run(count).await;
    let keys = bench.store.view().scan::<TaskRow>("").map(|row| row.key()).collect();
    (Assignments::new(instance_key(&arn), crate::Feeds::none()), keys)
}

fn arns(batches: &[Batch]) -> Vec<&str> {
    batches.iter().flat_map(|batch| &batch.tasks).map(|task| task.arn.as_str()).collect()
}

#[tokio::test]
async fn a_second_look_at_everything_sends_the_difference() {
    let bench = Bench::with_definition().await;
    let (mut account, keys) = account(&bench, 3).await;
    let one = Dirty { tasks: BTreeSet::from([keys[1].clone()]), ..Dirty::default() };
    let all = Dirty { all: true, ..Dirty::default() };
    assert_eq!(arns(&account.news(&bench.store.view(), &one)).len(), 1);
    assert_eq!(arns(&account.news(&bench.store.view(), &all)).len(), 2);
    assert!(account.news(&bench.store.view(), &all).is_empty());
    let row = bench.store.view().get::<TaskRow>(&keys[2]).unwrap();
    bench.stop(&row.arn()).await;
    assert_eq!(arns(&account.news(&bench.store.view(), &all)), [row.arn()]);
    // A key that means nothing (any more) does no harm.
    let gone = Dirty { tasks: BTreeSet::from(["gone".to_owned()]), ..Dirty::default() };
    assert!(account.news(&bench.store.view(), &gone).is_empty());
}

#[tokio::test]
async fn what_a_node_could_not_take_is_sent_once_more() {
    let bench = Bench::with_definition().await;
    let (mut account, _) = account(&bench, 12).await;
    let all = Dirty { all: true, ..Dirty::default() };
    let sent = account.news(&bench.store.view(), &all);
    assert_eq!(sent.len(), 2);
    assert!(account.refuse("of no payload").is_empty());
    assert!(account.retry(&bench.store.view()).is_empty());
    assert_eq!(account.refuse(&sent[1].message_id).len(), 2);
    assert!(account.refuse(&sent[1].message_id).is_empty(), "a node that repeats itself says nothing new");
    // One of them has ended since.
    let ended = sent[1].tasks[0].arn.clone();
    bench.report("a", &ended, "STOPPED").await;
    let again = account.retry(&bench.store.view());
    assert_eq!(arns(&again), [sent[1].tasks[1].arn.as_str()]);
    assert_ne!(again[0].message_id, sent[1].message_id);
    assert!(account.retry(&bench.store.view()).is_empty());
}

#[tokio::test]
async fn a_refusal_does_not_end_the_session() {
    let bench = Bench::with_definition().await;
    let mut node = bench.join("a").await;
    bench.run(1).await;
    let message_id = node.payload().await.message_id;
    node.say(AgentMessage::Nack(Nack { message_id, reason: "full".to_owned(), ..Nack::default() })).await;
    let next = bench.run(1).await.remove(0);
    assert_eq!(node.told().await, [running(&next)]);
}
