//! The two ends of a spool against each other.

use std::{fs, os::unix::fs::symlink, path::Path};

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

/// Of a spool without room for more.
fn full_writer(dir: &Path) -> Writer {
    let mut writer = writer(dir, true);
    while !writer.must_block() {
        put(&mut writer, &"x".repeat(100));
    }
    writer
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
    let mut writer = full_writer(dir.path());
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
    let mut writer = full_writer(dir.path());
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

#[test]
fn reader_and_writer_are_at_one_place_when_everything_is_read() {
    let dir = TempDir::new().unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut writer = writer(dir.path(), false);
    for round in 0..100 {
        assert_ne!(reader.position(), writer.position(), "{round}: there is a new segment or a new line");
        while !reader.read(1000).unwrap().records.is_empty() {}
        assert_eq!(reader.position(), writer.position(), "{round}");
        if reader.commit(reader.position()).unwrap() {
            writer.note_deletions();
        }
        put(&mut writer, &"x".repeat(round));
    }
}

#[test]
fn a_full_spool_finds_its_room_though_nobody_tells() {
    for blocking in [true, false] {
        let dir = TempDir::new().unwrap();
        let mut writer = writer(dir.path(), blocking);
        while writer.look_at().is_none() {
            put(&mut writer, &"x".repeat(100));
        }
        let mut reader = Reader::open(dir.path()).unwrap();
        while !reader.read(1000).unwrap().records.is_empty() {}
        assert!(reader.commit(reader.position()).unwrap());
        let due = writer.look_at().unwrap();
        writer.look_if_due(due.checked_sub(std::time::Duration::from_millis(1)).unwrap());
        assert!(writer.look_at().is_some(), "not before it is time to");
        writer.look_if_due(due);
        assert_eq!(writer.look_at(), None);
    }
}

/// What is written to this file of the spool's finds no room.
fn fill(dir: &Path, file: &str) {
    if !dir.join(file).is_symlink() {
        symlink("/dev/full", dir.join(file)).unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_of_segments_gets_its_room_back() {
    let dir = TempDir::new().unwrap();
    let mut writer = full_writer(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    let read = reader.read(100_000).unwrap().records.len();
    fill(dir.path(), "position.tmp");
    reader.commit(reader.position()).unwrap();
    assert_eq!(segments(dir.path()).unwrap().len(), 1);
    writer.note_deletions();
    put(&mut writer, "after");
    // Killed before there was room for the position.
    assert_eq!(texts(&Reader::open(dir.path()).unwrap().read(100_000).unwrap()), ["after"]);
    assert!(read > 1);
    // Of the same place, as soon as there is room.
    fs::remove_file(dir.path().join("position.tmp")).unwrap();
    reader.commit(reader.position()).unwrap();
    assert!(dir.path().join("position").exists());
}

#[tokio::test]
async fn a_position_that_cannot_be_saved_for_another_reason_is_told() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    put(&mut writer, "one");
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.read(1000).unwrap();
    fs::create_dir(dir.path().join("position.tmp")).unwrap();
    reader.commit(reader.position()).unwrap_err();
}

#[tokio::test]
async fn a_position_that_is_not_whole_is_none() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    put(&mut writer, "one");
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.read(1000).unwrap();
    reader.commit(reader.position()).unwrap();
    let position = dir.path().join("position");
    let whole = fs::read(&position).unwrap();
    for torn in (0..whole.len()).map(|length| whole[..length].to_vec()).chain([vec![0; whole.len()]]) {
        fs::write(&position, torn).unwrap();
        assert_eq!(texts(&Reader::open(dir.path()).unwrap().read(1000).unwrap()), ["one"]);
    }
}

#[tokio::test]
async fn a_segment_that_finds_no_room_is_not_there() {
    let dir = TempDir::new().unwrap();
    let mut writer = writer(dir.path(), true);
    let mut reader = Reader::open(dir.path()).unwrap();
    fill(dir.path(), "segment.tmp");
    // The segment is full with this, and has no successor.
    put(&mut writer, &"x".repeat(300));
    assert_eq!(reader.read(100_000).unwrap().records.len(), 1);
    writer.append(7, &Line { stream: Stream::Stdout, bytes: b"lost", partial: false });
    writer.flush().unwrap_err();
    assert_eq!(reader.read(100_000).unwrap().records.len(), 0);
    fs::remove_file(dir.path().join("segment.tmp")).unwrap();
    put(&mut writer, "after");
    assert_eq!(texts(&reader.read(100_000).unwrap()), ["gap 1", "after"]);
    assert_eq!(writer.end(9).0, 1);
}

/// What may happen to a spool.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The container writes a line of so many bytes.
    Line(usize),
    /// Lines are shipped, and committed.
    Ship,
    /// Lines are shipped; the agent dies in the middle of the commit, with so many segments deleted.
    ShipAndDie(usize),
    /// The disk has no room for the position, or has it again.
    Full(bool),
    /// The shim dies, and another goes on.
    NewShim,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (6..150_usize).prop_map(Event::Line),
        2 => Just(Event::Ship),
        1 => (0..6_usize).prop_map(Event::ShipAndDie),
        1 => any::<bool>().prop_map(Event::Full),
        1 => Just(Event::NewShim),
    ]
}

/// A spool whose lines are numbers.
struct Numbered {
    dir: TempDir,
    writer: Writer,
    reader: Reader,
    written: usize,
    /// Lines from the first on that were shipped.
    shipped: usize,
}

impl Numbered {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (writer, reader) = (writer(dir.path(), true), Reader::open(dir.path()).unwrap());
        Self { dir, writer, reader, written: 0, shipped: 0 }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Line(width) => {
                self.writer.note_deletions();
                if !self.writer.must_block() {
                    put(&mut self.writer, &format!("{:0width$}", self.written));
                    self.written += 1;
                }
            }
            Event::Ship => {
                self.ship();
                self.reader.commit(self.reader.position()).unwrap();
            }
            Event::ShipAndDie(deleted) => {
                self.ship();
                let done = segments(self.dir.path()).unwrap().into_iter();
                for segment in done.filter(|it| *it < self.reader.position().segment).take(deleted) {
                    fs::remove_file(segment_path(self.dir.path(), segment)).unwrap();
                }
                self.reader = Reader::open(self.dir.path()).unwrap();
            }
            Event::Full(true) => fill(self.dir.path(), "position.tmp"),
            Event::Full(false) => drop(fs::remove_file(self.dir.path().join("position.tmp"))),
            Event::NewShim => self.writer = writer(self.dir.path(), true),
        }
    }

    /// Nothing may be missing between what was shipped and what comes now.
    fn ship(&mut self) {
        for text in texts(&self.reader.read(usize::MAX).unwrap()) {
            let number: usize = text.parse().unwrap();
            assert!(number <= self.shipped, "line {} is lost", self.shipped);
            self.shipped = self.shipped.max(number + 1);
        }
    }
}

proptest! {
    // Each takes a hundred files or so.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_line_is_shipped_whoever_dies_and_however_full_the_disk_is(
        events in proptest::collection::vec(event(), 0..100)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let mut spool = Numbered::new();
        for event in events {
            spool.happen(event);
        }
        spool.happen(Event::Ship);
        prop_assert_eq!(spool.shipped, spool.written);
        // A commit frees all but the segment that is written to, whether or not its position was saved.
        spool.writer.note_deletions();
        prop_assert!(!spool.writer.must_block());
    }
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
