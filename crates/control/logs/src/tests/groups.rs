//! Log groups and their tags.

use std::collections::BTreeMap;

use super::*;

async fn describe(bench: &Bench, input: DescribeLogGroupsRequest) -> Result<DescribeLogGroupsResponse, Error> {
    bench.logs.describe_log_groups(bench.ask(input)).await
}

async fn names(bench: &Bench, input: DescribeLogGroupsRequest) -> Vec<String> {
    let answer = describe(bench, input).await.unwrap();
    answer.log_groups.unwrap().into_iter().map(|group| group.log_group_name.unwrap()).collect()
}

async fn delete(bench: &Bench, name: &str) -> Result<(), Error> {
    let input = DeleteLogGroupRequest { log_group_name: name.to_owned() };
    bench.logs.delete_log_group(bench.ask(input)).await
}

#[tokio::test]
async fn a_group_is_described_as_it_was_created() {
    let bench = Bench::new();
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let input = CreateLogGroupRequest { log_group_name: "/ecs/web".to_owned(), tags: Some(tags), ..Default::default() };
    bench.logs.create_log_group(bench.ask(input)).await.unwrap();
    let groups = describe(&bench, DescribeLogGroupsRequest::default()).await.unwrap().log_groups.unwrap();
    let expected = LogGroup {
        arn: text("arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*"),
        log_group_arn: text("arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web"),
        log_group_name: text("/ecs/web"),
        creation_time: Some(NOW),
        metric_filter_count: Some(0),
        stored_bytes: Some(0),
        deletion_protection_enabled: Some(false),
        log_group_class: Some(LogGroupClass::Standard),
        ..Default::default()
    };
    assert_eq!(groups, [expected]);
}

#[tokio::test]
async fn names_are_checked_and_unique_within_an_account_and_region() {
    let mut bench = Bench::new();
    bench.create_group("a").await.unwrap();
    let (code, message) = refused(bench.create_group("a").await);
    assert_eq!(code, "ResourceAlreadyExistsException");
    assert_eq!(message, "The specified log group already exists");
    let long = "x".repeat(513);
    for name in ["", "a b", "a:b", "ä", "*", &long] {
        assert_refused(bench.create_group(name).await, "InvalidParameterException");
    }
    for (account, region) in [("000000000000", "eu-west-1"), ("111111111111", "us-east-1")] {
        bench.caller = caller(account, region);
        assert!(names(&bench, DescribeLogGroupsRequest::default()).await.is_empty());
        bench.create_group("a").await.unwrap();
    }
}

#[tokio::test]
async fn groups_are_listed_in_order_page_by_page() {
    let bench = Bench::new();
    for number in (0..60).rev() {
        bench.create_group(&format!("g{number:02}")).await.unwrap();
    }
    let first = describe(&bench, DescribeLogGroupsRequest::default()).await.unwrap();
    assert_eq!(first.log_groups.unwrap().len(), 50);
    let input = DescribeLogGroupsRequest { next_token: first.next_token, ..Default::default() };
    let second = describe(&bench, input).await.unwrap();
    assert_eq!((second.log_groups.unwrap().len(), second.next_token), (10, None));
    let input = || DescribeLogGroupsRequest { log_group_name_prefix: text("g1"), ..Default::default() };
    let page = describe(&bench, DescribeLogGroupsRequest { limit: Some(10), ..input() }).await.unwrap();
    assert_eq!((page.log_groups.unwrap().len(), page.next_token), (10, None));
    let page = describe(&bench, DescribeLogGroupsRequest { limit: Some(9), ..input() }).await.unwrap();
    let rest = DescribeLogGroupsRequest { next_token: page.next_token, ..input() };
    assert_eq!(names(&bench, rest).await, ["g19"]);
    let bad = DescribeLogGroupsRequest { next_token: text("no token"), ..Default::default() };
    assert_refused(describe(&bench, bad).await, "InvalidParameterException");
}

#[tokio::test]
async fn groups_are_found_by_pattern_and_identifier() {
    let bench = Bench::new();
    for name in ["/ecs/web", "/ecs/db", "other"] {
        bench.create_group(name).await.unwrap();
    }
    let pattern = DescribeLogGroupsRequest { log_group_name_pattern: text("cs/w"), ..Default::default() };
    assert_eq!(names(&bench, pattern.clone()).await, ["/ecs/web"]);
    let both = DescribeLogGroupsRequest { log_group_name_prefix: text("/"), ..pattern };
    assert_refused(describe(&bench, both).await, "InvalidParameterException");
    let identifiers = ["other", "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/db"].map(str::to_owned);
    let input = DescribeLogGroupsRequest { log_group_identifiers: Some(identifiers.to_vec()), ..Default::default() };
    assert_eq!(names(&bench, input).await, ["/ecs/db", "other"]);
}

