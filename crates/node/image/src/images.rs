//! The images of a node, as the agent and the command line use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, ImageRecord, NameRecord};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::directory::{Directory, blocking};
use crate::error::{ContentError, ImportError, LeaseError, OpenError, PullError, RemoveError};
use crate::import;
use crate::keyed::Keyed;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Credentials, Pull, Registry, Session};
use crate::unpack::Limits;

/// The images of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    catalog: Catalog,
    limits: Limits,
    registry: Arc<Registry>,
    turns: Arc<Keyed>,
}

/// An image that is there, ready to be mounted.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name, everything spelled out.
    pub reference: String,
    /// `sha256:…` of its manifest; of its configuration for one that came without a manifest.
    pub digest: String,
    /// What it says of containers.
    pub config: ImageConfig,
    /// Directories of its layers, the topmost first, as overlayfs takes them.
    pub layers: Vec<PathBuf>,
}

/// An image as `estiva image list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Its name as people write it.
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// What its layers take on the disk; those that it shares are counted for each image.
    pub size_bytes: u64,
    /// When the name came to stand for it, milliseconds since 1970.
    pub created_at_ms: i64,
    /// Where it came from.
    pub source: Source,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// From a file.
    Imported,
    /// From a registry.
    Pulled,
}

/// What a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// What it freed on the disk.
    pub freed_bytes: u64,
}

/// When an image is pulled: `ECS_IMAGE_PULL_BEHAVIOR` of AWS's agent. One that was imported never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// A tag is asked for anew; what is there serves when the registry cannot be reached.
    Default,
    /// The registry must answer.
    Always,
    /// Only if the name was never pulled here.
    Once,
    /// Only if it is not there.
    PreferCached,
}

