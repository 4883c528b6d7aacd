//! What a shipper and its container's shim tell each other: that there are lines, and that there is room.
//!
//! The shim is asked over the connection that there is anyhow. A watch on each spool would need a kernel object of which a
//! user may have a few only, and containers run as the same user: one of them could take all.

use std::time::Duration;

use estiva_shim::client::Client;
use estiva_shim::spool::Position;
use tokio::sync::watch;

/// How often a spool is looked at whose shim does not tell: one of an earlier version, or one that is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One container's news.
pub(super) struct News {
    container: String,
    shim: watch::Receiver<Option<Client>>,
    /// Where the reader was when the shim said last that there is more.
    told_at: Option<Position>,
}

impl News {
    /// None yet; `shim` brings the connection, and each one that follows it.
    pub fn new(container: String, shim: watch::Receiver<Option<Client>>) -> Self {
        Self { container, shim, told_at: None }
    }

    /// Returns when there may be something beyond `position`, up to which everything was read.
    pub async fn written(&mut self, position: Position) {
        let client = self.shim.borrow_and_update().clone();
        // Said and not found: the shim would say so again at once.
        let is_to_look = self.told_at == Some(position);
        let told = async {
            match client {
                Some(client) if !is_to_look => client.await_log(&self.container, position).await.is_ok(),
                _ => false,
            }
        };
        tokio::select! {
            told = told => {
                if told {
                    self.told_at = Some(position);
                } else {
                    self.told_at = None;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
            }
            Ok(()) = self.shim.changed() => self.told_at = None,
        }
    }

    /// Segments were deleted: a container that waits for room need not wait longer.
    pub async fn freed(&self) {
        let client = self.shim.borrow().clone();
        if let Some(client) = client {
            // Not heard: the shim looks itself, a little later.
            let _ = client.log_freed(&self.container).await;
        }
    }
}
