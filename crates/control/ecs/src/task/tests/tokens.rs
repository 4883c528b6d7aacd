//! Client tokens: a call that is made twice makes its tasks once.

use serde_json::json;

use crate::container_instance::tests::bench::{Bench, merged, owner, reasons, refusal};
use crate::task::table::TaskRow;

#[tokio::test]
async fn a_repeated_call_answers_as_the_first_did() {
    let bench = Bench::with_nodes(&["a"]).await;
    let input = json!({ "taskDefinition": "web", "count": 2, "clientToken": "t1" });
    // At the same time, as a client does that has lost patience.
    let (owner, again) = (owner(), input.clone());
    let (first, second) = tokio::join!(bench.run_task(&owner, input.clone()), bench.run_task(&owner, again));
    let (first, second) = (first.unwrap(), second.unwrap());
    let arns = |answer: &serde_json::Value| {
        answer["tasks"].as_array().unwrap().iter().map(|task| task["taskArn"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(arns(&first).len(), 2);
    assert_eq!(arns(&first), arns(&second));
    assert_eq!(bench.count::<TaskRow>(), 2);

    let other = refusal(bench.run_task(&owner, merged(input.clone(), json!({ "count": 1 }))).await);
    assert!(other.starts_with("ConflictException"), "{other}");
    bench.run_task(&owner, merged(input, json!({ "clientToken": "t2" }))).await.unwrap();
    assert_eq!(bench.count::<TaskRow>(), 4);
}

#[tokio::test]
async fn a_call_that_made_nothing_may_be_made_again() {
    let bench = Bench::with_nodes(&[]).await;
    let silent = bench.register("a", json!({})).await.unwrap();
    let input = json!({ "taskDefinition": "web", "clientToken": "t1" });
    for _ in 0..2 {
        let answer = bench.run_task(&owner(), input.clone()).await.unwrap();
        assert_eq!((&answer["tasks"], reasons(&answer)), (&json!([]), vec!["AGENT".to_owned()]));
    }
    bench.connect(&silent, true).await;
    let made = bench.run_task(&owner(), input.clone()).await.unwrap();
    assert_eq!(made["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(bench.run_task(&owner(), input).await.unwrap()["tasks"][0]["taskArn"], made["tasks"][0]["taskArn"]);
}

#[tokio::test]
async fn what_was_not_made_is_said_again_too() {
    let bench = Bench::with_nodes(&["a"]).await;
    let input = json!({ "taskDefinition": "web", "count": 5, "clientToken": "t1" });
    let first = bench.run_task(&owner(), input.clone()).await.unwrap();
    assert_eq!((first["tasks"].as_array().unwrap().len(), reasons(&first)), (4, vec!["RESOURCE:CPU".to_owned()]));
    assert_eq!(bench.run_task(&owner(), input).await.unwrap(), first);
}
