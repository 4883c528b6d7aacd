//! Log streams.

use super::*;

async fn describe(bench: &Bench, input: DescribeLogStreamsRequest) -> Result<DescribeLogStreamsResponse, Error> {
    let input = DescribeLogStreamsRequest { log_group_name: text("g"), ..input };
    bench.logs.describe_log_streams(bench.ask(input)).await
}

/// The names of all pages of this size.
async fn names(bench: &Bench, mut input: DescribeLogStreamsRequest, limit: i32) -> Vec<String> {
    input.limit = Some(limit);
    let mut names = Vec::new();
    loop {
        let answer = describe(bench, input.clone()).await.unwrap();
        let streams = answer.log_streams.unwrap();
        assert!(streams.len() <= usize::try_from(limit).unwrap());
        names.extend(streams.into_iter().map(|stream| stream.log_stream_name.unwrap()));
        match answer.next_token {
            None => return names,
            token => input.next_token = token,
        }
    }
}

async fn delete(bench: &Bench, name: &str) -> Result<(), Error> {
    let input = DeleteLogStreamRequest { log_group_name: "g".to_owned(), log_stream_name: name.to_owned() };
    bench.logs.delete_log_stream(bench.ask(input)).await
}

#[tokio::test]
async fn names_are_checked_and_unique_within_a_group() {
    let bench = Bench::with_streams(&["ecs/web/0123", "ä ö"]).await;
    let (code, message) = refused(bench.create_stream("g", "ä ö").await);
    assert_eq!((&*code, &*message), ("ResourceAlreadyExistsException", "The specified log stream already exists"));
    let long = "x".repeat(513);
    for name in ["", "a:b", "a*", &long] {
        assert_refused(bench.create_stream("g", name).await, "InvalidParameterException");
    }
    assert_eq!(refused(bench.create_stream("none", "s").await).1, "The specified log group does not exist.");
    bench.create_group("h").await.unwrap();
    bench.create_stream("h", "ä ö").await.unwrap();
}

#[tokio::test]
async fn a_stream_tells_of_its_events_also_after_a_restart() {
    let bench = Bench::with_streams(&["s"]).await;
    let described = async |bench: &Bench| {
        describe(bench, DescribeLogStreamsRequest::default()).await.unwrap().log_streams.unwrap().remove(0)
    };
    let empty = LogStream {
        arn: text("arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:s"),
        creation_time: Some(NOW),
        log_stream_name: text("s"),
        stored_bytes: Some(0),
        upload_sequence_token: Some("0".repeat(56)),
        ..Default::default()
    };
    assert_eq!(described(&bench).await, empty);
    bench.advance(100);
    let put = bench.put("s", &[(-5, "a"), (7, "b")]).await.unwrap();
    let full = LogStream {
        first_event_timestamp: Some(NOW - 5),
        last_event_timestamp: Some(NOW + 7),
        last_ingestion_time: Some(NOW + 100),
        upload_sequence_token: put.next_sequence_token,
        ..empty
    };
    assert_eq!(described(&bench).await, full);
    assert_eq!(described(&bench.restarted()).await, full);
}

#[tokio::test]
async fn streams_are_listed_by_name_and_by_last_event_in_both_directions() {
    let bench = Bench::with_streams(&["a", "b1", "b2", "c", "d"]).await;
    for (stream, after) in [("a", 30), ("b1", 10), ("b2", 30), ("c", 20)] {
        bench.put(stream, &[(after, "x")]).await.unwrap();
    }
    let input = DescribeLogStreamsRequest::default;
    for limit in 1..=6 {
        assert_eq!(names(&bench, input(), limit).await, ["a", "b1", "b2", "c", "d"]);
        let descending = DescribeLogStreamsRequest { descending: Some(true), ..input() };
        assert_eq!(names(&bench, descending.clone(), limit).await, ["d", "c", "b2", "b1", "a"]);
        let prefix = DescribeLogStreamsRequest { log_stream_name_prefix: text("b"), ..input() };
        assert_eq!(names(&bench, prefix, limit).await, ["b1", "b2"]);
        let prefix = DescribeLogStreamsRequest { log_stream_name_prefix: text("b"), ..descending.clone() };
        assert_eq!(names(&bench, prefix, limit).await, ["b2", "b1"]);
        let by_time = DescribeLogStreamsRequest { order_by: Some(OrderBy::LastEventTime), ..input() };
        assert_eq!(names(&bench, by_time.clone(), limit).await, ["d", "b1", "c", "a", "b2"]);
        let descending = DescribeLogStreamsRequest { descending: Some(true), ..by_time };
        assert_eq!(names(&bench, descending, limit).await, ["b2", "a", "c", "b1", "d"]);
    }
    let both = DescribeLogStreamsRequest {
        order_by: Some(OrderBy::LastEventTime),
        log_stream_name_prefix: text("b"),
        ..input()
    };
    assert_refused(describe(&bench, both).await, "InvalidParameterException");
    let bad = DescribeLogStreamsRequest { next_token: text("x"), ..input() };
    assert_refused(describe(&bench, bad).await, "InvalidParameterException");
}

#[tokio::test]
async fn a_deleted_stream_takes_its_events_with_it() {
    let bench = Bench::with_streams(&["s", "t"]).await;
    bench.put("s", &[(0, "old")]).await.unwrap();
    bench.put("t", &[(0, "other")]).await.unwrap();
    delete(&bench, "s").await.unwrap();
    assert_eq!(refused(delete(&bench, "s").await).1, "The specified log stream does not exist.");
    assert_refused(bench.get(of_s()).await, "ResourceNotFoundException");
    assert_eq!(filtered(&bench.filter(of_g()).await.unwrap()), ["other"]);
    bench.create_stream("g", "s").await.unwrap();
    assert!(texts(&bench.get(of_s()).await.unwrap()).is_empty());
}
