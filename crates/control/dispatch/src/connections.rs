//! Which container instances are connected, as the store keeps it for placement and DescribeContainerInstances.

use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_model::Timestamp;
use estiva_store::{Store, StoreError, UpdateError};

use crate::sessions::Sessions;

/// Notes that no instance is connected.
pub(crate) async fn reset(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let connected: Vec<_> = store.view().scan::<ConnectionRow>("").filter(|row| row.connected).collect();
    if connected.is_empty() {
        return Ok(());
    }
    let update = store.update(|tx| {
        for row in &connected {
            tx.put(ConnectionRow { connected: false, changed_at: now, instance: row.instance.clone() });
        }
        Ok::<_, StoreError>(())
    });
    update.await.map_err(store_error)
}

/// Notes whether an instance has a session.
///
/// That is looked up inside the transaction: when one session ends while the next begins, their transactions may come in
/// either order, and the last one must not write what was true before.
pub(crate) async fn note(sessions: &Sessions, instance: &str) -> Result<(), StoreError> {
    let update = sessions.store.update(|tx| {
        let connected = sessions.has(instance);
        let noted = tx.get::<ConnectionRow>(instance).is_some_and(|row| row.connected);
        if noted != connected {
            tx.put(ConnectionRow {
                instance: instance.to_owned(),
                connected,
                changed_at: sessions.feeds.ambient.now(),
            });
        }
        Ok::<_, StoreError>(())
    });
    update.await.map_err(store_error)
}

fn store_error(error: UpdateError<StoreError>) -> StoreError {
    match error {
        UpdateError::Aborted(error) | UpdateError::Store(error) => error,
    }
}
