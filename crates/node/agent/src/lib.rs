//! The container agent: it registers the node, hears from the control plane what to run, runs it, and says how it goes.
//!
//! The control plane is reached over the node protocol and the ECS API alone. While it is away, tasks run on; what it
//! has not yet heard is kept on disk. After its own end the agent takes every task back.

mod aside;
mod backoff;
mod capacity;
mod endpoint;
mod engine;
mod error;
mod exec;
mod fail_point;
mod image_cleanup;
mod instance_type;
mod logs;
mod network_watch;
mod node;
mod offline;
mod options;
mod registration;
mod session;

pub use capacity::Capacity;
pub use endpoint::listen_for_containers;
pub use error::AgentError;
pub use exec::{PIPE_CLIENT, TERMINAL_CLIENT};
pub use instance_type::size_of;
pub use node::Agent;
pub use offline::{end_all_processes, stop_all_tasks};
pub use options::{Identity, ImagePullBehavior, NodeOptions, Options, Seat};