#[tokio::test]
async fn a_deleted_group_takes_all_with_it() {
    let bench = Bench::with_streams(&["s"]).await;
    bench.put("s", &[(0, "old")]).await.unwrap();
    let before = describe(&bench, DescribeLogGroupsRequest::default()).await.unwrap().log_groups.unwrap();
    assert!(before[0].stored_bytes.unwrap() > 0);
    delete(&bench, "g").await.unwrap();
    assert_eq!(refused(delete(&bench, "g").await).1, "The specified log group does not exist.");
    assert_eq!(std::fs::read_dir(bench.dir.path().join("logs")).unwrap().count(), 0);
    bench.create_group("g").await.unwrap();
    assert_refused(bench.put("s", &[(0, "new")]).await, "ResourceNotFoundException");
    bench.create_stream("g", "s").await.unwrap();
    assert!(texts(&bench.get(of_s()).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_protected_group_is_not_deleted() {
    let bench = Bench::with_streams(&[]).await;
    let protect = |enabled| PutLogGroupDeletionProtectionRequest {
        deletion_protection_enabled: enabled,
        log_group_identifier: "g".to_owned(),
    };
    bench.logs.put_log_group_deletion_protection(bench.ask(protect(true))).await.unwrap();
    assert_refused(delete(&bench, "g").await, "ValidationException");
    bench.logs.put_log_group_deletion_protection(bench.ask(protect(false))).await.unwrap();
    delete(&bench, "g").await.unwrap();
}

#[tokio::test]
async fn retention_takes_only_the_numbers_of_days_that_there_are() {
    let bench = Bench::with_streams(&[]).await;
    for days in [0, 2, -1, 4000] {
        assert_refused(bench.retain(days).await, "InvalidParameterException");
    }
    for days in
        [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
    {
        bench.retain(days).await.unwrap();
        let groups = describe(&bench, DescribeLogGroupsRequest::default()).await.unwrap().log_groups.unwrap();
        assert_eq!(groups[0].retention_in_days, Some(days));
    }
    let input = DeleteRetentionPolicyRequest { log_group_name: "g".to_owned() };
    bench.logs.delete_retention_policy(bench.ask(input)).await.unwrap();
    let groups = describe(&bench, DescribeLogGroupsRequest::default()).await.unwrap().log_groups.unwrap();
    assert_eq!(groups[0].retention_in_days, None);
}

const ARN: &str = "arn:aws:logs:us-east-1:000000000000:log-group:g";

#[tokio::test]
async fn tags_are_the_same_by_name_and_by_arn() {
    let bench = Bench::with_streams(&[]).await;
    let tags = |tags: &[(&str, &str)]| -> BTreeMap<_, _> {
        tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let input = TagResourceRequest { resource_arn: ARN.to_owned(), tags: tags(&[("a", "1"), ("b", "2")]) };
    bench.logs.tag_resource(bench.ask(input)).await.unwrap();
    let input = TagLogGroupRequest { log_group_name: "g".to_owned(), tags: tags(&[("b", "3"), ("c", "4")]) };
    bench.logs.tag_log_group(bench.ask(input)).await.unwrap();
    let input = UntagResourceRequest { resource_arn: format!("{ARN}:*"), tag_keys: vec!["a".to_owned()] };
    bench.logs.untag_resource(bench.ask(input)).await.unwrap();
    let input = UntagLogGroupRequest { log_group_name: "g".to_owned(), tags: vec!["none".to_owned()] };
    bench.logs.untag_log_group(bench.ask(input)).await.unwrap();
    let expected = tags(&[("b", "3"), ("c", "4")]);
    let input = ListTagsForResourceRequest { resource_arn: ARN.to_owned() };
    assert_eq!(bench.logs.list_tags_for_resource(bench.ask(input)).await.unwrap().tags.unwrap(), expected);
    let input = ListTagsLogGroupRequest { log_group_name: "g".to_owned() };
    assert_eq!(bench.logs.list_tags_log_group(bench.ask(input)).await.unwrap().tags.unwrap(), expected);
}

#[tokio::test]
async fn tags_have_limits_and_arns_are_checked() {
    let bench = Bench::with_streams(&[]).await;
    let tag = async |arn: &str, keys: std::ops::Range<i32>, prefix: &str| {
        let tags = keys.map(|key| (format!("{prefix}{key}"), String::new())).collect();
        bench.logs.tag_resource(bench.ask(TagResourceRequest { resource_arn: arn.to_owned(), tags })).await
    };
    tag(ARN, 0..50, "k").await.unwrap();
    assert_refused(tag(ARN, 50..51, "k").await, "TooManyTagsException");
    assert_refused(tag(ARN, 0..1, "aws:").await, "InvalidParameterException");
    assert_refused(tag("g", 0..1, "k").await, "InvalidParameterException");
    assert_refused(tag("arn:aws:ecs:us-east-1:000000000000:cluster/g", 0..1, "k").await, "InvalidParameterException");
    assert_refused(tag(&ARN.replace("us-east-1", "eu-west-1"), 0..1, "k").await, "ResourceNotFoundException");
    assert_refused(tag(&format!("{ARN}x"), 0..1, "k").await, "ResourceNotFoundException");
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let bench = Bench::new();
    let key = CreateLogGroupRequest { log_group_name: "g".to_owned(), kms_key_id: text("k"), ..Default::default() };
    assert_refused(bench.logs.create_log_group(bench.ask(key)).await, "NotImplemented");
    assert_refused(bench.logs.start_query(bench.ask(StartQueryRequest::default())).await, "NotImplemented");
}

#[tokio::test]
async fn events_of_a_group_that_the_store_does_not_know_are_left_alone() {
    let bench = Bench::with_streams(&["s"]).await;
    bench.put("s", &[(0, "old")]).await.unwrap();
    let Bench { logs, caller, now, dir, .. } = bench;
    drop(logs);
    let backend = Memory::new();
    let bench = Bench { logs: service(backend.clone(), &dir, &now, Some(0)), caller, now, backend, dir };
    // The same names and the same transactions, but another time.
    bench.advance(1);
    bench.create_group("g").await.unwrap();
    bench.create_stream("g", "s").await.unwrap();
    assert!(texts(&bench.get(of_s()).await.unwrap()).is_empty());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("logs")).unwrap().count(), 1);
}