impl Images {
    /// Opens the directory, made where it is not there, and sweeps what a crash has left. Blocks shortly.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let catalog = Catalog(Directory::open(dir)?);
        Ok(Self { catalog, limits: Limits::default(), registry: Arc::default(), turns: Arc::default() })
    }

    /// Registries, as `host[:port]`, that may be spoken to without TLS. Those on loopback always may.
    #[must_use]
    pub fn with_insecure_registries(mut self, hosts: Vec<String>) -> Self {
        self.registry = Arc::new(Registry::new(hosts, self.registry.credentials()));
        self
    }

    /// Credentials for registries, by `host[:port]`.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Vec<(String, Credentials)>) -> Self {
        self.registry = Arc::new(Registry::new(self.registry.insecure(), credentials));
        self
    }

    /// Other bounds for what a layer may unpack to.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes images from a file: an OCI layout (also a directory), a docker-archive, or a root file system as tar, which
    /// needs a `name`; each also compressed with gzip or zstd.
    pub async fn import(
        &self,
        file: &Path,
        name: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Vec<ImageSummary>, ImportError> {
        let name = name.map(str::parse::<Reference>).transpose()?;
        let named = import::import(&self.catalog, self.limits, file, name, progress).await?;
        Ok(named.iter().map(|(name, record)| summary(name, record)).collect())
    }

    /// The image of that name, pulled if the policy wants it.
    pub async fn ensure(
        &self,
        reference: &str,
        policy: PullPolicy,
        progress: &dyn Progress,
    ) -> Result<Image, PullError> {
        let reference: Reference = reference.parse()?;
        let _turn = self.turns.turn(&reference.to_string()).await;
        let known = self.catalog.by_reference(&reference);
        let known = known.map_err(|error| PullError::content(&reference, error.into()))?;
        let session = Session::new(&self.registry, &reference);
        let Some((name, record)) = known else { return self.pull(&session, progress).await };
        let there = self.image(&name.reference, &record);
        let settled = name.source == Source::Imported
            || reference.digest.is_some()
            || matches!(policy, PullPolicy::Once | PullPolicy::PreferCached);
        if settled {
            return Ok(there);
        }
        let asked = match session.is_current(name.remote.as_ref()).await {
            Ok(true) => return Ok(there),
            Ok(false) => self.pull(&session, progress).await,
            Err(error) => Err(error),
        };
        match asked {
            Err(error) if policy == PullPolicy::Default && error.is_unreachable() => {
                tracing::warn!(%reference, error = &error as &dyn std::error::Error, "the image that is there serves");
                Ok(there)
            }
            asked => asked,
        }
    }

    async fn pull(&self, session: &Session<'_>, progress: &dyn Progress) -> Result<Image, PullError> {
        let reference = session.reference();
        let directory = &self.catalog.0;
        let pulled = Pull { session, directory, limits: self.limits, turns: &self.turns, progress }.run().await?;
        let (catalog, name) = (self.catalog.clone(), reference.clone());
        let naming = blocking(move || {
            let record = ImageRecord::new(&catalog.0, pulled.digest, pulled.config, pulled.diff_ids)?;
            let (_, moved) = catalog.name(&name, &record, Source::Pulled, Some(pulled.remote))?;
            // Its name keeps the layers from now on.
            drop(pulled.claim);
            Ok::<_, ContentError>((record, moved))
        });
        let (record, moved) = naming.await.map_err(|error| PullError::content(reference, error))?;
        if moved {
            self.collect_meanwhile();
        }
        Ok(self.image(&reference.to_string(), &record))
    }

    /// Frees what the name stood for before, unless a task has it. Nobody waits for that.
    fn collect_meanwhile(&self) {
        let catalog = self.catalog.clone();
        tokio::task::spawn_blocking(move || match catalog.collect() {
            Ok(freed_bytes) => tracing::debug!(freed_bytes, "images that nothing needs any more are gone"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "images that nothing needs any more stay");
            }
        });
    }

    /// The image of that name or digest, if it is there.
    pub fn find(&self, reference: &str) -> Option<ImageSummary> {
        let found = match reference.parse::<Digest>() {
            Ok(digest) => self.catalog.by_digest(&digest),
            Err(_) => self.catalog.by_reference(&reference.parse().ok()?),
        };
        let (name, record) = found.ok()??;
        Some(summary(&name, &record))
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<ImageSummary>, OpenError> {
        let mut summaries = Vec::new();
        for name in self.catalog.names()? {
            if let Some(record) = self.catalog.image(&name.digest)? {
                summaries.push(summary(&name, &record));
            }
        }
        summaries.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(summaries)
    }

    /// Removes a name, given as such or by its image's digest, and what nothing else needs.
    pub async fn remove(&self, reference: &str) -> Result<Removed, RemoveError> {
        let (catalog, reference) = (self.catalog.clone(), reference.to_owned());
        let freed_bytes = blocking(move || catalog.remove(&reference)).await?;
        Ok(Removed { freed_bytes })
    }

    /// Keeps the image's layers for `holder`, whatever becomes of its name; a holder may have several images. It
    /// survives this process, but perhaps not the machine: nor do the containers that it is for.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<(), LeaseError> {
        self.catalog.lease(image, holder)
    }

    /// Ends what `holder` has leased. Nothing is fine. An image that has no name any more goes with the next removal, or
    /// when a pull finds a tag moved.
    pub fn release(&self, holder: &str) -> Result<(), LeaseError> {
        self.catalog.release(holder)
    }

    fn image(&self, reference: &str, record: &ImageRecord) -> Image {
        Image {
            reference: reference.to_owned(),
            digest: record.digest.to_string(),
            config: record.config.clone(),
            layers: record.diff_ids.iter().rev().map(|digest| self.catalog.0.layer(digest)).collect(),
        }
    }
}

fn summary(name: &NameRecord, record: &ImageRecord) -> ImageSummary {
    ImageSummary {
        reference: name.familiar.clone(),
        digest: record.digest.to_string(),
        size_bytes: record.size_bytes,
        created_at_ms: name.created_at_ms,
        source: name.source,
    }
}
