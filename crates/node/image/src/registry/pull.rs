//! A pull: manifest, configuration, layers.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::blob;
use super::session::{ACCEPT_MANIFEST, Session};
use crate::config::{ConfigFile, DOCUMENT_BYTES_MAX, Descriptor, Document, ImageConfig, Manifest, architecture};
use crate::digest::Digest;
use crate::directory::{Directory, Temporary, blocking};
use crate::error::{ContentError, PullError};
use crate::import::check_layers;
use crate::keyed::Keyed;
use crate::layers;
use crate::progress::{Progress, Silent};

/// Layers that are downloaded at one time, as Docker does.
const PARALLEL_LAYERS: usize = 3;
/// How deep an index may be in an index.
const NESTING_MAX: usize = 4;

/// A pull of one image.
pub(crate) struct Pull<'a> {
    pub session: &'a Session<'a>,
    pub directory: &'a Directory,
    /// Of layers: two pulls of one share the work.
    pub turns: &'a Keyed,
    pub progress: &'a dyn Progress,
}

/// What was pulled. The layers are there, and stay while they are claimed.
pub(crate) struct Pulled {
    /// Of the manifest for this machine.
    pub digest: Digest,
    /// Of what the registry has under the name: an index, or the manifest itself.
    pub remote: Digest,
    pub config: ImageConfig,
    pub diff_ids: Vec<Digest>,
    pub claim: Temporary,
}

impl Pull<'_> {
    pub async fn run(&self) -> Result<Pulled, PullError> {
        let content = |error: ContentError| PullError::content(self.session.reference(), error);
        let Resolved { digest, remote, manifest } = resolve(self.session).await?;
        let config: ConfigFile = document(self.session, self.directory, &manifest.config).await?;
        check_layers(manifest.layers.len(), &config).map_err(content)?;
        let (directory, diff_ids) = (self.directory.clone(), config.rootfs.diff_ids.clone());
        let claim = blocking(move || directory.claim(&diff_ids)).await.map_err(|error| content(error.into()))?;
        let mut wanted = manifest.layers.iter().zip(&config.rootfs.diff_ids);
        let mut under_way: FuturesUnordered<_> =
            wanted.by_ref().take(PARALLEL_LAYERS).map(|(blob, diff_id)| self.layer(blob, diff_id)).collect();
        while let Some(done) = under_way.next().await {
            done?;
            under_way.extend(wanted.next().map(|(blob, diff_id)| self.layer(blob, diff_id)));
        }
        drop(under_way);
        Ok(Pulled { digest, remote, config: config.container_config(), diff_ids: config.rootfs.diff_ids, claim })
    }

    /// Downloads and unpacks a layer, unless it is there or another pull is at it.
    async fn layer(&self, blob: &Descriptor, diff_id: &Digest) -> Result<(), PullError> {
        let content = |error: ContentError| PullError::content(self.session.reference(), error);
        let limits = self.session.limits();
        let _turn = self.turns.turn(&diff_id.to_string()).await;
        if self.directory.layer(diff_id).exists() {
            return Ok(());
        }
        if blob.size > limits.bytes_max {
            let max = format!("{} bytes", limits.bytes_max);
            return Err(content(ContentError::TooLarge { what: format!("blob {}", blob.digest), max }));
        }
        let temporary = self.directory.temporary().map_err(|error| content(error.into()))?;
        let file = blob::download(self.session, blob, &temporary.path().join("blob"), self.progress).await?;
        let (directory, diff_id) = (self.directory.clone(), diff_id.clone());
        blocking(move || layers::install(&directory, &diff_id, file, limits)).await.map_err(content)
    }
}

/// What a reference stands for at its registry.
struct Resolved {
    digest: Digest,
    remote: Digest,
    manifest: Manifest,
}

/// The manifest for this machine; its digest has been checked.
async fn resolve(session: &Session<'_>) -> Result<Resolved, PullError> {
    let reference = session.reference();
    let content = |error: ContentError| PullError::content(reference, error);
    let mut remote = None;
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
            Document::Manifest(manifest) => {
                let remote = remote.unwrap_or_else(|| found.clone());
                return Ok(Resolved { digest: found, remote, manifest });
            }
            Document::Index(index) => {
                remote.get_or_insert(found);
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
    let content = |error: ContentError| PullError::content(session.reference(), error);
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
    session.read(body, max).await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let what = "the manifest".to_owned();
            let too_large = ContentError::TooLarge { what, max: format!("{DOCUMENT_BYTES_MAX} bytes") };
            return PullError::content(session.reference(), too_large);
        }
        session.broken(error)
    })
}
