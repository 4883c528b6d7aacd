//! What is done to a node while its control plane is away.

use tracing::error;

use crate::engine::{self, Engine, Host};
use crate::error::AgentError;
use crate::options::NodeOptions;

/// Stops every task of the node and takes away what the kernel has of it; returns how many tasks there were. Their end
/// is reported, and their last log lines are shipped, when the agent runs again. Whatever the node's files say, nothing of
/// its tasks runs when this returns without [`AgentError::is_taken`], and it returns within their stop timeouts.
///
/// # Errors
/// The node is in use by an agent, or a part of it could not be cleared away.
pub async fn stop_all_tasks(options: &NodeOptions) -> Result<usize, AgentError> {
    let stopped = match Host::offline(options).await {
        Ok(host) => stop(&host).await,
        Err(error) => Err(error),
    };
    match stopped {
        Err(error) if !error.is_taken() => {
            let cause: &dyn std::error::Error = &error;
            error!(error = cause, "the node's tasks cannot be stopped in order; their processes are killed");
            // The first error says why; that processes are left says more.
            end_all_processes(options).await?;
            Err(error)
        }
        stopped => stopped,
    }
}

/// Kills every process of the node's tasks; for a node of which no more than its directories is known.
///
/// # Errors
/// A process outlives SIGKILL by seconds.
pub async fn end_all_processes(options: &NodeOptions) -> Result<(), AgentError> {
    engine::end_all_processes(options).await
}

async fn stop(host: &std::sync::Arc<Host>) -> Result<usize, AgentError> {
    let stopped = match Engine::restore(host.clone()).await {
        Ok(engine) => engine.stop_all().await,
        Err(error) => Err(error),
    };
    let dismantled = host.dismantle().await;
    stopped.and_then(|stopped| dismantled.map(|()| stopped))
}
