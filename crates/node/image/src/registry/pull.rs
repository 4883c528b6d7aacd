//! A pull: manifest, configuration, layers.

use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::blob;
use super::client::{Registry, Session};
use crate::config::{ConfigFile, DOCUMENT_BYTES_MAX, Descriptor, Document, Manifest, architecture};
use crate::digest::Digest;
use crate::directory::Directory;
use crate::error::{ContentError, FileError, PullError};
use crate::images::{ImageRecord, content_error};
use crate::import::check_layers;
use crate::keyed::Keyed;
use crate::layers;
use crate::progress::{Progress, Silent};
use crate::reference::Reference;
use crate::unpack::Limits;

/// Layers that are downloaded at one time, as Docker does.
const PARALLEL_LAYERS: usize = 3;
/// How deep an index may be in an index.
const NESTING_MAX: usize = 4;
const ACCEPT_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// The digest of the manifest for this machine that the reference stands for now.
pub(crate) async fn newest_digest(registry: &Registry, reference: &Reference) -> Result<Option<Digest>, PullError> {
    let session = Session::new(registry, reference);
    resolve(&session).await.map(|(digest, _)| Some(digest))
}

/// Pulls an image: its layers are there when this returns.
pub(crate) async fn pull(
    registry: &Registry,
    directory: &Directory,
    limits: Limits,
    turns: &Keyed,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<ImageRecord, PullError> {
    let session = Session::new(registry, reference);
    let content = |error: ContentError| content_error(reference, error);
    let (digest, manifest) = resolve(&session).await?;
    let config: ConfigFile = document(&session, directory, &manifest.config).await?;
    check_layers(manifest.layers.len(), &config).map_err(content)?;
    let layers = Layers { session: &session, directory, limits, turns, progress };
    let mut wanted = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    let mut under_way: FuturesUnordered<_> =
        wanted.by_ref().take(PARALLEL_LAYERS).map(|(blob, diff_id)| layers.pull(blob, diff_id)).collect();
    while let Some(done) = under_way.next().await {
        done?;
        under_way.extend(wanted.next().map(|(blob, diff_id)| layers.pull(blob, diff_id)));
    }
    drop(under_way);
    let record = ImageRecord::new(directory, digest, config.container_config(), config.rootfs.diff_ids);
    record.map_err(|error| content(error.into()))
}

struct Layers<'a> {
    session: &'a Session<'a>,
    directory: &'a Directory,
    limits: Limits,
    turns: &'a Keyed,
    progress: &'a dyn Progress,
}

impl Layers<'_> {
    /// Downloads and unpacks a layer, unless it is there or another pull is at it.
    async fn pull(&self, blob: &Descriptor, diff_id: &Digest) -> Result<(), PullError> {
        let content = |error: ContentError| content_error(self.session.reference(), error);
        let _turn = self.turns.turn(&diff_id.to_string()).await;
        if self.directory.layer(diff_id).exists() {
            return Ok(());
        }
        if blob.size > self.limits.bytes_max {
            let max = format!("{} bytes", self.limits.bytes_max);
            return Err(content(ContentError::TooLarge { what: format!("blob {}", blob.digest), max }));
        }
        let temporary = self.directory.temporary().map_err(|error| content(error.into()))?;
        let file = blob::download(self.session, blob, &temporary.path().join("blob"), self.progress).await?;
        let (directory, diff_id, limits) = (self.directory.clone(), diff_id.clone(), self.limits);
        let installed = tokio::task::spawn_blocking(move || layers::install(&directory, &diff_id, file, limits));
        let installed = installed.await.unwrap_or_else(|error| {
            let gone = std::io::Error::other(error.to_string());
            Err(FileError::new("unpack into", Path::new("layers"))(gone).into())
        });
        installed.map_err(content)
    }
}

/// The manifest for this machine, and its digest, which has been checked.
async fn resolve(session: &Session<'_>) -> Result<(Digest, Manifest), PullError> {
    let reference = session.reference();
    let content = |error: ContentError| content_error(reference, error);
    let mut asked = reference.manifest();
    let mut expected = reference.digest.clone();
    for _ in 0..NESTING_MAX {
        let response = session.get(Method::GET, &format!("manifests/{asked}"), ACCEPT_MANIFEST, 0).await?;
        let bytes = whole(session, response.into_body()).await?;
        let found = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(content(ContentError::Digest { what: "the manifest".to_owned(), expected, found }));
        }
        let malformed = |source| content(ContentError::Malformed { what: "the manifest".to_owned(), source });
        match serde_json::from_slice(&bytes).map_err(malformed)? {
            Document::Manifest(manifest) => return Ok((found, manifest)),
            Document::Index(index) => {
                let chosen = index.for_this_machine().ok_or(ContentError::Platform(architecture())).map_err(content)?;
                asked = chosen.digest.to_string();
                expected = Some(chosen.digest.clone());
            }
        }
    }
    let max = format!("{NESTING_MAX} levels");
    Err(content(ContentError::TooLarge { what: "the nesting of indexes".to_owned(), max }))
}

/// A small JSON blob.
async fn document<T: DeserializeOwned>(
    session: &Session<'_>,
    directory: &Directory,
    descriptor: &Descriptor,
) -> Result<T, PullError> {
    let content = |error: ContentError| content_error(session.reference(), error);
    if descriptor.size > DOCUMENT_BYTES_MAX {
        let max = format!("{DOCUMENT_BYTES_MAX} bytes");
        return Err(content(ContentError::TooLarge { what: "the configuration".to_owned(), max }));
    }
    let temporary = directory.temporary().map_err(|error| content(error.into()))?;
    let file = blob::download(session, descriptor, &temporary.path().join("config"), &Silent).await?;
    let malformed = |source| content(ContentError::Malformed { what: "the configuration".to_owned(), source });
    serde_json::from_reader(std::io::BufReader::new(file)).map_err(malformed)
}

async fn whole(session: &Session<'_>, body: hyper::body::Incoming) -> Result<Bytes, PullError> {
    let max = usize::try_from(DOCUMENT_BYTES_MAX).unwrap_or(usize::MAX);
    let collected = Limited::new(body, max).collect().await;
    Ok(collected.map_err(|error| session.unreachable("the manifest", error))?.to_bytes())
}
