//! What a node says of its agent when it connects: AWS's agent says its version there and nowhere else.

use std::convert::Infallible;

use estiva_api_ecs::types as api;
use estiva_store::{Snapshot, Store, StoreError, UpdateError};

use super::register::VERSION_CHARS_MAX;
use super::table::ContainerInstanceRow;

/// Keeps what an agent says of itself with the instance with this key. What it says nothing of stays as it is, and so does what is
/// too long. Costs no transaction unless it changes something.
///
/// # Errors
/// The change could not be made durable.
pub async fn note(store: &Store, instance: &str, said: &api::VersionInfo) -> Result<(), StoreError> {
    if changed(&store.view(), instance, said).is_none() {
        return Ok(());
    }
    let update = store.update(|tx| {
        if let Some(row) = changed(tx, instance, said) {
            tx.put(row);
        }
        Ok::<_, Infallible>(())
    });
    update.await.map_err(UpdateError::into_store)
}

fn changed(view: &Snapshot, instance: &str, said: &api::VersionInfo) -> Option<ContainerInstanceRow> {
    let row = view.get::<ContainerInstanceRow>(instance)?;
    let known = row.version_info.clone().unwrap_or_default();
    let newer = |said: &Option<String>, known: &Option<String>| {
        let said = said.as_ref().filter(|text| !text.is_empty() && text.chars().count() <= VERSION_CHARS_MAX);
        said.or(known.as_ref()).cloned()
    };
    let next = api::VersionInfo {
        agent_hash: newer(&said.agent_hash, &known.agent_hash),
        agent_version: newer(&said.agent_version, &known.agent_version),
        docker_version: newer(&said.docker_version, &known.docker_version),
    };
    (next != known).then(|| ContainerInstanceRow { version_info: Some(next), ..(*row).clone() })
}
