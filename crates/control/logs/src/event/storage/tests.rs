//! The storage of events, against what it promises.

mod concurrency;
mod crash;
mod model;

use std::path::{Path, PathBuf};

use super::*;

const GROUP: GroupId = GroupId(7);

/// Small enough that a handful of puts makes several segments of several chunks.
const SMALL: Options = Options { segment_bytes_max: 600, chunk_bytes: 150, files_open_max: 3, free_bytes_min: Some(0) };

fn open(dir: &Path, options: Options) -> Engine {
    Engine::open(dir.join("logs"), options).unwrap()
}

/// Puts events of these times, whose texts are their numbers in the stream.
fn put(engine: &Engine, stream: u64, first: u64, times: &[i64]) {
    let texts: Vec<_> = (first..).take(times.len()).map(|sequence| format!("event {sequence}")).collect();
    let events: Vec<_> =
        times.iter().zip(&texts).map(|(&timestamp, message)| NewEvent { timestamp, message }).collect();
    engine.append(GROUP, StreamId(stream), 1_000, &events, &|| true).unwrap();
}

fn all(streams: Streams<'_>) -> Query<'_> {
    Query {
        streams,
        range: Position::at(0)..Position::at(i64::MAX),
        order: Order::OldestFirst,
        events_max: usize::MAX,
        bytes_max: usize::MAX,
        scan_bytes_max: u64::MAX,
        matches: &|_| true,
    }
}

/// (time, stream, number in the stream) of all events, in order.
fn read_all(engine: &Engine) -> Vec<(i64, u64, u64)> {
    engine.read(GROUP, &all(Streams::All)).unwrap().events.iter().map(place).collect()
}

fn place(event: &Event) -> (i64, u64, u64) {
    assert_eq!(event.message, format!("event {}", event.position.sequence));
    (event.position.timestamp, event.position.stream.0, event.position.sequence)
}

/// The segment files of the group, in order of their names.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(dir.join("logs").join(GROUP.to_string())) else { return Vec::new() };
    let mut paths: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn nothing_was_put_nothing_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    assert_eq!(read_all(&engine), []);
    assert_eq!(engine.stats(GROUP, StreamId(1)).unwrap(), None);
    assert_eq!(engine.bytes(GROUP).unwrap(), 0);
    engine.delete_stream(GROUP, StreamId(1)).unwrap();
    engine.delete_group(GROUP).unwrap();
}

#[test]
fn what_was_put_is_known_without_reading_it_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for put_number in 0..20 {
        put(&engine, 1, put_number * 2, &[100 - i64::try_from(put_number).unwrap(), 200]);
    }
    let stats = engine.stats(GROUP, StreamId(1)).unwrap().unwrap();
    assert_eq!(stats, StreamStats { span: Some((81, 200)), last_ingestion: Some(1_000), events: 40 });
    assert!(segments(dir.path()).len() > 2);
    drop(engine);
    assert_eq!(open(dir.path(), SMALL).stats(GROUP, StreamId(1)).unwrap(), Some(stats));
}

#[test]
fn a_put_that_is_no_record_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    let event = |timestamp| NewEvent { timestamp, message: "event 0" };
    for events in [&[][..], &[event(2), event(1)], &[event(0), event(i64::from(u32::MAX) + 1)]] {
        let refused = engine.append(GROUP, StreamId(1), 0, events, &|| true);
        assert!(matches!(refused, Err(EngineError::Batch(_))), "{events:?}");
    }
    put(&engine, 1, 0, &[5]);
    assert_eq!(read_all(&engine), [(5, 1, 0)]);
}

#[test]
fn few_files_are_open_however_many_streams_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for round in 0..3 {
        for stream in 1..=40 {
            put(&engine, stream, round, &[i64::try_from(stream).unwrap()]);
        }
    }
    assert_eq!(read_all(&engine).len(), 120);
    assert!(engine.open_files() <= SMALL.files_open_max);
}

#[test]
fn deleting_removes_files_and_nothing_is_written_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    put(&engine, 1, 0, &[1]);
    put(&engine, 2, 0, &[2]);
    engine.delete_stream(GROUP, StreamId(1)).unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(read_all(&engine), [(2, 2, 0)]);
    let late = engine.append(GROUP, StreamId(1), 0, &[NewEvent { timestamp: 1, message: "x" }], &|| false);
    assert!(matches!(late, Err(EngineError::Deleted)));
    engine.delete_group(GROUP).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("logs")).unwrap().count(), 0);
    let late = engine.append(GROUP, StreamId(2), 0, &[NewEvent { timestamp: 1, message: "x" }], &|| false);
    assert!(matches!(late, Err(EngineError::Deleted)));
    assert_eq!(std::fs::read_dir(dir.path().join("logs")).unwrap().count(), 0);
}

#[test]
fn a_deletion_that_was_interrupted_is_ended_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("logs").join(GROUP.to_string()).with_extension("deleted");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("x"), "x").unwrap();
    open(dir.path(), SMALL);
    assert!(!half.exists());
}

#[test]
fn expired_segments_go_and_the_count_of_events_stays() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for sequence in 0..40 {
        put(&engine, 1, sequence, &[i64::try_from(sequence).unwrap()]);
    }
    let before = segments(dir.path()).len();
    assert!(engine.expire(GROUP, 20).unwrap() > 0);
    assert!(segments(dir.path()).len() < before);
    let left = read_all(&engine);
    // Segments go as a whole: nothing that is young enough is gone.
    assert!(left.first().unwrap().0 > 0 && left.first().unwrap().0 <= 20 && left.last() == Some(&(39, 1, 39)));
    engine.expire(GROUP, 1_000).unwrap();
    assert_eq!((read_all(&engine), segments(dir.path()).len()), (vec![], 1));
    assert_eq!(engine.stats(GROUP, StreamId(1)).unwrap().unwrap().events, 40);
    drop(engine);
    let engine = open(dir.path(), SMALL);
    put(&engine, 1, 40, &[5]);
    assert_eq!(read_all(&engine), [(5, 1, 40)]);
    assert_eq!(
        engine.bytes(GROUP).unwrap(),
        segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>()
    );
}
