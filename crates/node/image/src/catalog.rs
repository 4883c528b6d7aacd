//! The records of a node's images: which name stands for which image, what an image consists of, and who uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::directory::{
    Directory, Temporary, file_names, modified, read_json, read_json_if_whole, remove_file, touch, write_json,
    write_json_until_reboot,
};
use crate::error::{FileError, LeaseError, RemoveError};
use crate::image::{Image, Source};
use crate::layers;
use crate::reference::Reference;

const HOLDER_CHARS_MAX: usize = 128;

/// What a name stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// Everything spelled out.
    pub reference: String,
    /// As people write it.
    pub familiar: String,
    /// Of the image's manifest.
    pub digest: Digest,
    /// What the registry called it: the index's digest where there is one. `None` for what was imported.
    #[serde(default)]
    pub remote: Option<Digest>,
    pub created_at_ms: i64,
    pub source: Source,
    /// Pulled with credentials that were somebody's own: to others the registry may refuse it.
    #[serde(default)]
    pub private: bool,
}

/// Where what a name stands for comes from.
#[derive(Debug, Clone)]
pub(crate) struct Provenance {
    pub source: Source,
    /// See [`NameRecord::remote`].
    pub remote: Option<Digest>,
    /// See [`NameRecord::private`].
    pub private: bool,
}

impl Provenance {
    /// A file.
    pub fn imported() -> Self {
        Self { source: Source::Imported, remote: None, private: false }
    }

    /// A registry.
    pub fn pulled(remote: Digest, private: bool) -> Self {
        Self { source: Source::Pulled, remote: Some(remote), private }
    }
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
    /// What each of them takes.
    #[serde(default)]
    pub layer_bytes: BTreeMap<Digest, u64>,
}

impl ImageRecord {
    /// An image whose layers are there. Blocks.
    pub fn new(
        directory: &Directory,
        digest: Digest,
        config: ImageConfig,
        diff_ids: Vec<Digest>,
    ) -> Result<Self, FileError> {
        let distinct: BTreeSet<&Digest> = diff_ids.iter().collect();
        let measured = |id: &Digest| Ok((id.clone(), layers::disk_bytes(&directory.layer(id))?));
        let layer_bytes = distinct.into_iter().map(measured).collect::<Result<BTreeMap<_, _>, _>>()?;
        let size_bytes = layer_bytes.values().sum();
        Ok(Self { digest, config, diff_ids, size_bytes, layer_bytes })
    }
}

/// The records.
#[derive(Debug, Clone)]
pub(crate) struct Catalog(pub Directory);

impl Catalog {
    /// Lets a name stand for an image whose layers are claimed, and which is used now. Gives what it stands for now, and
    /// whether that takes the name from another image. Blocks.
    pub fn name(
        &self,
        reference: &Reference,
        record: &ImageRecord,
        provenance: &Provenance,
    ) -> Result<(NameRecord, bool), FileError> {
        let _together = self.0.lock_shared()?;
        write_json(&self.image_file(&record.digest), record)?;
        let name = NameRecord {
            reference: reference.to_string(),
            familiar: reference.familiar(),
            digest: record.digest.clone(),
            remote: provenance.remote.clone(),
            created_at_ms: now_ms(),
            source: provenance.source,
            private: provenance.private,
        };
        let file = self.name_file(&name.reference);
        let before = read_json_if_whole::<NameRecord>(&file)?;
        write_json(&file, &name)?;
        Ok((name, before.is_some_and(|before| before.digest != record.digest)))
    }

    /// What a reference stands for: by its name, or by a digest of which the name does not matter. What was private under
    /// another name is not found so: any registry, or one that is not there, could be named to come by it.
    pub fn by_reference(&self, reference: &Reference) -> Result<Option<(NameRecord, ImageRecord)>, FileError> {
        let name = read_json_if_whole::<NameRecord>(&self.name_file(&reference.to_string()))?;
        match (name, &reference.digest) {
            (Some(name), _) => self.with_image(name),
            (None, Some(digest)) => self.by_name_that(|name| name.digest == *digest && !name.private),
            (None, None) => Ok(None),
        }
    }

