//! The shim: one small process a task that holds the task's containers and outlives the agent.
//!
//! - [`spec`] — what the agent writes: a task, its containers.
//! - [`client`] — what the agent calls: spawn, connect, command, hear events, clean up.
//! - [`spool`] — the log segments that a shim writes and the agent ships.
//! - [`node_group`] — the limits of all tasks of a node together.
//! - [`status`], [`protocol`] — what is said between the two, and what is left on disk.
//! - [`main`] — the process itself, which the `estiva` binary runs for `estiva shim`.
//!
//! The shim is single-threaded (it forks) and event-driven (it sleeps in one `poll`). What it knows is either on disk
//! or asked for again: an agent that was gone for a week connects, asks for the state, and has missed nothing.

pub mod client;
pub mod layout;
pub mod node_group;
pub mod protocol;
pub mod spec;
pub mod spool;
pub mod status;
pub mod usage;

mod cgroup;
mod enter;
mod executor;
mod init;
mod log;
mod oci;
mod process;
mod rootfs;
mod seccomp;

pub use process::main;
