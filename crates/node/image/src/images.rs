//! The images of a node: names, what they stand for, and who uses it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::directory::{self, Directory, file_names, read_json, remove_file, write_json, write_json_until_reboot};
use crate::error::{ContentError, FileError, ImportError, LeaseError, OpenError, PullError, RemoveError};
use crate::keyed::Keyed;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Credentials, Registry};
use crate::unpack::Limits;
use crate::{import, layers, registry};

/// The images of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    directory: Directory,
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

/// What a name stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NameRecord {
    reference: String,
    familiar: String,
    digest: Digest,
    created_at_ms: i64,
    source: Source,
}

/// An image's configuration and layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Of the manifest.
    pub digest: Digest,
    /// What it says of containers.
    pub config: ImageConfig,
    /// The lowest first.
    pub diff_ids: Vec<Digest>,
    /// What the layers take on the disk.
    pub size_bytes: u64,
}

impl Images {
    /// Opens the directory, made where it is not there, and sweeps what a crash has left. Blocks shortly.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let directory = Directory::open(dir)?;
        Ok(Self { directory, limits: Limits::default(), registry: Arc::default(), turns: Arc::default() })
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
        let _together = self.directory.lock_shared().map_err(ContentError::from)?;
        let imported = import::import(&self.directory, self.limits, file, name, progress).await?;
        let mut summaries = Vec::new();
        for (reference, record) in imported {
            let named = self.name(&reference, &record, Source::Imported).map_err(ContentError::from)?;
            summaries.push(summary(&named, &record));
        }
        Ok(summaries)
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
        let content = |error: FileError| content_error(&reference, error.into());
        let known = self.record_of(&reference).map_err(content)?;
        let Some((name, record)) = known else { return self.pull(&reference, progress).await };
        let settled = name.source == Source::Imported
            || reference.digest.is_some()
            || matches!(policy, PullPolicy::Once | PullPolicy::PreferCached);
        if settled {
            return Ok(self.image(&name.reference, &record));
        }
        match registry::newest_digest(&self.registry, &reference).await {
            Ok(digest) if digest == Some(record.digest.clone()) => Ok(self.image(&name.reference, &record)),
            Ok(_) => self.pull(&reference, progress).await,
            Err(error) if policy == PullPolicy::Default && error.is_unreachable() => {
                tracing::warn!(%reference, %error, "the image that is there serves");
                Ok(self.image(&name.reference, &record))
            }
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, reference: &Reference, progress: &dyn Progress) -> Result<Image, PullError> {
        // Nothing is removed while layers wait for their image to be named.
        let together = self.directory.lock_shared();
        let _together = together.map_err(|error| content_error(reference, error.into()))?;
        let record =
            registry::pull(&self.registry, &self.directory, self.limits, &self.turns, reference, progress).await?;
        let named = self.name(reference, &record, Source::Pulled);
        named.map_err(|error| content_error(reference, error.into()))?;
        Ok(self.image(&reference.to_string(), &record))
    }

    /// The image of that name or digest, if it is there.
    pub fn find(&self, reference: &str) -> Option<ImageSummary> {
        let (name, record) = self.record_of(&reference.parse().ok()?).ok()??;
        Some(summary(&name, &record))
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<ImageSummary>, OpenError> {
        let mut summaries = Vec::new();
        for name in self.names()? {
            if let Some(record) = self.image_record(&name.digest)? {
                summaries.push(summary(&name, &record));
            }
        }
        summaries.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(summaries)
    }

    /// Removes a name, given as such or by its image's digest, and what nothing else needs.
    pub async fn remove(&self, reference: &str) -> Result<Removed, RemoveError> {
        let this = self.clone();
        let reference = reference.to_owned();
        let removed = tokio::task::spawn_blocking(move || this.remove_now(&reference));
        removed.await.unwrap_or_else(|error| {
            let gone = std::io::Error::other(error.to_string());
            Err(FileError::new("work on", Path::new("images"))(gone).into())
        })
    }

    fn remove_now(&self, text: &str) -> Result<Removed, RemoveError> {
        let _alone = self.directory.lock_exclusive()?;
        let names = self.names()?;
        let matching: Vec<&NameRecord> = if let Ok(digest) = text.parse::<Digest>() {
            names.iter().filter(|name| name.digest == digest).collect()
        } else {
            let reference = text.parse::<Reference>()?.to_string();
            names.iter().filter(|name| name.reference == reference).collect()
        };
        let Some(digest) = matching.first().map(|name| name.digest.clone()) else {
            return Err(RemoveError::NotFound(text.to_owned()));
        };
        let holders = self.holders(&digest)?;
        let last = names.iter().filter(|name| name.digest == digest).count() == matching.len();
        if last && !holders.is_empty() {
            return Err(RemoveError::InUse { reference: text.to_owned(), holders });
        }
        for name in matching {
            remove_file(&self.name_file(&name.reference))?;
        }
        Ok(Removed { freed_bytes: self.collect()? })
    }

    /// Keeps the image's layers for `holder`, whatever becomes of its name; a holder may have several images. It
    /// survives this process, but perhaps not the machine: nor do the containers that it is for.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<(), LeaseError> {
        let file = self.lease_file(holder)?;
        let _together = self.directory.lock_shared()?;
        if !image.layers.iter().all(|layer| layer.exists()) {
            return Err(LeaseError::Gone(image.reference.clone()));
        }
        let mut digests: BTreeSet<String> = read_json(&file)?.unwrap_or_default();
        if digests.insert(image.digest.clone()) {
            write_json_until_reboot(&file, &digests)?;
        }
        Ok(())
    }

