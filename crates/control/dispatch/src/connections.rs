//! Which container instances are connected, as the store keeps it for placement and DescribeContainerInstances.

use estiva_ecs::container_instance::table::ConnectionRow;
use estiva_model::Timestamp;
use estiva_store::{Store, StoreError, UpdateError};

/// Notes that no instance is connected.
pub(crate) async fn reset(store: &Store) -> Result<(), StoreError> {
    let connected: Vec<_> = store.view().scan::<ConnectionRow>("").filter(|row| row.connected).collect();
    if connected.is_empty() {
        return Ok(());
    }
    let update = store.update(|tx| {
        for row in &connected {
            tx.put(ConnectionRow { connected: false, changed_at: Timestamp::now(), instance: row.instance.clone() });
        }
        Ok::<_, StoreError>(())
    });
    update.await.map_err(|error| match error {
        UpdateError::Aborted(error) | UpdateError::Store(error) => error,
    })
}

/// Notes whether an instance is connected.
pub(crate) async fn set(store: &Store, instance: &str, connected: bool) {
    let row = ConnectionRow { instance: instance.to_owned(), connected, changed_at: Timestamp::now() };
    let update = store.update(|tx| {
        tx.put(row);
        Ok::<_, StoreError>(())
    });
    if let Err(error) = update.await {
        tracing::error!(instance, connected, %error, "whether a container instance is connected was not stored");
    }
}
