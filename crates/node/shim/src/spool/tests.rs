//! The two ends of a spool against each other.

use std::{fs, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    format::{Decoded, decode, encode_line, segment_path, segments},
    *,
};

fn writer(dir: &Path, blocking: bool) -> Writer {
    Writer::open(SpoolOptions { dir: dir.to_owned(), segment_bytes: 200, max_bytes: 1000, blocking }).unwrap()
}

fn put(writer: &mut Writer, text: &str) {
    writer.append(7, &Line { stream: Stream::Stdout, bytes: text.as_bytes(), partial: false });
    writer.flush().unwrap();
}

fn texts(batch: &Batch) -> Vec<String> {
    let text = |(_, record): &(Position, Record)| match record {
        Record::Line { bytes, .. } => String::from_utf8(bytes.clone()).unwrap(),
        Record::Gap { dropped, .. } => format!("gap {dropped}"),
        Record::End { dropped, .. } => format!("end {dropped}"),
    };
    batch.records.iter().map(text).collect()
}

#[tokio::test]
async fn what_is_not_committed_is_read_again() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    put(&mut writer, "one");
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(texts(&reader.read(1000).unwrap()), ["one"]);
    reader.commit(reader.position()).unwrap();
    put(&mut writer, "two");
    assert_eq!(texts(&reader.read(1000).unwrap()), ["two"]);
    // Killed before the commit.
    let mut reader = Reader::open(dir.path()).unwrap();
    put(&mut writer, "three");
    assert_eq!(texts(&reader.read(1000).unwrap()), ["two", "three"]);
    assert_eq!(texts(&reader.read(1000).unwrap()), Vec::<String>::new());
    writer.end(8).1.unwrap();
    assert_eq!(texts(&reader.read(1000).unwrap()), ["end 0"]);
    assert!(reader.is_ended());
}

#[tokio::test]
async fn a_full_spool_is_emptied_by_commits() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    let mut written = 0;
    while !writer.must_block() {
        put(&mut writer, &"x".repeat(100));
        written += 1;
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.read(100_000).unwrap().records.len(), written);
    writer.note_deletions();
    assert!(writer.must_block(), "read is not committed");
    reader.commit(reader.position()).unwrap();
    writer.note_deletions();
    assert!(!writer.must_block());
    assert_eq!(segments(dir.path()).unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_up_to_a_place_keeps_what_follows() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    while !writer.must_block() {
        put(&mut writer, &"x".repeat(100));
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    let (last, _) = reader.read(100_000).unwrap().records.pop().unwrap();
    reader.commit(last).unwrap();
    writer.note_deletions();
    assert!(!writer.must_block());
    assert_eq!(Reader::open(dir.path()).unwrap().read(100_000).unwrap().records.len(), 1);
}

#[tokio::test]
async fn a_death_between_a_commit_and_its_deletions_leaves_the_spool_usable() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    while !writer.must_block() {
        put(&mut writer, &"x".repeat(100));
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.read(100_000).unwrap();
    let end = reader.position();
    fs::write(dir.path().join("position"), format!("{} {}\n", end.segment, end.offset)).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert!(reader.read(100_000).unwrap().records.is_empty());
    reader.commit(reader.position()).unwrap();
    writer.note_deletions();
    assert!(!writer.must_block());
}

#[tokio::test]
async fn a_gap_tells_where_and_how_much() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), false);
    for number in 0..100 {
        put(&mut writer, &format!("{number:060}"));
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    let kept = reader.read(100_000).unwrap().records.len();
    reader.commit(reader.position()).unwrap();
    writer.note_deletions();
    put(&mut writer, "again");
    assert_eq!(texts(&reader.read(100_000).unwrap()), [format!("gap {}", 100 - kept), "again".to_owned()]);
    assert_eq!(writer.end(9).0, 100 - kept as u64);
}

#[tokio::test]
async fn a_torn_record_costs_itself_only() {
    let dir = TempDir::new().unwrap();
    let mut first = writer(dir.path(), true);
    put(&mut first, "whole");
    put(&mut first, "torn by a crash");
    drop(first);
    let path = segment_path(dir.path(), 1);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let batch = reader.read(1000).unwrap();
    assert_eq!((texts(&batch), batch.corrupt), (vec!["whole".to_owned()], 0), "it may still grow");
    // A new shim writes a new segment: the old one will not grow any more.
    let mut second = writer(dir.path(), true);
    put(&mut second, "after");
    let batch = reader.read(1000).unwrap();
    assert_eq!((texts(&batch), batch.corrupt), (vec!["after".to_owned()], 1));
}

#[tokio::test]
async fn waiting_ends_when_something_is_written() {
    let dir = TempDir::new().unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut writer = writer(dir.path(), true);
    while !reader.read(1000).unwrap().records.is_empty() {}
    let task = tokio::spawn(async move {
        loop {
            reader.wait().await.unwrap();
            let batch = reader.read(1000).unwrap();
            if !batch.records.is_empty() {
                return texts(&batch);
            }
        }
    });
    tokio::task::yield_now().await;
    put(&mut writer, "news");
    assert_eq!(task.await.unwrap(), ["news"]);
}

proptest! {
    #[test]
    fn any_line_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300), time_ms: u64, partial: bool, err: bool) {
        let stream = if err { Stream::Stderr } else { Stream::Stdout };
        let mut encoded = Vec::new();
        encode_line(&mut encoded, time_ms, &Line { stream, bytes: &bytes, partial });
        let length = encoded.len();
        for cut in 0..length {
            prop_assert_eq!(decode(&encoded[..cut]), Decoded::Incomplete);
        }
        prop_assert_eq!(decode(&encoded), Decoded::Record(Record::Line { time_ms, stream, bytes, partial }, length));
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
    }
}
