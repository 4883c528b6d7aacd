//! What those who are not the account's owner may put onto the disk.

use super::*;

/// The largest put.
const PUT: usize = 1_048_576 - 26;

fn session(bench: &mut Bench, role: &str, session: &str) {
    bench.caller.principal = Principal::AssumedRole { role: role.to_owned(), session: session.to_owned() };
}

/// Puts until it is refused, at most `most` times.
async fn flood(bench: &Bench, stream: &str, most: usize) -> usize {
    let text = "x".repeat(PUT);
    for count in 0..most {
        match bench.put(stream, &[(0, &text)]).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(ApiError::from(error).code, "ThrottlingException");
                return count;
            }
        }
    }
    most
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_only_itself() {
    let mut bench = Bench::with_streams(&["flood", "quiet"]).await;
    session(&mut bench, Principal::NODE_ROLE, "local");
    assert_eq!(flood(&bench, "flood", 100).await, 64);
    bench.put("quiet", &[(0, "a line")]).await.unwrap();
    bench.advance(10_000);
    assert_eq!(flood(&bench, "flood", 100).await, 10, "a MiB a second");
    bench.advance(-5_000);
    assert_eq!(flood(&bench, "flood", 100).await, 0, "a clock that is put back gives nothing");
    bench.advance(3_600_000);
    assert_eq!(flood(&bench, "flood", 100).await, 64);
    bench.caller.principal = Principal::Root;
    assert_eq!(flood(&bench, "flood", 70).await, 70, "the owner is free");
}

#[tokio::test]
async fn more_streams_give_a_task_no_more() {
    let mut bench = Bench::with_streams(&["a", "b", "c"]).await;
    session(&mut bench, "web", "task-1");
    let mut count = 0;
    for _ in 0..30 {
        for stream in ["a", "b", "c"] {
            count += flood(&bench, stream, 1).await;
        }
    }
    assert_eq!(count, 64);
    session(&mut bench, "web", "task-2");
    assert_eq!(flood(&bench, "a", 1).await, 1, "another task has its own");
}

#[tokio::test]
async fn groups_and_streams_of_a_task_are_few() {
    let mut bench = Bench::with_streams(&["s"]).await;
    session(&mut bench, "web", "task-1");
    let (mut groups, mut streams) = (0, 0);
    for number in 0..1000 {
        groups += usize::from(bench.create_group(&format!("made-{number}")).await.is_ok());
        streams += usize::from(bench.create_stream("g", &format!("made-{number}")).await.is_ok());
    }
    assert_eq!((groups, streams), (100, 500));
    assert_refused(bench.create_group("one-more").await, "ThrottlingException");
    assert_refused(bench.create_stream("g", "one-more").await, "ThrottlingException");
    session(&mut bench, Principal::NODE_ROLE, "local");
    for number in 0..1000 {
        bench.create_stream("g", &format!("node-{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn the_last_of_the_disk_is_not_for_logs() {
    let bench = Bench::with_streams(&["s"]).await;
    bench.put("s", &[(0, "before")]).await.unwrap();
    let bench = bench.with_free_bytes_min(u64::MAX);
    assert_refused(bench.put("s", &[(0, "refused")]).await, "ServiceUnavailableException");
    assert_eq!(texts(&bench.get(of_s()).await.unwrap()), ["before"], "what is there can be read");
    let bench = bench.restarted();
    bench.put("s", &[(0, "after")]).await.unwrap();
}
