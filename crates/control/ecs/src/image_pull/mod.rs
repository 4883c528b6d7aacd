//! Images onto nodes before any task needs them: StartImagePull and DescribeImagePull of Estiva's own API. A call makes a row for
//! each node; the node protocol tells the nodes, and takes their answers.

pub mod table;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use estiva_api_ecs::Error as EcsError;
use estiva_api_estiva::Error;
use estiva_api_estiva::types as api;
use estiva_model::{Timestamp, hex_id};
use estiva_schema::Request;
use estiva_store::{Row, Snapshot, Store, StoreError, UpdateError};

use crate::EcsService;
use crate::cluster;
use crate::container_instance::table::{ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus};
use crate::error;
use crate::scope::Scope;
use crate::task::history::translated;
use table::{ImagePullRow, ImagePullStatus};

/// Registries take no longer names.
const IMAGE_BYTES_MAX: usize = 512;
/// Pulls that ended are kept for so long, in milliseconds.
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// How long a node may say nothing of a pull: ten gigabytes take that long at 45 Mbit/s.
const PENDING_MAX: Duration = Duration::from_secs(30 * 60);

pub(crate) async fn start(
    service: &EcsService,
    request: Request<api::StartImagePullRequest>,
) -> Result<api::StartImagePullResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if input.image.is_empty() || input.image.len() > IMAGE_BYTES_MAX {
        return Err(Error::invalid_parameter_exception(format!("image: 1 to {IMAGE_BYTES_MAX} bytes are allowed")));
    }
    let id = hex_id(&mut service.ambient.rng(), 32);
    let update = service.store.update(|tx| {
        let cluster = cluster::active(tx, &scope, input.cluster.as_deref()).map_err(translated)?;
        let prefix = scope.key(&[&cluster.name, ""]);
        let named = input.container_instances.as_deref().unwrap_or_default();
        let is_meant = |row: &ContainerInstanceRow| {
            let named = named.is_empty() || named.iter().any(|name| *name == row.id || *name == row.arn());
            named && row.status != ContainerInstanceStatus::Inactive
        };
        let instances: Vec<_> = tx.scan::<ContainerInstanceRow>(&prefix).filter(|row| is_meant(row)).collect();
        if instances.is_empty() || instances.len() < named.len() {
            let reason = "containerInstances: the cluster has not all of them, or none at all";
            return Err(Error::invalid_parameter_exception(reason));
        }
        let now = service.ambient.now();
        let old = |row: &Arc<ImagePullRow>| now.as_millis() - row.created_at.as_millis() > KEPT_MS;
        let outdated: Vec<String> = tx.scan::<ImagePullRow>("").filter(old).map(|row| row.key()).collect();
        for key in outdated {
            tx.delete::<ImagePullRow>(&key);
        }
        for instance in instances {
            let connected = tx.get::<ConnectionRow>(&instance.key()).is_some_and(|connection| connection.connected);
            let status = if !instance.has_own_agent() {
                ImagePullStatus::Failed("the node's agent cannot pull ahead".to_owned())
            } else if connected {
                ImagePullStatus::Pending
            } else {
                ImagePullStatus::Failed("the node is not connected".to_owned())
            };
            tx.put(ImagePullRow {
                scope: scope.clone(),
                id: id.clone(),
                image: input.image.clone(),
                container_instance_key: instance.key(),
                container_instance_arn: instance.arn(),
                status,
                created_at: now,
            });
        }
        Ok(())
    });
    update.await.map_err(|error| {
        error.unify(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "an image pull was not stored");
            Error::server_exception("The change could not be stored. Try again.")
        })
    })?;
    Ok(api::StartImagePullResponse { image_pull: Some(shown(service, &scope, &id)?) })
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeImagePullRequest>,
) -> Result<api::DescribeImagePullResponse, Error> {
    let Request { input, caller, .. } = request;
    Ok(api::DescribeImagePullResponse { image_pull: Some(shown(service, &Scope::of(caller), &input.id)?) })
}

fn shown(service: &EcsService, scope: &Scope, id: &str) -> Result<api::ImagePull, Error> {
    let view = service.store.view();
    let rows: Vec<_> = view.scan::<ImagePullRow>(&scope.key(&[id, ""])).collect();
    let first =
        rows.first().ok_or_else(|| Error::invalid_parameter_exception(format!("id: there is no pull '{id}'")))?;
    Ok(api::ImagePull {
        id: id.to_owned(),
        image: first.image.clone(),
        created_at: Some(first.created_at),
        nodes: Some(rows.iter().map(|row| node(row)).collect()),
    })
}

fn node(row: &ImagePullRow) -> api::NodePull {
    let (status, image_digest, reason) = match &row.status {
        ImagePullStatus::Pending => ("PENDING", None, None),
        ImagePullStatus::Pulled(digest) => ("PULLED", Some(digest.clone()), None),
        ImagePullStatus::Failed(reason) => ("FAILED", None, Some(reason.clone())),
    };
    let container_instance_arn = row.container_instance_arn.clone();
    api::NodePull { container_instance_arn, status: status.to_owned(), reason, image_digest }
}

/// Whether the pull is under way on the instance.
pub fn is_pending(view: &Snapshot, instance: &ContainerInstanceRow, id: &str) -> bool {
    let row = view.get::<ImagePullRow>(&table::key(&instance.scope, id, &instance.key()));
    row.is_some_and(|row| row.status == ImagePullStatus::Pending)
}

/// Ends the pulls of which their nodes have said nothing for too long at the time `now`: whoever waits for them must not wait for
/// ever.
pub(crate) async fn give_up(service: &EcsService, now: Timestamp) -> Result<(), EcsError> {
    let is_due =
        |row: &ImagePullRow| row.status == ImagePullStatus::Pending && now.since(row.created_at) >= PENDING_MAX;
    let due: Vec<_> =
        service.store.view().scan::<ImagePullRow>("").filter(|row| is_due(row)).map(|row| row.key()).collect();
    if due.is_empty() {
        return Ok(());
    }
    let update = service.store.update(|tx| {
        for key in &due {
            // Its node may have answered in the last moment.
            if let Some(row) = tx.get::<ImagePullRow>(key).filter(|row| is_due(row)) {
                let status = ImagePullStatus::Failed("the node has not answered for half an hour".to_owned());
                tx.put(ImagePullRow { status, ..(*row).clone() });
            }
        }
        Ok::<_, EcsError>(())
    });
    update.await.map_err(error::update)
}

/// Takes a node's word on what became of a pull.
///
/// # Errors
/// The change could not be made durable.
pub async fn finish(
    store: &Store,
    instance: &ContainerInstanceRow,
    id: &str,
    status: ImagePullStatus,
) -> Result<(), StoreError> {
    let key = table::key(&instance.scope, id, &instance.key());
    let update = store.update(|tx| {
        let row = tx.get::<ImagePullRow>(&key).filter(|row| row.status == ImagePullStatus::Pending);
        if let Some(row) = row {
            tx.put(ImagePullRow { status: status.clone(), ..(*row).clone() });
        }
        Ok::<_, Infallible>(())
    });
    update.await.map_err(UpdateError::into_store)
}
