//! How long tasks may run, and how many at one time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, merged, owner, reasons, refusal, text};

fn tags(key: &str, value: &str) -> Value {
    json!({ "tags": [{ "key": key, "value": value }] })
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_when_its_time_is_over() {
    let bench = Bench::running().await;
    bench.join("a", json!({})).await;
    bench.define("slow", json!({ "memory": 10 }), tags("estiva:timeout", "10m")).await;
    let input = merged(json!({ "taskDefinition": "slow" }), tags("estiva:timeout", "90s"));
    let short = text(&bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["taskArn"]);
    let long = bench.run("slow").await;
    let endless = bench.run("web").await;
    bench.rest().await;
    let status = async |task: &str| text(&bench.task(task).await["desiredStatus"]);
    tokio::time::sleep(Duration::from_secs(89)).await;
    assert_eq!(status(&short).await, "RUNNING");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((status(&short).await, status(&long).await), ("STOPPED".to_owned(), "RUNNING".to_owned()));
    assert!(text(&bench.task(&short).await["stoppedReason"]).contains("timeout of 90 s"));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((status(&long).await, status(&endless).await), ("STOPPED".to_owned(), "RUNNING".to_owned()));
}

#[tokio::test]
async fn no_more_tasks_run_at_one_time_than_may() {
    let bench = Bench::with_nodes(&["a", "b"]).await;
    bench.define("few", json!({ "memory": 10 }), tags("estiva:concurrency", "2")).await;
    let run =
        async |count: i32| bench.run_task(&owner(), json!({ "taskDefinition": "few", "count": count })).await.unwrap();
    let first = run(3).await;
    assert_eq!((first["tasks"].as_array().unwrap().len(), reasons(&first)), (2, vec!["CONCURRENCY".to_owned()]));
    let task = text(&first["tasks"][0]["taskArn"]);
    bench.stop_task(&owner(), json!({ "task": task })).await.unwrap();
    assert_eq!(reasons(&run(1).await), ["CONCURRENCY"], "it has not ended yet");
    bench.submit_task_state_change(&owner(), json!({ "task": task, "status": "STOPPED" })).await.unwrap();
    assert_eq!(run(1).await["tasks"].as_array().unwrap().len(), 1);
    let other = json!({ "taskDefinition": "few", "group": "other" });
    assert_eq!(bench.run_task(&owner(), other).await.unwrap()["failures"], json!([]), "another group counts by itself");
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused() {
    let bench = Bench::with_nodes(&["a"]).await;
    for (key, value) in
        [("estiva:timeout", "soon"), ("estiva:timeout", "0s"), ("estiva:concurrency", "0"), ("estiva:concurrency", "x")]
    {
        let refused =
            refusal(bench.run_task(&owner(), merged(json!({ "taskDefinition": "web" }), tags(key, value))).await);
        assert!(refused.starts_with("InvalidParameterException") && refused.contains(key), "{refused}");
    }
}

#[tokio::test]
async fn start_task_starts_no_more_than_may_run() {
    let bench = Bench::with_nodes(&[]).await;
    let (a, b) = (bench.join("a", json!({})).await, bench.join("b", json!({})).await);
    bench.define("one", json!({ "memory": 10 }), tags("estiva:concurrency", "1")).await;
    let input = json!({ "taskDefinition": "one", "containerInstances": [a, b] });
    let answer = bench.start_task(&owner(), input).await.unwrap();
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(answer["failures"], json!([{ "arn": b, "reason": "CONCURRENCY" }]));
}
