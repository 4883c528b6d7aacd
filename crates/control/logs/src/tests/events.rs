//! GetLogEvents: tokens, ends and limits.

use super::*;

/// A stream of ten events, put in two halves of which the later comes first.
async fn ten() -> Bench {
    let bench = Bench::with_streams(&["s"]).await;
    let names: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let events: Vec<_> = (0..).zip(&names).map(|(after, name)| (after, name.as_str())).collect();
    bench.put("s", &events[5..]).await.unwrap();
    bench.put("s", &events[..5]).await.unwrap();
    bench
}

fn forwards() -> GetLogEventsRequest {
    GetLogEventsRequest { start_from_head: Some(true), limit: Some(4), ..of_s() }
}

fn from_token(token: Option<String>) -> GetLogEventsRequest {
    GetLogEventsRequest { next_token: token, ..forwards() }
}

#[tokio::test]
async fn forwards_to_the_end_where_the_token_stays_the_same_until_more_comes() {
    let bench = ten().await;
    let first = bench.get(forwards()).await.unwrap();
    assert_eq!(texts(&first), ["0", "1", "2", "3"]);
    assert!(first.next_forward_token.as_ref().unwrap().starts_with("f/"));
    assert!(first.next_backward_token.as_ref().unwrap().starts_with("b/"));
    let second = bench.get(from_token(first.next_forward_token)).await.unwrap();
    assert_eq!(texts(&second), ["4", "5", "6", "7"]);
    let third = bench.get(from_token(second.next_forward_token)).await.unwrap();
    assert_eq!(texts(&third), ["8", "9"]);
    let end = bench.get(from_token(third.next_forward_token.clone())).await.unwrap();
    assert_eq!((texts(&end), &end.next_forward_token), (vec![], &third.next_forward_token));
    bench.put("s", &[(9, "10"), (20, "11")]).await.unwrap();
    let more = bench.get(from_token(end.next_forward_token)).await.unwrap();
    assert_eq!(texts(&more), ["10", "11"]);
    let back = bench.get(from_token(end.next_backward_token)).await.unwrap();
    assert_eq!(texts(&back), ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn backwards_from_the_newest_to_the_start_and_forwards_again() {
    let bench = ten().await;
    let last = bench.get(GetLogEventsRequest { limit: Some(4), ..of_s() }).await.unwrap();
    assert_eq!(texts(&last), ["6", "7", "8", "9"]);
    let before = bench.get(from_token(last.next_backward_token)).await.unwrap();
    assert_eq!(texts(&before), ["2", "3", "4", "5"]);
    let start = bench.get(from_token(before.next_backward_token.clone())).await.unwrap();
    assert_eq!(texts(&start), ["0", "1"]);
    let end = bench.get(from_token(start.next_backward_token.clone())).await.unwrap();
    assert_eq!((texts(&end), &end.next_backward_token), (vec![], &start.next_backward_token));
    let again = bench.get(from_token(end.next_forward_token)).await.unwrap();
    assert_eq!(texts(&again), ["0", "1", "2", "3"]);
    let again = bench.get(from_token(before.next_forward_token)).await.unwrap();
    assert_eq!(texts(&again), ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn the_tokens_of_an_empty_stream_show_what_comes() {
    let bench = Bench::with_streams(&["s"]).await;
    for input in [of_s(), forwards()] {
        let empty = bench.get(input).await.unwrap();
        assert!(texts(&empty).is_empty());
        let token = empty.next_forward_token;
        let still = bench.get(from_token(token.clone())).await.unwrap();
        assert_eq!((texts(&still), &still.next_forward_token), (vec![], &token));
    }
    let token = bench.get(of_s()).await.unwrap().next_forward_token;
    bench.put("s", &[(0, "a")]).await.unwrap();
    assert_eq!(texts(&bench.get(from_token(token)).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn the_start_is_inclusive_and_the_end_is_not() {
    let bench = ten().await;
    let between =
        |from, until| GetLogEventsRequest { start_time: Some(NOW + from), end_time: Some(NOW + until), ..of_s() };
    assert_eq!(texts(&bench.get(between(3, 6)).await.unwrap()), ["3", "4", "5"]);
    assert!(texts(&bench.get(between(6, 6)).await.unwrap()).is_empty());
    assert!(texts(&bench.get(between(6, 3)).await.unwrap()).is_empty());
    let huge = GetLogEventsRequest { start_time: Some(i64::MAX), end_time: Some(i64::MAX), ..of_s() };
    let answer = bench.get(huge.clone()).await.unwrap();
    bench.get(GetLogEventsRequest { next_token: answer.next_forward_token, ..huge }).await.unwrap();
}

#[tokio::test]
async fn a_page_has_a_mebibyte_at_most() {
    let bench = Bench::with_streams(&["s"]).await;
    let line = "x".repeat(400_000);
    for after in 0..3 {
        bench.put("s", &[(after, &line)]).await.unwrap();
    }
    let first = bench.get(GetLogEventsRequest { limit: None, ..forwards() }).await.unwrap();
    assert_eq!(texts(&first).len(), 2);
    let second = bench.get(from_token(first.next_forward_token)).await.unwrap();
    assert_eq!(texts(&second).len(), 1);
}

#[tokio::test]
async fn a_group_is_named_in_one_way() {
    let bench = ten().await;
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g";
    for identifier in ["g", arn, &format!("{arn}:*")] {
        let input = GetLogEventsRequest { log_group_name: None, log_group_identifier: text(identifier), ..of_s() };
        assert_eq!(texts(&bench.get(input).await.unwrap()).len(), 10, "{identifier}");
    }
    let both = GetLogEventsRequest { log_group_identifier: text("g"), ..of_s() };
    assert_refused(bench.get(both).await, "InvalidParameterException");
    let none = GetLogEventsRequest { log_group_name: None, ..of_s() };
    assert_refused(bench.get(none).await, "InvalidParameterException");
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let bench = ten().await;
    let good = bench.get(of_s()).await.unwrap().next_forward_token.unwrap();
    for token in ["", "f/", "x", "f/1/s", &good.replace('f', "x"), &good[..good.len() - 1], &good.replace('0', "a")] {
        assert_refused(bench.get(from_token(text(token))).await, "InvalidParameterException");
    }
}
