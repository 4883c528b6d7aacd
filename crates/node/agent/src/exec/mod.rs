//! Sessions with programs in containers: ExecuteCommand, from the node's side. The node is the server of the session protocol;
//! the control plane only brings both ends together.

mod program;
mod session;
mod transcript;

use estiva_agent_protocol::EXEC_PATH;
use estiva_agent_protocol::acs::StartSession;
use tracing::{info, warn};

use crate::engine::{ControlPlane, Engine};
use crate::session::open_socket;
use session::Session;

pub use session::{PIPE_CLIENT, TERMINAL_CLIENT};

/// Serves one session to its end.
pub(crate) async fn serve(control_plane: ControlPlane, engine: Engine, request: StartSession) {
    let StartSession { session_id, task_arn, container_name, .. } = &request;
    let Some(view) = engine.find(task_arn) else {
        return warn!(session = session_id, task = task_arn, "a session is for a task that is not here");
    };
    let path = EXEC_PATH.trim_end_matches("/ws");
    let endpoint = format!("{}{path}", control_plane.client.url().trim_end_matches('/'));
    let limit = estiva_session_protocol::FRAME_BYTES_MAX;
    let socket = match open_socket(&control_plane, &endpoint, &[("sessionId", session_id)], limit).await {
        Ok(socket) => socket,
        Err(error) => {
            return warn!(session = session_id, error = &error as &dyn std::error::Error, "a session cannot be opened");
        }
    };
    info!(session = session_id, task = task_arn, container = container_name, "a session begins");
    match Session::new(&control_plane, &view, &request) {
        Ok(session) => session.run(socket).await,
        Err(error) => warn!(session = session_id, error = &error as &dyn std::error::Error, "a session cannot begin"),
    }
    info!(session = session_id, "a session is over");
}