    /// An image by its manifest's digest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<(NameRecord, ImageRecord)>, FileError> {
        self.by_name_that(|name| name.digest == *digest)
    }

    fn by_name_that(
        &self,
        is_it: impl FnMut(&NameRecord) -> bool,
    ) -> Result<Option<(NameRecord, ImageRecord)>, FileError> {
        let name = self.whole_names()?.into_iter().find(is_it);
        name.map_or(Ok(None), |name| self.with_image(name))
    }

    fn with_image(&self, name: NameRecord) -> Result<Option<(NameRecord, ImageRecord)>, FileError> {
        Ok(self.image(&name.digest)?.filter(|record| self.is_whole(record)).map(|record| (name, record)))
    }

    /// With a layer missing it is as good as gone: somebody has removed it, or the disk has lost it.
    fn is_whole(&self, record: &ImageRecord) -> bool {
        record.diff_ids.iter().all(|digest| self.0.layer(digest).exists())
    }

    /// Uses an image that was found. Whether it is still there: if so, a clean-up leaves it for now. Blocks shortly.
    pub fn use_now(&self, record: &ImageRecord) -> Result<bool, FileError> {
        let _together = self.0.lock_shared()?;
        Ok(self.is_whole(record) && touch(&self.image_file(&record.digest))?)
    }

    /// When an image was last used; `None` if it is not there.
    pub fn used_at(&self, digest: &Digest) -> Result<Option<SystemTime>, FileError> {
        modified(&self.image_file(digest))
    }

    /// All names whose records can be read.
    pub fn whole_names(&self) -> Result<Vec<NameRecord>, FileError> {
        let dir = self.0.names();
        let mut names = Vec::new();
        for file in file_names(&dir)? {
            names.extend(read_json_if_whole::<NameRecord>(&dir.join(file))?);
        }
        Ok(names)
    }

    /// All names. Fails on a broken record: what it stands for must not be taken for unwanted.
    pub fn names(&self) -> Result<Vec<NameRecord>, FileError> {
        let dir = self.0.names();
        let mut names = Vec::new();
        for file in file_names(&dir)? {
            names.extend(read_json::<NameRecord>(&dir.join(file))?);
        }
        Ok(names)
    }

    /// An image by its manifest's digest, named or not.
    pub fn image(&self, digest: &Digest) -> Result<Option<ImageRecord>, FileError> {
        read_json_if_whole(&self.image_file(digest))
    }

    /// All images, named or not. Fails on a broken record: nobody knows which layers it needs.
    pub fn images(&self) -> Result<Vec<ImageRecord>, FileError> {
        let dir = self.0.images();
        let mut images = Vec::new();
        for file in file_names(&dir)? {
            images.extend(read_json::<ImageRecord>(&dir.join(file))?);
        }
        Ok(images)
    }

    /// Takes a name, or all names of a digest, away, and what nothing else needs. Gives the bytes that it freed. Blocks.
    pub fn remove(&self, text: &str) -> Result<u64, RemoveError> {
        let trash = {
            let _alone = self.0.lock_exclusive()?;
            self.unname(text)?;
            self.discard()?
        };
        Ok(emptied(trash)?)
    }

    /// Frees what neither name, lease nor claim needs, and tells how many bytes that were. Blocks.
    pub fn collect(&self) -> Result<u64, FileError> {
        let trash = {
            let _alone = self.0.lock_exclusive()?;
            self.discard()?
        };
        emptied(trash)
    }

    fn unname(&self, text: &str) -> Result<(), RemoveError> {
        let names = self.whole_names()?;
        let matching: Vec<&NameRecord> = if let Ok(digest) = text.parse::<Digest>() {
            names.iter().filter(|name| name.digest == digest).collect()
        } else {
            let reference = text.parse::<Reference>()?.to_string();
            names.iter().filter(|name| name.reference == reference).collect()
        };
        let Some(digest) = matching.first().map(|name| &name.digest) else {
            return Err(RemoveError::NotFound(text.to_owned()));
        };
        if names.iter().filter(|name| name.digest == *digest).count() == matching.len() {
            let leases = self.leases()?.into_iter();
            let holders: Vec<String> =
                leases.filter(|(_, leased)| leased.contains(digest)).map(|(holder, _)| holder).collect();
            if !holders.is_empty() {
                return Err(RemoveError::InUse { reference: text.to_owned(), holders });
            }
        }
        for name in matching {
            remove_file(&self.name_file(&name.reference))?;
        }
        Ok(())
    }

    /// Takes images that have neither name nor holder, and layers that no image has, out of sight: a layer that is there
    /// is whole, also while others are being removed. Under the exclusive lock.
    pub fn discard(&self) -> Result<Temporary, FileError> {
        let mut wanted: BTreeSet<Digest> = self.names()?.into_iter().map(|name| name.digest).collect();
        wanted.extend(self.leases()?.into_values().flatten());
        let mut needed: BTreeSet<String> = self.0.claimed()?.iter().map(|digest| digest.hex().to_owned()).collect();
        for record in self.images()? {
            if wanted.contains(&record.digest) {
                needed.extend(record.diff_ids.iter().map(|digest| digest.hex().to_owned()));
            } else {
                remove_file(&self.image_file(&record.digest))?;
            }
        }
        let trash = self.0.temporary()?;
        for layer in file_names(&self.0.layers())? {
            if !needed.contains(&layer) {
                let path = self.0.layers().join(&layer);
                fs::rename(&path, trash.path().join(layer)).map_err(FileError::new("remove", &path))?;
            }
        }
        Ok(trash)
    }

    /// Keeps an image for a holder, and uses it. It survives this process, but perhaps not the machine.
    pub fn lease(&self, image: &Image, holder: &str) -> Result<(), LeaseError> {
        let file = self.lease_file(holder)?;
        let gone = || LeaseError::Gone(image.reference.clone());
        let digest: Digest = image.digest.parse().map_err(|_| gone())?;
        let _together = self.0.lock_shared()?;
        let whole = self.image(&digest)?.is_some() && image.layers.iter().all(|layer| layer.exists());
        if !whole || !touch(&self.image_file(&digest))? {
            return Err(gone());
        }
        let mut leased: BTreeSet<Digest> = read_json_if_whole(&file)?.unwrap_or_default();
        if leased.insert(digest) {
            write_json_until_reboot(&file, &leased)?;
        }
        Ok(())
    }

    /// Ends a holder's leases: until now it used what it had leased. After a crash they may be there again.
    pub fn release(&self, holder: &str) -> Result<(), LeaseError> {
        let file = self.lease_file(holder)?;
        let used: BTreeSet<Digest> = read_json(&file).ok().flatten().unwrap_or_default();
        for digest in used {
            // Whoever releases is not to be held up: the image only looks older than it is.
            if let Err(error) = touch(&self.image_file(&digest)) {
                tracing::debug!(error = &error as &dyn std::error::Error, "the image's last use is not noted");
            }
        }
        Ok(remove_file(&file)?)
    }

    /// Who has leased what.
    pub fn leases(&self) -> Result<BTreeMap<String, BTreeSet<Digest>>, FileError> {
        let dir = self.0.leases();
        let mut leases = BTreeMap::new();
        for holder in file_names(&dir)? {
            let digests = read_json(&dir.join(&holder))?.unwrap_or_default();
            leases.insert(holder, digests);
        }
        Ok(leases)
    }

    fn lease_file(&self, holder: &str) -> Result<PathBuf, LeaseError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if holder.is_empty() || holder.len() > HOLDER_CHARS_MAX || !holder.bytes().all(legal) {
            return Err(LeaseError::Holder(holder.to_owned()));
        }
        Ok(self.0.leases().join(holder))
    }

    fn image_file(&self, digest: &Digest) -> PathBuf {
        self.0.images().join(format!("{}.json", digest.hex()))
    }

    /// Where a name, everything spelled out, is kept.
    pub fn name_file(&self, reference: &str) -> PathBuf {
        self.0.names().join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }
}

/// Removes what was discarded, and tells how many bytes that were.
pub(crate) fn emptied(trash: Temporary) -> Result<u64, FileError> {
    let freed = layers::disk_bytes(trash.path())?;
    trash.remove()?;
    Ok(freed)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
