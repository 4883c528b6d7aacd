//! A whole cluster in one process on a virtual clock, so that a thousand bad days can be lived through in a minute.
//!
//! The control plane is the real one: handlers, controllers, the node protocol's server, the store. What is simulated is
//! around it: nodes that speak the protocol ([`agent`]), networks that cut and delay ([`network`]), a disk that dies
//! between two writes ([`disk`]), users ([`workload`]) and misfortune ([`fault`]). Everything that is not decided by the code
//! under test follows from one seed: the same seed gives the same trace, byte for byte.
//!
//! While a run goes on, [`audit`] keeps books of its own over every transaction, and checks each against what must always hold;
//! at its end, when no more faults happen, [`settle`] asks whether everything is as it was wanted. Neither ever looks at a
//! clock that is not virtual.

pub mod agent;
pub mod audit;
pub mod clock;
pub mod cluster;
pub mod definition;
pub mod disk;
pub mod fault;
pub mod invariant;
pub mod meter;
pub mod network;
pub mod owner;
pub mod plane;
pub mod run;
pub mod settle;
pub mod silence;
pub mod trace;
pub mod workload;
pub mod world;

pub use run::{Outcome, Scenario, run, simulate};
