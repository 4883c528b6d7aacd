//! The images of a node, as the agent and the command line use them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::catalog::{Catalog, ImageRecord, NameRecord, Provenance};
use crate::clean_up::{self, CleanUpPolicy, CleanedUp, Disk, Kernel};
use crate::digest::Digest;
use crate::directory::{Directory, blocking};
use crate::error::{CleanUpError, ContentError, ImportError, LeaseError, OpenError, PullError, RemoveError};
use crate::image::{Image, ImageSummary, PullPolicy, Removed, Source};
use crate::import;
use crate::keyed::Keyed;
use crate::limits::Limits;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Credentials, Pull, Registry, Session};
use crate::usage::Usage;

/// The images of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    catalog: Catalog,
    limits: Limits,
    registry: Arc<Registry>,
    turns: Arc<Keyed>,
    disk: Arc<dyn Disk>,
}

impl Images {
    /// Opens the directory, made where it is not there, and sweeps what a crash has left. Blocks shortly.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let catalog = Catalog(Directory::open(dir)?);
        Ok(Self {
            catalog,
            limits: Limits::default(),
            registry: Arc::default(),
            turns: Arc::default(),
            disk: Arc::new(Kernel),
        })
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

    /// Other bounds for what an image may cost.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Another who knows how much space there is.
    #[cfg(test)]
    pub(crate) fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
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

    /// The image of that name, pulled if the policy wants it. It counts as used now: a clean-up leaves it for a minute, in
    /// which it is to be leased.
    ///
    /// `credentials` are for the image's registry and this call alone, instead of those that are known for the registry.
    /// Two tasks that bring different ones for one image are asked for both, unless the policy lets what is there serve.
    pub async fn ensure(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: Option<&Credentials>,
        progress: &dyn Progress,
    ) -> Result<Image, PullError> {
        let reference: Reference = reference.parse()?;
        let _turn = self.turns.turn(&reference.to_string()).await;
        let known = self.catalog.by_reference(&reference);
        let known = known.map_err(|error| PullError::content(&reference, error.into()))?;
        let session = Session::new(&self.registry, &reference, credentials, self.limits);
        let pull = self.pull(&session, credentials.is_some(), progress);
        let Some((name, record)) = known else { return pull.await };
        let current = if is_asked(policy, &reference, &name, credentials) {
            session.is_current(reference.digest.as_ref().or(name.remote.as_ref())).await
        } else {
            Ok(true)
        };
        let asked = match current {
            Ok(true) => match self.there(&reference, &name, &record)? {
                Some(image) => return Ok(image),
                // It was removed in the meantime.
                None => pull.await,
            },
            Ok(false) => pull.await,
            Err(error) => Err(error),
        };
        match asked {
            Err(error) if policy == PullPolicy::Default && error.is_unreachable() => {
                let Some(there) = self.there(&reference, &name, &record)? else { return Err(error) };
                tracing::warn!(%reference, error = &error as &dyn std::error::Error, "the image that is there serves");
                Ok(there)
            }
            asked => asked,
        }
    }

    /// The image that was found, if it still is there; it counts as used now.
    fn there(
        &self,
        reference: &Reference,
        name: &NameRecord,
        record: &ImageRecord,
    ) -> Result<Option<Image>, PullError> {
        let there = self.catalog.use_now(record).map_err(|error| PullError::content(reference, error.into()))?;
        Ok(there.then(|| self.image(&name.reference, record)))
    }

    async fn pull(&self, session: &Session<'_>, private: bool, progress: &dyn Progress) -> Result<Image, PullError> {
        let reference = session.reference();
        let pulled = Pull { session, directory: &self.catalog.0, turns: &self.turns, progress }.run().await?;
        let (catalog, name) = (self.catalog.clone(), reference.clone());
        let naming = blocking(move || {
            let record = ImageRecord::new(&catalog.0, pulled.digest, pulled.config, pulled.diff_ids)?;
            let (_, moved) = catalog.name(&name, &record, &Provenance::pulled(pulled.remote, private))?;
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
        for name in self.catalog.whole_names()? {
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

    /// Removes pulled images that nobody has leased: those that nobody has used for the policy's age at `now`, or, with too
    /// little space, whichever was unused the longest. One that was imported stays, for no registry has it; so does one
    /// that was used in the last minute, for it is about to be leased. Safe beside everything else, in whichever process.
    pub async fn clean_up(&self, policy: &CleanUpPolicy, now: SystemTime) -> Result<CleanedUp, CleanUpError> {
        let (catalog, disk, policy) = (self.catalog.clone(), Arc::clone(&self.disk), policy.clone());
        blocking(move || clean_up::clean_up(&catalog, &*disk, &policy, now)).await
    }

    /// What all images take on the disk. Reads their records alone, not their files.
    pub async fn usage(&self) -> Result<Usage, OpenError> {
        let catalog = self.catalog.clone();
        Ok(blocking(move || Usage::of(&catalog)).await?)
    }

    /// Keeps the image's layers for `holder`, whatever becomes of its name; a holder may have several images. It
    /// survives this process, but perhaps not the machine: nor do the containers that it is for.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<(), LeaseError> {
        self.catalog.lease(image, holder)
    }

    /// Ends what `holder` has leased, which was used until now. Nothing is fine. An image that has no name any more goes
    /// with the next removal or clean-up, or when a pull finds a tag moved.
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

/// Whether the registry is asked before what is there serves.
fn is_asked(policy: PullPolicy, reference: &Reference, name: &NameRecord, credentials: Option<&Credentials>) -> bool {
    let may_have_moved = reference.digest.is_none();
    let may_be_refused = credentials.is_some() || name.private;
    name.source == Source::Pulled
        && matches!(policy, PullPolicy::Default | PullPolicy::Always)
        && (may_have_moved || may_be_refused)
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
