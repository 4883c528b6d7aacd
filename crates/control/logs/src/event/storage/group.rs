//! One group: its streams, opened one by one when they are touched, and which of them have events of late.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::EngineError;
use super::chunk::Span;
use super::files::{Files, sync_dir};
use super::id::{GroupId, SegmentId, StreamId};
use super::lazy::{Lazy, lock};
use super::options::Options;
use super::record::NewEvent;
use super::stream::Stream;

/// A group whose directory has been listed.
pub(super) struct Group {
    id: GroupId,
    /// Held shared while a stream is written, exclusively while files are removed.
    gate: RwLock<()>,
    streams: Mutex<HashMap<StreamId, Arc<Slot>>>,
    newest: Mutex<Newest>,
    all_open: AtomicBool,
    has_dir: Mutex<bool>,
    bytes: AtomicU64,
}

/// A stream that may not have been opened yet.
#[derive(Default)]
struct Slot {
    segments: Vec<u64>,
    stream: Lazy<Stream>,
}

/// The open streams by the time of their newest event: a reader of the latest events looks at no other streams.
#[derive(Default)]
struct Newest {
    streams: BTreeSet<(i64, StreamId)>,
    times: HashMap<StreamId, i64>,
}

impl Newest {
    fn set(&mut self, id: StreamId, newest: Option<i64>) {
        let before = match newest {
            Some(newest) => self.times.insert(id, newest),
            None => self.times.remove(&id),
        };
        if before == newest {
            return;
        }
        if let Some(before) = before {
            self.streams.remove(&(before, id));
        }
        if let Some(newest) = newest {
            self.streams.insert((newest, id));
        }
    }
}

impl Group {
    /// Lists the directory of a group; no stream is opened.
    pub(super) fn open(id: GroupId, files: &Files) -> Result<Self, EngineError> {
        let dir = files.group_dir(id);
        let mut segments = BTreeMap::<StreamId, Vec<u64>>::new();
        let mut bytes = 0;
        let listing = match std::fs::read_dir(&dir) {
            Ok(listing) => Some(listing),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(EngineError::file("list", &dir)(error)),
        };
        let has_dir = listing.is_some();
        for entry in listing.into_iter().flatten() {
            let entry = entry.map_err(EngineError::file("list", &dir))?;
            let Some(segment) = entry.file_name().to_str().and_then(|name| SegmentId::parse(id, name)) else {
                continue;
            };
            segments.entry(segment.stream).or_default().push(segment.first);
            bytes += entry.metadata().map_err(EngineError::file("list", &dir))?.len();
        }
        let slot = |mut segments: Vec<u64>| {
            segments.sort_unstable();
            Arc::new(Slot { segments, stream: Lazy::default() })
        };
        Ok(Self {
            id,
            gate: RwLock::default(),
            streams: Mutex::new(segments.into_iter().map(|(id, segments)| (id, slot(segments))).collect()),
            newest: Mutex::default(),
            all_open: AtomicBool::new(false),
            has_dir: Mutex::new(has_dir),
            bytes: AtomicU64::new(bytes),
        })
    }

    /// How many bytes the files of the group have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The stream, opened; `None` when nothing was ever put to it.
    pub(super) fn stream(
        &self,
        id: StreamId,
        files: &Files,
        options: &Options,
    ) -> Result<Option<Arc<Stream>>, EngineError> {
        let slot = lock(&self.streams).get(&id).cloned();
        slot.map(|slot| self.open_slot(id, &slot, files, options)).transpose()
    }

    fn open_slot(
        &self,
        id: StreamId,
        slot: &Slot,
        files: &Files,
        options: &Options,
    ) -> Result<Arc<Stream>, EngineError> {
        slot.stream.get_or_try(|| {
            let stream = Stream::open(self.id, id, &slot.segments, files, options)?;
            self.note_newest(&stream);
            Ok(stream)
        })
    }

    /// Stores events of one stream, durably.
    pub(super) fn append(
        &self,
        id: StreamId,
        ingestion: i64,
        events: &[NewEvent<'_>],
        alive: &dyn Fn() -> bool,
        files: &Files,
        options: &Options,
    ) -> Result<(), EngineError> {
        let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        if !alive() {
            return Err(EngineError::Deleted);
        }
        self.make_dir(files)?;
        let slot = Arc::clone(lock(&self.streams).entry(id).or_default());
        let stream = self.open_slot(id, &slot, files, options)?;
        let appended = stream.append(files, ingestion, events)?;
        self.bytes.fetch_add(appended.bytes, Ordering::Relaxed);
        self.note_newest(&stream);
        stream.make_durable(files, appended.next)
    }

    fn make_dir(&self, files: &Files) -> Result<(), EngineError> {
        let mut has_dir = lock(&self.has_dir);
        if !*has_dir {
            let dir = files.group_dir(self.id);
            std::fs::create_dir_all(&dir).map_err(EngineError::file("create", &dir))?;
            sync_dir(files.dir())?;
            *has_dir = true;
        }
        Ok(())
    }

    /// Tells a stream's place among the others. The time is read under the lock, so the last to come tells the truth.
    fn note_newest(&self, stream: &Stream) {
        let mut newest = lock(&self.newest);
        newest.set(stream.id(), stream.newest());
    }

    /// The streams that may have events of this span.
    pub(super) fn streams_with(
        &self,
        span: Span,
        files: &Files,
        options: &Options,
    ) -> Result<Vec<Arc<Stream>>, EngineError> {
        self.open_all(files, options)?;
        let ids: Vec<_> = lock(&self.newest).streams.range((span.oldest, StreamId(0))..).map(|(_, id)| *id).collect();
        ids.into_iter().filter_map(|id| self.stream(id, files, options).transpose()).collect()
    }

    fn open_all(&self, files: &Files, options: &Options) -> Result<(), EngineError> {
        if self.all_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let slots: Vec<_> = lock(&self.streams).iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        for (id, slot) in slots {
            self.open_slot(id, &slot, files, options)?;
        }
        self.all_open.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes the files of a stream.
    pub(super) fn delete_stream(&self, id: StreamId, files: &Files, options: &Options) -> Result<(), EngineError> {
        let _closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = self.stream(id, files, options)? else { return Ok(()) };
        lock(&self.streams).remove(&id);
        lock(&self.newest).set(id, None);
        self.freed(stream.bytes());
        stream.segments().into_iter().try_for_each(|first| files.remove(stream.segment(first)))
    }

    fn freed(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes.min(self.bytes()), Ordering::Relaxed);
    }

    /// Removes the segments whose events are all older than `before`.
    pub(super) fn expire(&self, before: i64, files: &Files, options: &Options) -> Result<u64, EngineError> {
        let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.open_all(files, options)?;
        let slots: Vec<_> = lock(&self.streams).iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        let mut freed_in_all = 0;
        for (id, slot) in slots {
            let stream = self.open_slot(id, &slot, files, options)?;
            let freed = stream.expire(files, before)?;
            self.note_newest(&stream);
            self.freed(freed);
            freed_in_all += freed;
        }
        Ok(freed_in_all)
    }

    /// Runs `then` while nobody writes to any stream of the group.
    pub(super) fn while_still<T>(&self, then: impl FnOnce() -> T) -> T {
        let _closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        then()
    }
}