    /// Ends what `holder` has leased. Nothing is fine.
    pub fn release(&self, holder: &str) -> Result<(), LeaseError> {
        remove_file(&self.lease_file(holder)?)?;
        Ok(())
    }

    fn lease_file(&self, holder: &str) -> Result<PathBuf, LeaseError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if holder.is_empty() || holder.len() > 128 || !holder.bytes().all(legal) {
            return Err(LeaseError::Holder(holder.to_owned()));
        }
        Ok(self.directory.leases().join(holder))
    }

    /// Who uses an image.
    fn holders(&self, digest: &Digest) -> Result<Vec<String>, FileError> {
        let dir = self.directory.leases();
        let mut holders = Vec::new();
        for holder in file_names(&dir)? {
            let leased: BTreeSet<String> = read_json(&dir.join(&holder))?.unwrap_or_default();
            if leased.contains(&digest.to_string()) {
                holders.push(holder);
            }
        }
        Ok(holders)
    }

    /// Removes images that have neither name nor holder, and layers that no image has. Gives the bytes that it freed.
    fn collect(&self) -> Result<u64, FileError> {
        let named: BTreeSet<Digest> = self.names()?.into_iter().map(|name| name.digest).collect();
        let mut needed = BTreeSet::new();
        for file in file_names(&self.directory.images())? {
            let path = self.directory.images().join(file);
            let Some(record) = read_json::<ImageRecord>(&path)? else { continue };
            if named.contains(&record.digest) || !self.holders(&record.digest)?.is_empty() {
                needed.extend(record.diff_ids.iter().map(|digest| digest.hex().to_owned()));
            } else {
                remove_file(&path)?;
            }
        }
        let mut freed = 0;
        for layer in file_names(&self.directory.layers())? {
            if !needed.contains(&layer) {
                let path = self.directory.layers().join(layer);
                freed += layers::disk_bytes(&path)?;
                directory::remove_all(&path)?;
            }
        }
        Ok(freed)
    }

    /// Lets a name stand for an image whose layers are there.
    fn name(&self, reference: &Reference, record: &ImageRecord, source: Source) -> Result<NameRecord, FileError> {
        let _together = self.directory.lock_shared()?;
        write_json(&self.image_file(&record.digest), record)?;
        let name = NameRecord {
            reference: reference.to_string(),
            familiar: reference.familiar(),
            digest: record.digest.clone(),
            created_at_ms: now_ms(),
            source,
        };
        write_json(&self.name_file(&name.reference), &name)?;
        Ok(name)
    }

    /// What a reference stands for: by its name, or by a digest of which the name does not matter.
    fn record_of(&self, reference: &Reference) -> Result<Option<(NameRecord, ImageRecord)>, FileError> {
        let name = match read_json::<NameRecord>(&self.name_file(&reference.to_string()))? {
            Some(name) => Some(name),
            None => match &reference.digest {
                Some(digest) => self.names()?.into_iter().find(|name| name.digest == *digest),
                None => None,
            },
        };
        let Some(name) = name else { return Ok(None) };
        let record = self.image_record(&name.digest)?;
        // Layers go only with the last name; that one is missing means that somebody else has removed it.
        let whole = |record: &ImageRecord| record.diff_ids.iter().all(|digest| self.directory.layer(digest).exists());
        Ok(record.filter(whole).map(|record| (name, record)))
    }

    fn image_record(&self, digest: &Digest) -> Result<Option<ImageRecord>, FileError> {
        read_json(&self.image_file(digest))
    }

    fn names(&self) -> Result<Vec<NameRecord>, FileError> {
        let dir = self.directory.names();
        let mut names = Vec::new();
        for file in file_names(&dir)? {
            names.extend(read_json::<NameRecord>(&dir.join(file))?);
        }
        Ok(names)
    }

    fn image(&self, reference: &str, record: &ImageRecord) -> Image {
        Image {
            reference: reference.to_owned(),
            digest: record.digest.to_string(),
            config: record.config.clone(),
            layers: record.diff_ids.iter().rev().map(|digest| self.directory.layer(digest)).collect(),
        }
    }

    fn image_file(&self, digest: &Digest) -> PathBuf {
        self.directory.images().join(format!("{}.json", digest.hex()))
    }

    fn name_file(&self, reference: &str) -> PathBuf {
        self.directory.names().join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }
}

impl ImageRecord {
    /// An image whose layers are there.
    pub fn new(
        directory: &Directory,
        digest: Digest,
        config: ImageConfig,
        diff_ids: Vec<Digest>,
    ) -> Result<Self, FileError> {
        let distinct: BTreeSet<&Digest> = diff_ids.iter().collect();
        let sizes = distinct.into_iter().map(|digest| layers::disk_bytes(&directory.layer(digest)));
        let size_bytes = sizes.sum::<Result<u64, _>>()?;
        Ok(Self { digest, config, diff_ids, size_bytes })
    }
}

/// A fault of the content, as a pull tells it.
pub(crate) fn content_error(reference: &Reference, source: ContentError) -> PullError {
    let reference = reference.familiar();
    if source.is_no_space() {
        return PullError::NoSpace { reference, source };
    }
    PullError::Content { reference, source }
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

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
