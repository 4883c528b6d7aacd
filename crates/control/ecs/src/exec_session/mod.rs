//! ExecuteCommand: sessions with programs in containers.
//!
//! The call writes a row, the node protocol tells the task's node of it, and both ends meet at the server. The row's token
//! opens the session once; with the session's end the row goes, or when the token has expired unused.

pub(crate) mod handlers;
pub mod table;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use estiva_api_ecs::Error;
use estiva_model::Timestamp;
use estiva_store::{Row, Snapshot, Store, StoreError, UpdateError};
use sha2::{Digest, Sha256};

use crate::EcsService;
use crate::container_instance::table::ContainerInstanceRow;
use crate::error;
use crate::task::table::TaskRow;
use table::ExecSessionRow;

/// How long a token opens its session.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Whether there is such a session.
pub fn exists(view: &Snapshot, id: &str) -> bool {
    view.get::<ExecSessionRow>(id).is_some()
}

/// Why ExecuteCommand cannot run anything in the containers of some nodes.
pub(crate) const IMPOSSIBLE: &str = "The node's agent cannot run commands in containers.";

/// Whether the task's node can run programs in its containers: AWS's agent does it by Systems Manager's agent alone. Of a node that
/// is forgotten it is not known.
pub(crate) fn is_possible(view: &Snapshot, task: &TaskRow) -> bool {
    let node = view.get::<ContainerInstanceRow>(&task.container_instance_key());
    node.is_none_or(|node| node.has_own_agent())
}

/// The session that the token opens at the time `now`, unless it was opened before; from now on it is.
///
/// # Errors
/// The change could not be made durable.
pub async fn redeem(
    store: &Store,
    id: &str,
    token: &str,
    now: Timestamp,
) -> Result<Option<Arc<ExecSessionRow>>, StoreError> {
    let hash = hash(token);
    let opens = |view: &Snapshot| {
        let row = view.get::<ExecSessionRow>(id)?;
        let fresh = now.since(row.created_at) < TOKEN_LIFE;
        (fresh && !row.opened && row.token_sha256 == hash).then_some(row)
    };
    if opens(&store.view()).is_none() {
        return Ok(None);
    }
    let update = store.update(|tx| {
        let row = opens(tx);
        Ok::<_, Infallible>(row.map(|row| tx.put(ExecSessionRow { opened: true, ..(*row).clone() })))
    });
    update.await.map_err(UpdateError::into_store)
}

/// The session is over.
///
/// # Errors
/// The change could not be made durable.
pub async fn end(store: &Store, id: &str) -> Result<(), StoreError> {
    let update = store.update(|tx| {
        tx.delete::<ExecSessionRow>(id);
        Ok::<_, Infallible>(())
    });
    update.await.map_err(UpdateError::into_store)
}

/// Sessions of a former process are over.
///
/// # Errors
/// The change could not be made durable.
pub async fn end_all(store: &Store) -> Result<(), StoreError> {
    let ids: Vec<String> = store.view().scan::<ExecSessionRow>("").map(|row| row.key()).collect();
    for id in ids {
        end(store, &id).await?;
    }
    Ok(())
}

/// Forgets the sessions that no token opens any more at the time `now`, and none has opened: neither end may ever have come.
pub(crate) async fn forget_unopened(service: &EcsService, now: Timestamp) -> Result<(), Error> {
    let is_due = |row: &ExecSessionRow| !row.opened && now.since(row.created_at) >= TOKEN_LIFE;
    let due: Vec<_> =
        service.store.view().scan::<ExecSessionRow>("").filter(|row| is_due(row)).map(|row| row.key()).collect();
    if due.is_empty() {
        return Ok(());
    }
    let update = service.store.update(|tx| {
        for id in &due {
            // It may have been opened in its last moment.
            if tx.get::<ExecSessionRow>(id).is_some_and(|row| is_due(&row)) {
                tx.delete::<ExecSessionRow>(id);
            }
        }
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)
}

/// What is kept of a token; 256 random bits need no salt.
pub(crate) fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}
