//! PutLogEvents: what is refused, what is rejected, what is stored.

use super::*;

#[tokio::test]
async fn what_was_put_is_there_also_after_a_restart() {
    let bench = Bench::with_streams(&["s"]).await;
    let answer = bench.put("s", &[(0, "a"), (0, "b"), (1, "ü\n\t\0")]).await.unwrap();
    assert_eq!(answer.rejected_log_events_info, None);
    assert_eq!(answer.next_sequence_token.unwrap().trim_start_matches('0'), "3");
    let bench = bench.restarted();
    let answer = bench.get(of_s()).await.unwrap();
    assert_eq!(texts(&answer), ["a", "b", "ü\n\t\0"]);
    let event = &answer.events.unwrap()[2];
    assert_eq!((event.timestamp, event.ingestion_time), (Some(NOW + 1), Some(NOW)));
}

#[tokio::test]
async fn a_sequence_token_is_not_looked_at() {
    let bench = Bench::with_streams(&["s"]).await;
    let input = PutLogEventsRequest {
        log_events: vec![InputLogEvent { message: "a".to_owned(), timestamp: NOW }],
        log_group_name: "g".to_owned(),
        log_stream_name: "s".to_owned(),
        sequence_token: text("wrong"),
        ..Default::default()
    };
    bench.logs.put_log_events(bench.ask(input)).await.unwrap();
}

#[tokio::test]
async fn a_put_that_breaks_a_limit_is_refused_as_a_whole() {
    let bench = Bench::with_streams(&["s"]).await;
    let large = "x".repeat(1_048_576 - 26);
    let larger = large.clone() + "x";
    bench.put("s", &[(0, &large)]).await.unwrap();
    let many = vec![(0, "x"); 10_000];
    bench.put("s", &many).await.unwrap();
    let more = vec![(0, "x"); 10_001];
    let day = [(-DAY, "a"), (0, "b")];
    bench.put("s", &day).await.unwrap();
    let refusals: [(&[(i64, &str)], &str); 7] = [
        (&[], "A put has 1 to 10000"),
        (&more, "A put has 1 to 10000"),
        (&[(0, "")], "at least one character"),
        (&[(0, &larger)], "Upload too large: 1048577 bytes exceeds limit of 1048576"),
        (&[(0, &large[1..]), (0, "x")], "Upload too large"),
        (&[(1, "a"), (0, "b")], "chronological order"),
        (&[(-DAY - 1, "a"), (0, "b")], "cannot span more than 24 hours"),
    ];
    for (events, expected) in refusals {
        let (code, message) = refused(bench.put("s", events).await);
        assert_eq!(code, "InvalidParameterException");
        assert!(message.contains(expected), "{message}");
    }
    let stored = bench.filter(of_g()).await.unwrap();
    assert_eq!(stored.events.unwrap().len(), 1, "the one of a day ago, and then the large one does not fit");
}

#[tokio::test]
async fn a_group_or_stream_that_is_not_there_is_told() {
    let bench = Bench::with_streams(&[]).await;
    let (code, message) = refused(bench.put("s", &[(0, "a")]).await);
    assert_eq!((&*code, &*message), ("ResourceNotFoundException", "The specified log stream does not exist."));
    let mut bench = Bench::new();
    bench.caller = caller("111111111111", "us-east-1");
    assert_eq!(refused(bench.put("s", &[(0, "a")]).await).1, "The specified log group does not exist.");
}

/// (too old end, expired end, too new start)
fn rejected(answer: PutLogEventsResponse) -> Option<[Option<i32>; 3]> {
    answer.rejected_log_events_info.map(|info| {
        [info.too_old_log_event_end_index, info.expired_log_event_end_index, info.too_new_log_event_start_index]
    })
}

#[tokio::test]
async fn events_out_of_time_are_rejected_and_the_others_stored() {
    let bench = Bench::with_streams(&["s"]).await;
    let old = -14 * DAY;
    let put = bench.put("s", &[(old - 2, "a"), (old - 1, "b"), (old, "kept 1")]).await.unwrap();
    assert_eq!(rejected(put), Some([Some(2), None, None]));
    let put = bench.put("s", &[(0, "kept 2"), (2 * HOUR, "kept 3"), (2 * HOUR + 1, "c")]).await.unwrap();
    assert_eq!(rejected(put), Some([None, None, Some(2)]));
    let put = bench.put("s", &[(3 * HOUR, "d")]).await.unwrap();
    assert_eq!(rejected(put), Some([None, None, Some(0)]));
    let forwards = GetLogEventsRequest { start_from_head: Some(true), ..of_s() };
    assert_eq!(texts(&bench.get(forwards).await.unwrap()), ["kept 1", "kept 2", "kept 3"]);
    bench.retain(1).await.unwrap();
    let put = bench.put("s", &[(-DAY - 1, "e"), (-DAY, "kept 4")]).await.unwrap();
    assert_eq!(rejected(put), Some([None, Some(1), None]));
    let put = bench.put("s", &[(old - 1, "f")]).await.unwrap();
    assert_eq!(rejected(put), Some([Some(1), Some(1), None]));
    assert_eq!(texts(&bench.get(of_s()).await.unwrap()), ["kept 4", "kept 2", "kept 3"]);
}

#[tokio::test]
async fn expired_events_are_not_shown_and_their_files_go() {
    let bench = Bench::with_streams(&["s"]).await;
    let line = "x".repeat(1000);
    for number in 0..20 {
        bench.put("s", &[(number, &line)]).await.unwrap();
    }
    bench.retain(1).await.unwrap();
    assert_eq!(bench.logs.expire().await, 0);
    bench.advance(DAY + 10);
    assert_eq!(texts(&bench.get(of_s()).await.unwrap()).len(), 10);
    assert_eq!(bench.filter(of_g()).await.unwrap().events.unwrap().len(), 10);
    assert!(bench.logs.expire().await > 0);
    assert_eq!(texts(&bench.get(of_s()).await.unwrap()).len(), 10);
    bench.advance(DAY);
    bench.logs.expire().await;
    let groups = bench.logs.describe_log_groups(bench.ask(DescribeLogGroupsRequest::default())).await.unwrap();
    assert_eq!(groups.log_groups.unwrap()[0].log_group_name.as_deref(), Some("g"));
    assert!(texts(&bench.get(of_s()).await.unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_of_many_tasks_at_once_are_all_there() {
    let bench = Arc::new(Bench::with_streams(&["s", "t"]).await);
    let texts: Vec<_> = (0..100).map(|number| format!("event {number:03}")).collect();
    let mut running = tokio::task::JoinSet::new();
    for (stream, after, text) in
        ["s", "t"].into_iter().cycle().zip(0..).zip(&texts).map(|((s, n), t)| (s, n, t.clone()))
    {
        let bench = Arc::clone(&bench);
        running.spawn(async move { bench.put(stream, &[(after, &text)]).await.unwrap() });
    }
    running.join_all().await;
    assert_eq!(filtered(&bench.filter(of_g()).await.unwrap()), texts);
}
