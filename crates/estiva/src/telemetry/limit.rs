//! How often a place in the code is heard: whatever a stranger does again and again, the log says it some hundred times, then
//! once a second, and how often it was left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// So many lines of one place come at once: a machine's tasks may all fail at the same moment.
const BURST: u32 = 200;
/// Then one line of it comes this often.
const REFILL: Duration = Duration::from_secs(1);
/// How many lines were left out is said this often.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// Of all places that log at `info` and above; what is finer somebody has asked for.
pub(super) struct Limit {
    now: fn() -> Instant,
    note: fn(&str),
    places: Mutex<BTreeMap<Place, Bucket>>,
}

/// File and line.
type Place = (&'static str, u32);

struct Bucket {
    tokens: u32,
    /// Up to when tokens were given.
    filled: Instant,
    left_out: u64,
    said: Instant,
}

impl Limit {
    /// `note` writes how many lines were left out.
    pub(super) fn new(now: fn() -> Instant, note: fn(&str)) -> Self {
        Self { now, note, places: Mutex::default() }
    }

    /// Whether the place may log, and what is to be said of lines that were left out.
    fn admit(&self, place: Place) -> (bool, Vec<String>) {
        let now = (self.now)();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let is_admitted = places.entry(place).or_insert_with(|| Bucket::full(now)).take(now);
        let said = |(place, bucket): (&Place, &mut Bucket)| Some((*place, bucket.summary(now)?));
        let summaries: Vec<_> = places.iter_mut().filter_map(said).collect();
        let text = |((file, line), count)| format!("{count} more lines of {file}:{line} were left out");
        (is_admitted, summaries.into_iter().map(text).collect())
    }
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { tokens: BURST, filled: now, left_out: 0, said: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.filled).as_nanos() / REFILL.as_nanos();
        let due = u32::try_from(due).unwrap_or(BURST).min(BURST);
        if due > 0 {
            self.tokens = (self.tokens + due).min(BURST);
            self.filled = if self.tokens == BURST { now } else { self.filled + REFILL * due };
        }
        let has_token = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        self.left_out += u64::from(!has_token);
        has_token
    }

    fn summary(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.left_out > 0 && now.saturating_duration_since(self.said) >= SUMMARY_INTERVAL;
        is_due.then(|| {
            self.said = now;
            std::mem::take(&mut self.left_out)
        })
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let (is_admitted, summaries) =
            self.admit((metadata.file().unwrap_or("?"), metadata.line().unwrap_or_default()));
        for summary in summaries {
            (self.note)(&summary);
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    thread_local! {
        static NOW: Cell<Instant> = Cell::new(Instant::now());
        static NOTES: Cell<Vec<String>> = const { Cell::new(Vec::new()) };
    }

    fn limit() -> Limit {
        let note = |text: &str| {
            let mut notes = NOTES.take();
            notes.push(text.to_owned());
            NOTES.set(notes);
        };
        Limit::new(|| NOW.get(), note)
    }

    fn pass(time: Duration) {
        NOW.set(NOW.get() + time);
    }

    fn admitted(limit: &Limit, place: Place, count: usize) -> usize {
        (0..count).filter(|_| limit.admit(place).0).count()
    }

    #[test]
    fn a_place_is_heard_in_a_burst_and_then_once_a_second() {
        let limit = limit();
        assert_eq!(admitted(&limit, ("a.rs", 1), 10_000), BURST as usize);
        assert_eq!(admitted(&limit, ("a.rs", 2), 10), 10, "another place is not held back");
        pass(REFILL * 3 + REFILL / 2);
        assert_eq!(admitted(&limit, ("a.rs", 1), 10_000), 3);
        pass(REFILL / 2);
        assert_eq!(admitted(&limit, ("a.rs", 1), 10_000), 1, "half a second is not lost");
        pass(REFILL * 100_000);
        assert_eq!(admitted(&limit, ("a.rs", 1), 10_000), BURST as usize);
    }

    #[test]
    fn what_was_left_out_is_said_when_anything_is_logged() {
        let limit = limit();
        admitted(&limit, ("a.rs", 1), BURST as usize + 5);
        assert!(limit.admit(("b.rs", 1)).1.is_empty(), "not at once");
        pass(SUMMARY_INTERVAL);
        assert_eq!(limit.admit(("b.rs", 1)).1, ["5 more lines of a.rs:1 were left out"]);
        assert!(limit.admit(("b.rs", 1)).1.is_empty(), "once");
    }

    #[test]
    fn events_that_anybody_causes_are_bounded_whoever_logs_them() {
        #[derive(Clone, Default)]
        struct Count(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl<S: tracing::Subscriber> Layer<S> for Count {
            fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = Count::default();
        let subscriber = tracing_subscriber::registry().with(count.clone().with_filter(limit()));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::info!(number, "a token that opens no session was shown");
            }
            for _ in 0..1000 {
                tracing::debug!("asked for");
            }
        });
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), BURST as usize + 1000);
    }
}
