//! Client tokens: a call that is made twice makes its tasks once.

use serde_json::json;

use crate::container_instance::tests::bench::{Bench, merged, owner, refusal};
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
