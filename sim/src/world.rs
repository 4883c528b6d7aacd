//! What everyone in a run shares: its clock, its trace, its chance, its weather, and what went wrong.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use estiva_model::Ambient;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Clock;
use crate::meter::Meter;
use crate::trace::Trace;

/// Faults of single messages, tasks and disks, as probabilities from 0 to 1. They change with the phases of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// A call is lost on its way, or its answer is.
    pub loss: f64,
    /// A copy of a report comes once more, up to half a minute later.
    pub late: f64,
    /// A disk takes seconds for a write.
    pub slow_disk: f64,
    /// A task fails to start.
    pub failed_start: f64,
    /// A running task ends by itself in the next minutes.
    pub exit: f64,
}

/// A run's surroundings.
#[derive(Debug)]
pub struct World {
    /// Tells the time.
    pub clock: Clock,
    /// Keeps what happens.
    pub trace: Trace,
    /// Where the processor's time goes.
    pub meter: Meter,
    /// Whether the books of transactions are kept.
    pub is_audited: bool,
    frames: AtomicU64,
    seed: u64,
    weather: Mutex<Weather>,
    violations: Mutex<Vec<String>>,
}

/// Locks what only one thread uses: a panic elsewhere has ended the run anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Of a run that follows from `seed`; to be made within its runtime.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self::with(seed, Trace::new(true), Meter::default(), true))
    }

    /// Of a run too large for a trace and for books.
    pub fn large(seed: u64) -> Arc<Self> {
        Arc::new(Self::with(seed, Trace::new(false), Meter::on(), false))
    }

    fn with(seed: u64, trace: Trace, meter: Meter, is_audited: bool) -> Self {
        Self {
            clock: Clock::start(),
            trace,
            meter,
            is_audited,
            frames: AtomicU64::new(0),
            seed,
            weather: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Chance of someone's own, so that what one draws does not change what others do.
    pub fn rng(&self, whose: &str) -> StdRng {
        let mut seed = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in whose.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        StdRng::seed_from_u64(seed)
    }

    /// Time and chance as the code under test gets them.
    pub fn ambient(self: &Arc<Self>) -> Ambient {
        let world = Arc::clone(self);
        Ambient::simulated(move || world.clock.now(), self.rng("ambient").random())
    }

    /// The faults of the moment.
    pub fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    /// Other faults from now on.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    /// Adds a line to the trace.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        self.trace.say(self.clock.elapsed(), what);
    }

    /// Something that must never be has been.
    pub fn violated(&self, what: &str) {
        self.say(format_args!("VIOLATION {what}"));
        lock(&self.violations).push(format!("at {:.3} s: {what}", self.clock.elapsed().as_secs_f64()));
    }

    /// All that must never be and has been.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Messages that nodes were sent.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// A message that a node was sent.
    pub(crate) fn count_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many seconds, in whole milliseconds: what timers tell apart.
pub fn whole_ms(seconds: f64) -> Duration {
    Duration::from_secs_f64((seconds * 1000.0).round() / 1000.0)
}

/// A duration between the two, small ones as likely as large ones on a logarithmic scale.
pub fn spread(rng: &mut StdRng, least: Duration, most: Duration) -> Duration {
    let (least, most) = (least.as_secs_f64().max(0.001).ln(), most.as_secs_f64().ln());
    whole_ms(rng.random_range(least..=most).exp())
}
