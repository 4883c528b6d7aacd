//! Who sets what for whom, and what holds in the end.

use serde_json::{Value, json};

use crate::container_instance::tests::bench::{Bench, owner, refusal};

async fn effective(bench: &Bench, principal: &str) -> Value {
    let input = json!({ "name": "containerInsights", "effectiveSettings": true, "principalArn": principal });
    bench.list_account_settings(&owner(), input).await.unwrap()["settings"][0]["value"].clone()
}

#[tokio::test]
async fn a_principals_own_setting_wins_over_the_accounts() {
    let bench = Bench::with_nodes(&[]).await;
    let (ada, bob) = ("arn:aws:iam::000000000000:user/ada", "arn:aws:iam::000000000000:role/bob");
    assert_eq!(effective(&bench, ada).await, "disabled");
    let default = json!({ "name": "containerInsights", "value": "enabled" });
    bench.put_account_setting_default(&owner(), default).await.unwrap();
    let own = json!({ "name": "containerInsights", "value": "enhanced", "principalArn": ada });
    let put = bench.put_account_setting(&owner(), own).await.unwrap();
    let expected = json!({ "name": "containerInsights", "value": "enhanced", "principalArn": ada, "type": "user" });
    assert_eq!(put["setting"], expected);
    assert_eq!((effective(&bench, ada).await, effective(&bench, bob).await), (json!("enhanced"), json!("enabled")));
    let cluster = bench.create_cluster(&owner(), json!({ "clusterName": "watched" })).await.unwrap();
    assert_eq!(cluster["cluster"]["settings"], json!([{ "name": "containerInsights", "value": "enabled" }]));
    let gone = json!({ "name": "containerInsights", "principalArn": ada });
    let deleted = bench.delete_account_setting(&owner(), gone).await.unwrap();
    assert_eq!(deleted["setting"]["value"], "enabled");
}

#[tokio::test]
async fn lists_have_what_was_set_or_what_holds() {
    let bench = Bench::with_nodes(&[]).await;
    let listed = async |input: Value| {
        let answer = bench.list_account_settings(&owner(), input).await.unwrap();
        let settings = answer["settings"].as_array().unwrap().clone();
        (
            settings.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
            answer["nextToken"].clone(),
        )
    };
    assert_eq!(listed(json!({})).await.0, Vec::<String>::new());
    bench.put_account_setting(&owner(), json!({ "name": "awsvpcTrunking", "value": "enabled" })).await.unwrap();
    assert_eq!(listed(json!({})).await.0, ["awsvpcTrunking"]);
    let (mut names, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({ "effectiveSettings": true, "maxResults": 4 });
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = listed(input).await;
        names.extend(page.0);
        token = page.1;
        if token.is_null() {
            break;
        }
    }
    let sorted: std::collections::BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!((names.len(), sorted.into_iter().collect::<Vec<_>>()), (11, names));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let bench = Bench::with_nodes(&[]).await;
    for (input, expected) in [
        (json!({ "name": "containerInsights", "value": "maybe" }), "Invalid value 'maybe'"),
        (json!({ "name": "taskLongArnFormat", "value": "disabled" }), "taskLongArnFormat"),
        (json!({ "name": "guardDutyActivate", "value": "on" }), "managed by AWS"),
        (json!({ "name": "awsvpcTrunking", "value": "enabled", "principalArn": "ada" }), "principalArn"),
        (
            json!({ "name": "awsvpcTrunking", "value": "enabled", "principalArn": "arn:aws:iam::111111111111:user/ada" }),
            "principalArn",
        ),
    ] {
        let told = refusal(bench.put_account_setting(&owner(), input.clone()).await);
        assert!(told.starts_with("InvalidParameterException") && told.contains(expected), "{input}: {told}");
    }
}
