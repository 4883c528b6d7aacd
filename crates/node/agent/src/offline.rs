//! What is done to a node while its control plane is away.

use crate::engine::{Engine, Host};
use crate::error::AgentError;
use crate::options::NodeOptions;

/// Stops every task of the node and takes away what the kernel has of it; returns how many tasks there were. Their end
/// is reported, and their last log lines are shipped, when the agent runs again.
///
/// # Errors
/// The node is in use by an agent, or cannot be cleared away.
pub async fn stop_all_tasks(options: &NodeOptions) -> Result<usize, AgentError> {
    let host = Host::offline(options).await?;
    let engine = Engine::restore(host.clone()).await?;
    let stopped = engine.stop_all().await;
    host.dismantle().await?;
    Ok(stopped)
}
