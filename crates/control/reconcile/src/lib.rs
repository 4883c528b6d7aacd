//! The controllers' runtime: brings what is to what is desired, key by key.
//!
//! A [`Controller`] owns one question ("does this service have the tasks it should?"). The runtime tells it of changes, asks
//! it about the keys that these name, and commits the step that it gives. What holds for every controller:
//! - It is level-triggered: a change only says which key to look at. After a start, and whenever it was too far behind, it
//!   looks at everything.
//! - A key has one step under way at most, and is looked at again only once the controller knows of what the step changed.
//!   Steps of different keys are committed together.
//! - A pass does not retry. A step that was refused because something else changed, or that could not be stored, is decided
//!   anew.
//! - Time is monotonic: a step of the system's clock makes nothing due earlier or later.

mod clock;
mod runner;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use estiva_model::Timestamp;
use estiva_store::{Change, Conflict, Snapshot, Tx};

pub use runner::run;

/// A transaction that brings a key nearer to what is desired. It checks that what it was decided on still holds.
pub type Step = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), Conflict> + Send>;

/// What there is to do for a key.
#[derive(Default)]
pub struct Pass {
    /// What to do now.
    pub step: Option<Step>,
    /// When to look again, though nothing should have changed.
    pub again_at: Option<Timestamp>,
}

/// One question, asked for each key.
pub trait Controller: Send {
    /// What is looked at as one.
    type Key: Ord + Clone + Debug + Send + 'static;

    /// The controller's name, for logs.
    fn name(&self) -> &'static str;

    /// Forgets what it knew and looks at everything; gives the keys that there may be something to do for.
    fn load(&mut self, view: &Snapshot, now: Timestamp) -> Vec<Self::Key>;

    /// Takes in a change, which the view already has, and gives the keys that there may be something to do for.
    fn observe(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<Self::Key>;

    /// What to do for a key.
    fn reconcile(&mut self, view: &Snapshot, key: &Self::Key, now: Timestamp) -> Pass;
}
