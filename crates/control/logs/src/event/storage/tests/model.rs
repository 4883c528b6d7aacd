//! The engine against a list of events: whatever is done, both tell the same.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// What can be done.
#[derive(Debug, Clone)]
enum Step {
    /// A put of events that are these times apart.
    Put {
        stream: u64,
        start: i64,
        gaps: Vec<i64>,
    },
    /// A read of all pages.
    Read(Read),
    Restart,
    DeleteStream(u64),
    Expire(i64),
}

#[derive(Debug, Clone)]
struct Read {
    streams: Option<Vec<u64>>,
    times: Range<i64>,
    newest_first: bool,
    events_max: usize,
    bytes_max: usize,
    scan_bytes_max: u64,
    odd_only: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let read = (
        proptest::option::of(proptest::collection::btree_set(0_u64..4, 0..4)),
        (0_i64..120, 0_i64..120),
        any::<bool>(),
        1_usize..12,
        prop_oneof![Just(usize::MAX), 1_usize..200],
        prop_oneof![Just(u64::MAX), 0_u64..800],
        any::<bool>(),
    );
    let read =
        read.prop_map(|(streams, (from, until), newest_first, events_max, bytes_max, scan_bytes_max, odd_only)| {
            let streams = streams.map(|streams| streams.into_iter().collect());
            Step::Read(Read {
                streams,
                times: from..until,
                newest_first,
                events_max,
                bytes_max,
                scan_bytes_max,
                odd_only,
            })
        });
    let put = (0_u64..4, 0_i64..100, proptest::collection::vec(0_i64..6, 0..5));
    prop_oneof![
        8 => put.prop_map(|(stream, start, gaps)| Step::Put { stream, start, gaps }),
        5 => read,
        1 => Just(Step::Restart),
        1 => (0_u64..4).prop_map(Step::DeleteStream),
        1 => (0_i64..40).prop_map(Step::Expire),
    ]
}

/// All that is stored: the events, and how many each stream ever had.
#[derive(Default)]
struct Model {
    events: Vec<(i64, u64, u64)>,
    counts: BTreeMap<u64, u64>,
    /// Streams are never created anew under an old id.
    deleted: Vec<u64>,
}

impl Model {
    fn read(&self, read: &Read) -> Vec<(i64, u64, u64)> {
        let wanted = |&&(time, stream, sequence): &&(i64, u64, u64)| {
            read.times.contains(&time)
                && read.streams.as_ref().is_none_or(|streams| streams.contains(&stream))
                && (!read.odd_only || sequence % 2 == 1)
        };
        let mut events: Vec<_> = self.events.iter().filter(wanted).copied().collect();
        events.sort_unstable();
        if read.newest_first {
            events.reverse();
        }
        events
    }
}

/// All pages of a read, one after the other.
fn read_pages(engine: &Engine, read: &Read) -> Vec<(i64, u64, u64)> {
    let ids: Option<Vec<_>> = read.streams.as_ref().map(|ids| ids.iter().copied().map(StreamId).collect());
    let odd = |message: &str| message.ends_with(['1', '3', '5', '7', '9']);
    let mut query = Query {
        range: Position::at(read.times.start)..Position::at(read.times.end),
        order: if read.newest_first { Order::NewestFirst } else { Order::OldestFirst },
        events_max: read.events_max,
        bytes_max: read.bytes_max,
        scan_bytes_max: read.scan_bytes_max,
        matches: &move |message| !read.odd_only || odd(message),
        ..all(ids.as_deref().map_or(Streams::All, Streams::Only))
    };
    let mut events = Vec::new();
    loop {
        let page = engine.read(GROUP, &query).unwrap();
        assert!(page.events.len() <= read.events_max);
        let bytes: usize = page.events.iter().map(|event| event.message.len() + Query::EVENT_BYTES).sum();
        assert!(bytes <= read.bytes_max || page.events.len() == 1);
        events.extend(page.events.iter().map(place));
        let Some(rest) = page.rest else { return events };
        assert_ne!(rest, query.range, "a page must bring the reader on");
        query.range = rest;
    }
}

proptest! {
    #[test]
    fn the_engine_is_a_list_of_events(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = open(dir.path(), SMALL);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Put { stream, start, gaps } if !model.deleted.contains(&stream) => {
                    let count = model.counts.entry(stream).or_default();
                    let times: Vec<_> = std::iter::once(0).chain(gaps).scan(start, |time, gap| {
                        *time += gap;
                        Some(*time)
                    }).collect();
                    put(&engine, stream, *count, &times);
                    for time in times {
                        model.events.push((time, stream, *count));
                        *count += 1;
                    }
                }
                Step::Put { .. } => {}
                Step::Read(read) => prop_assert_eq!(read_pages(&engine, &read), model.read(&read), "{:?}", read),
                Step::Restart => {
                    drop(engine);
                    engine = open(dir.path(), SMALL);
                }
                Step::DeleteStream(stream) => {
                    engine.delete_stream(GROUP, StreamId(stream)).unwrap();
                    model.events.retain(|(_, of, _)| *of != stream);
                    model.deleted.push(stream);
                }
                Step::Expire(before) => {
                    engine.expire(GROUP, before).unwrap();
                    // Whole segments go, so some expired events may stay; no other event may be gone.
                    let left = read_all(&engine);
                    let gone = |event: &(i64, u64, u64)| left.binary_search(event).is_err();
                    prop_assert!(model.events.iter().all(|event| !gone(event) || event.0 < before));
                    model.events.retain(|event| !gone(event));
                    prop_assert_eq!(left.len(), model.events.len());
                }
            }
        }
        for (stream, count) in &model.counts {
            let stats = engine.stats(GROUP, StreamId(*stream)).unwrap();
            if !model.deleted.contains(stream) {
                prop_assert_eq!(stats.map(|stats| stats.events), Some(*count));
            }
        }
    }
}
