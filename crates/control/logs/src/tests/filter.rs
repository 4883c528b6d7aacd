//! FilterLogEvents: many streams, patterns, pages, and following what is new.

use std::collections::BTreeSet;

use super::*;

async fn two_streams() -> Bench {
    let bench = Bench::with_streams(&["web/1", "web/2", "db"]).await;
    bench.put("web/1", &[(0, "ERROR a"), (2, "b"), (4, "c")]).await.unwrap();
    bench.put("web/2", &[(1, "d"), (2, "ERROR e")]).await.unwrap();
    bench.put("db", &[(3, "{\"level\": \"ERROR\", \"ms\": 7}")]).await.unwrap();
    bench
}

#[tokio::test]
async fn events_of_all_streams_come_in_order_of_time() {
    let bench = two_streams().await;
    let answer = bench.filter(of_g()).await.unwrap();
    assert_eq!(filtered(&answer), ["ERROR a", "d", "b", "ERROR e", "{\"level\": \"ERROR\", \"ms\": 7}", "c"]);
    assert_eq!((answer.next_token, answer.searched_log_streams), (None, Some(vec![])));
    let events = answer.events.unwrap();
    let streams: Vec<_> = events.iter().map(|event| event.log_stream_name.as_deref().unwrap()).collect();
    assert_eq!(streams, ["web/1", "web/2", "web/1", "web/2", "db", "web/1"]);
    let ids: BTreeSet<_> = events.iter().map(|event| event.event_id.as_deref().unwrap()).collect();
    assert_eq!(ids.len(), 6);
    assert!(ids.iter().all(|id| id.len() == 56 && id.bytes().all(|byte| byte.is_ascii_digit())));
    assert_eq!(events[1].timestamp, Some(NOW + 1));
    let newest = bench.filter(FilterLogEventsRequest { start_from_head: Some(false), ..of_g() }).await.unwrap();
    assert_eq!(filtered(&newest)[0], "c");
}

#[tokio::test]
async fn pages_are_the_whole_in_pieces() {
    let bench = two_streams().await;
    for start_from_head in [None, Some(true), Some(false)] {
        let input = FilterLogEventsRequest { start_from_head, ..of_g() };
        let whole = bench.filter(input.clone()).await.unwrap().events.unwrap();
        for limit in 1..=7 {
            let mut events = Vec::new();
            let mut input = FilterLogEventsRequest { limit: Some(limit), ..input.clone() };
            loop {
                let page = bench.filter(input.clone()).await.unwrap();
                events.extend(page.events.unwrap());
                match page.next_token {
                    None => break,
                    token => input.next_token = token,
                }
            }
            assert_eq!(events, whole, "pages of {limit}");
        }
    }
    let bad = FilterLogEventsRequest { next_token: text("x"), ..of_g() };
    assert_refused(bench.filter(bad).await, "InvalidParameterException");
}

#[tokio::test]
async fn streams_are_chosen_by_name_and_by_prefix() {
    let bench = two_streams().await;
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let of = |names| FilterLogEventsRequest { log_stream_names: names, ..of_g() };
    assert_eq!(filtered(&bench.filter(of(names(&["web/2", "web/2"]))).await.unwrap()), ["d", "ERROR e"]);
    assert_eq!(bench.filter(of(names(&["web/2", "db"]))).await.unwrap().events.unwrap().len(), 3);
    let (code, message) = refused(bench.filter(of(names(&["none"]))).await);
    assert_eq!((&*code, &*message), ("ResourceNotFoundException", "The specified log stream does not exist."));
    let prefix = FilterLogEventsRequest { log_stream_name_prefix: text("web/"), ..of_g() };
    assert_eq!(bench.filter(prefix.clone()).await.unwrap().events.unwrap().len(), 5);
    let none = FilterLogEventsRequest { log_stream_name_prefix: text("x"), ..of_g() };
    assert!(bench.filter(none).await.unwrap().events.unwrap().is_empty());
    let both = FilterLogEventsRequest { log_stream_names: names(&["db"]), ..prefix };
    assert_refused(bench.filter(both).await, "InvalidParameterException");
}

#[tokio::test]
async fn both_ends_of_the_time_are_inclusive() {
    let bench = two_streams().await;
    let input = FilterLogEventsRequest { start_time: Some(NOW + 1), end_time: Some(NOW + 2), ..of_g() };
    assert_eq!(filtered(&bench.filter(input).await.unwrap()), ["d", "b", "ERROR e"]);
}

#[tokio::test]
async fn patterns_choose_events() {
    let bench = two_streams().await;
    let search =
        async |pattern: &str| bench.filter(FilterLogEventsRequest { filter_pattern: text(pattern), ..of_g() }).await;
    assert_eq!(filtered(&search("ERROR -level").await.unwrap()), ["ERROR a", "ERROR e"]);
    assert_eq!(search("{ $.level = ERROR && $.ms > 5 }").await.unwrap().events.unwrap().len(), 1);
    assert_eq!(search("").await.unwrap().events.unwrap().len(), 6);
    let (code, message) = refused(search("{ $.a").await);
    assert_eq!(code, "InvalidParameterException");
    assert!(message.starts_with("Invalid filter pattern: "), "{message}");
}

/// What `aws logs tail --follow` does: ask again from the time of the newest event, and skip what it has seen.
#[tokio::test]
async fn following_shows_every_event_once() {
    let bench = two_streams().await;
    let (mut start, mut seen, mut shown) = (0, BTreeSet::new(), Vec::new());
    for round in 0..5 {
        let answer = bench.filter(FilterLogEventsRequest { start_time: Some(start), ..of_g() }).await.unwrap();
        for event in answer.events.unwrap() {
            if seen.insert(event.event_id.unwrap()) {
                shown.push(event.message.unwrap());
            }
            start = start.max(event.timestamp.unwrap());
        }
        // Also at the time of the last event shown.
        bench.put("web/2", &[(4 + round, "x"), (5 + round, "y")]).await.unwrap();
    }
    assert_eq!(shown.len(), 6 + 4 * 2);
}
