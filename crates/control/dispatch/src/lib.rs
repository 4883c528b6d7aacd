//! The server's end of the node protocol: assignments out over ACS, telemetry in over TCS.
//!
//! A session is level-triggered: it knows what it has sent, looks at a snapshot of the store, and sends the difference. One
//! watcher of the store tells sessions where to look. So a lost message, a slow node and a restart all have one remedy,
//! which is to look again.

mod admission;
mod assignments;
mod connections;
mod exec;
mod feeds;
mod manifest;
mod payload;
mod session;
mod sessions;
mod telemetry;
mod websocket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use estiva_store::{Store, StoreError};
use estiva_wire::server::{Refusal, TokenUpgradeHandler, Upgrade, UpgradeHandler};

pub use feeds::Feeds;
use sessions::{SESSIONS_MAX, Sessions};
pub use websocket::Io;

/// The server's end of the node protocol. Clones are the same one.
#[derive(Clone)]
pub struct Dispatch(Arc<Sessions>);

impl Dispatch {
    /// Over a store that has the tables of ECS. Sessions of a former process are gone: no instance is connected now.
    pub async fn open(store: Store, feeds: Feeds) -> Result<Self, StoreError> {
        connections::reset(&store, feeds.ambient.now()).await?;
        estiva_ecs::exec_session::end_all(&store).await?;
        Ok(Self(Arc::new(Sessions::new(store, feeds, SESSIONS_MAX))))
    }

    /// Tells sessions of changes, for as long as it is polled.
    pub async fn run(&self) {
        self.0.watch().await;
    }

    /// Serves [`estiva_agent_protocol::ACS_PATH`].
    pub fn acs(&self) -> Arc<dyn UpgradeHandler> {
        Arc::new(session::Acs(Arc::clone(&self.0)))
    }

    /// Speaks ACS with a node over any stream, as after an upgrade that was granted: what a simulation's nodes connect by.
    pub async fn attach(&self, upgrade: Upgrade, io: impl Io) -> Result<(), Refusal> {
        let acs = session::Acs(Arc::clone(&self.0));
        acs.admit(&upgrade).await?;
        acs.speak(upgrade, io).await;
        Ok(())
    }

    /// Serves [`estiva_agent_protocol::TCS_PATH`].
    pub fn tcs(&self) -> Arc<dyn UpgradeHandler> {
        Arc::new(telemetry::Tcs(Arc::clone(&self.0)))
    }

    /// Serves [`estiva_agent_protocol::EXEC_PATH`]: the nodes' ends of sessions with programs in containers.
    pub fn exec(&self) -> Arc<dyn UpgradeHandler> {
        Arc::new(exec::NodeEnd(Arc::clone(&self.0)))
    }

    /// Serves `/v1/data-channel/*`: the callers' ends.
    pub fn data_channel(&self) -> Arc<dyn TokenUpgradeHandler> {
        Arc::new(exec::CallerEnd(Arc::clone(&self.0)))
    }

    /// Ends every session, those that are still to come included: the server is going down.
    pub fn close(&self) {
        self.0.close();
    }
}
