//! Many writers and readers at once.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::*;

const WRITERS: u64 = 4;
const PUTS: u64 = 60;

#[test]
fn readers_see_whole_puts_in_order_and_every_put_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), Options { files_open_max: 2, ..SMALL });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let engine = &engine;
                // Two writers share a stream.
                let stream = StreamId(1 + writer / 2);
                scope.spawn(move || {
                    for number in 0..PUTS {
                        let text = format!("{writer} {number}");
                        let timestamp = i64::try_from(number).unwrap();
                        let events = [NewEvent { timestamp, message: &text }; 3];
                        engine.append(GROUP, stream, 0, &events, &|| true).unwrap();
                        let query =
                            Query { range: Position::at(timestamp)..Position::at(timestamp + 1), ..all(Streams::All) };
                        let seen = engine.read(GROUP, &query).unwrap().events;
                        assert_eq!(seen.iter().filter(|event| event.message == text).count(), 3);
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for stream in [1, 2] {
                    let mut seen = engine.read(GROUP, &all(Streams::Only(&[StreamId(stream)]))).unwrap().events;
                    assert!(seen.is_sorted_by_key(|event| event.position));
                    seen.sort_by_key(|event| event.position.sequence);
                    let numbers: Vec<_> = seen.iter().map(|event| event.position.sequence).collect();
                    assert_eq!(
                        numbers,
                        (0..seen.len() as u64).collect::<Vec<_>>(),
                        "a put is missing before a later one"
                    );
                    assert_eq!(seen.len() % 3, 0);
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    let count = |engine: &Engine| engine.read(GROUP, &all(Streams::All)).unwrap().events.len() as u64;
    assert_eq!(count(&engine), WRITERS * PUTS * 3);
    drop(engine);
    assert_eq!(count(&open(dir.path(), SMALL)), WRITERS * PUTS * 3);
}

#[test]
fn reading_goes_on_while_segments_expire() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for sequence in 0..300 {
        put(&engine, 1, sequence, &[i64::try_from(sequence).unwrap()]);
    }
    let (done, expired) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let seen = read_all(&engine);
                // What expired while it was read may be there or not; of the others none is missing.
                let kept = expired.load(Ordering::Acquire);
                let kept_seen: Vec<_> = seen.iter().map(|event| event.0).filter(|time| *time >= kept).collect();
                assert_eq!(kept_seen, (kept..300).collect::<Vec<_>>());
            }
        });
        for before in (0..=300).step_by(10) {
            expired.store(before, Ordering::Release);
            engine.expire(GROUP, before).unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert_eq!(read_all(&engine), []);
}
