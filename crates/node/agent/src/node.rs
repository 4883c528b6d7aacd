//! The agent as a whole.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::engine::{ControlPlane, Engine, Host};
use crate::error::AgentError;
use crate::image_cleanup;
use crate::network_watch;
use crate::options::Options;
use crate::registration::{self, Registration};
use crate::session::acs::AcsSession;
use crate::session::{SessionError, tcs};

/// AWS's agent waits an hour; on one's own machines nobody wants to.
const INACTIVE_WAIT: Duration = Duration::from_secs(60);

/// A node that has taken its tasks back.
pub struct Agent {
    options: Options,
    host: Arc<Host>,
    engine: Engine,
    control_plane: ControlPlane,
    endpoint: Endpoint,
}

impl Agent {
    /// Opens the node's images and network, and takes back its tasks. Needs no control plane.
    ///
    /// # Errors
    /// A directory cannot be used, or the kernel refuses the network.
    pub async fn open(options: Options) -> Result<Self, AgentError> {
        let host = Host::online(&options).await?;
        let control_plane = ControlPlane::of(&options)?;
        // Before any task goes on: containers are told where it is.
        let endpoint = Endpoint::open(&host, &options).await?;
        let engine = Engine::restore(Arc::clone(&host)).await?;
        Ok(Self { options, host, engine, control_plane, endpoint })
    }

    /// Registers the node, then works for its control plane until `shutdown` is ready. Tasks run on after that.
    /// `ready` is called once, when the node is registered and connected.
    ///
    /// # Errors
    /// The control plane refuses the node.
    pub async fn run(self, ready: impl FnOnce(), shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        tokio::select! {
            () = shutdown => Ok(()),
            never = self.endpoint.run(Arc::clone(&self.host), self.engine.clone(), self.control_plane.clone()) => match never {},
            never = image_cleanup::run(&self.options, &self.host) => match never {},
            never = network_watch::run(&self.host.network) => match never {},
            result = self.serve(ready) => result,
        }
    }

    async fn serve(&self, ready: impl FnOnce()) -> Result<(), AgentError> {
        let mut ready = Some(ready);
        loop {
            let client = &self.control_plane.client;
            let registration = registration::register(&self.options, &self.host, &self.engine, client).await?;
            tokio::select! {
                () = self.take_work(&registration, &mut ready) => {}
                () = self.publish(&registration) => {}
            }
            tokio::time::sleep(INACTIVE_WAIT).await;
        }
    }

    /// Returns when the control plane says that the container instance is inactive.
    async fn take_work(&self, registration: &Registration, ready: &mut Option<impl FnOnce()>) {
        let mut session = AcsSession::new(self.control_plane.clone(), registration.clone(), self.engine.clone());
        let mut backoff = Backoff::default();
        loop {
            let ended = session.run(|| {
                backoff.reset();
                if let Some(ready) = ready.take() {
                    ready();
                }
            });
            match ended.await {
                Ok(()) => {}
                Err(SessionError::Inactive) => {
                    warn!(arn = registration.arn, "the container instance was deregistered; its tasks run on");
                    return;
                }
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "no session with the control plane; trying again");
                }
            }
            backoff.wait().await;
        }
    }

    async fn publish(&self, registration: &Registration) {
        let mut backoff = Backoff::default();
        loop {
            if let Err(error) = tcs::run(&self.control_plane, registration, &self.engine).await {
                debug!(error = &error as &dyn std::error::Error, "no telemetry session; trying again");
            }
            backoff.wait().await;
        }
    }
}
