//! Clean-up: which images go because nobody has needed them for long, or because the disk runs full.
//!
//! Only what a registry has can go: an image that was imported by hand, under any of its names, stays, and so does one
//! that is leased. What is left goes in the order of its last use, which is the modification time of its record: set when
//! the image is pulled, found by [`crate::Images::ensure`], leased or released, under the lock that clean-up holds alone.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::catalog::{Catalog, NameRecord, emptied};
use crate::digest::Digest;
use crate::directory::{Temporary, remove_file};
use crate::error::{CleanUpError, FileError};
use crate::image::Source;

/// Between being found and being leased an image is nobody's. No clean-up takes one that was used so recently.
const BEFORE_LEASE: Duration = Duration::from_secs(60);

/// When images go that nobody uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanUpPolicy {
    /// For how long nobody has used an image before age lets it go: `ECS_IMAGE_MINIMUM_CLEANUP_AGE` of AWS's agent. Less
    /// than a minute is a minute.
    pub minimum_age: Duration,
    /// How many images age lets go in one clean-up: `ECS_NUM_IMAGES_DELETE_PER_CYCLE`.
    pub images_per_cycle: usize,
    /// With less free space than this on the images' file system, neither age nor number counts: images go until there is
    /// enough. `None` never looks.
    pub low_space: Option<FreeSpace>,
}

impl Default for CleanUpPolicy {
    /// What AWS's agent does: an hour, five images, whatever space there is.
    fn default() -> Self {
        Self { minimum_age: Duration::from_secs(60 * 60), images_per_cycle: 5, low_space: None }
    }
}

/// An amount of a file system that is free for others than root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeSpace {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the file system; more than 100 is 100.
    Percent(u8),
}

impl FreeSpace {
    fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total_bytes / 100 * u64::from(percent.min(100)),
        }
    }
}

/// What a clean-up did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CleanedUp {
    /// The names that went, as people write them, those of the least recently used image first.
    pub images: Vec<String>,
    /// What that freed on the disk, with what nothing needed any more before.
    pub freed_bytes: u64,
}

/// A file system's space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    /// For others than root.
    pub available_bytes: u64,
    /// With what is taken.
    pub total_bytes: u64,
}

/// Who knows how much space there is.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Of the file system that `dir` is on.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// The kernel does.
#[derive(Debug)]
pub(crate) struct Kernel;

impl Disk for Kernel {
    #[allow(clippy::useless_conversion, reason = "the counts are 32 bits wide on some machines")]
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = nix::sys::statvfs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size().into());
        Ok(Space { available_bytes: bytes(found.blocks_available().into()), total_bytes: bytes(found.blocks().into()) })
    }
}

/// Removes images by `policy`, one after the other: the lock is never held for long, and after each one it is known whether
/// there is space enough. Blocks.
pub(crate) fn clean_up(
    catalog: &Catalog,
    disk: &dyn Disk,
    policy: &CleanUpPolicy,
    now: SystemTime,
) -> Result<CleanedUp, CleanUpError> {
    let mut done = CleanedUp { images: Vec::new(), freed_bytes: catalog.collect()? };
    let mut shortage = Shortage::of(catalog, disk, policy)?;
    let mut removed = 0;
    loop {
        let age = match &shortage {
            Some(_) => Duration::ZERO,
            None if removed < policy.images_per_cycle => policy.minimum_age,
            None => return Ok(done),
        };
        let Some((names, trash)) = evict(catalog, age.max(BEFORE_LEASE), now)? else { return Ok(done) };
        let freed_bytes = emptied(trash)?;
        removed += 1;
        done.images.extend(names);
        done.freed_bytes += freed_bytes;
        if let Some(before) = shortage {
            shortage = before.after(freed_bytes, Shortage::of(catalog, disk, policy)?);
        }
    }
}

/// How many bytes are missing to what the policy wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shortage(u64);

impl Shortage {
    fn of(catalog: &Catalog, disk: &dyn Disk, policy: &CleanUpPolicy) -> Result<Option<Self>, FileError> {
        let Some(wanted) = policy.low_space else { return Ok(None) };
        let dir = catalog.0.layers();
        let space = disk.space(&dir).map_err(FileError::new("measure the space around", &dir))?;
        Ok(Self::new(wanted.of(space.total_bytes).saturating_sub(space.available_bytes)))
    }

    fn new(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(Self(bytes))
    }

    /// What is left of it. Some file systems count what was freed only later: then our own count tells.
    fn after(self, freed_bytes: u64, measured: Option<Self>) -> Option<Self> {
        let counted = self.0.saturating_sub(freed_bytes);
        measured.and_then(|measured| Self::new(measured.0.min(counted)))
    }
}

/// Takes the image that was unused the longest out of sight, if that is `age`: its names, and what went with them. Blocks.
fn evict(catalog: &Catalog, age: Duration, now: SystemTime) -> Result<Option<(Vec<String>, Temporary)>, FileError> {
    let _alone = catalog.0.lock_exclusive()?;
    let names = catalog.names()?;
    let leased: BTreeSet<Digest> = catalog.leases()?.into_values().flatten().collect();
    let mut uses = Vec::new();
    for digest in removable(&names, &leased) {
        uses.extend(catalog.used_at(digest)?.map(|used_at| (used_at, digest)));
    }
    let Some(chosen) = least_recent(&uses, age, now) else { return Ok(None) };
    let gone: Vec<&NameRecord> = names.iter().filter(|name| name.digest == *chosen).collect();
    for name in &gone {
        remove_file(&catalog.name_file(&name.reference))?;
    }
    let familiar = gone.iter().map(|name| name.familiar.clone()).collect();
    Ok(Some((familiar, catalog.discard()?)))
}

/// The images that have only names that were pulled, and no holder.
fn removable<'a>(names: &'a [NameRecord], leased: &BTreeSet<Digest>) -> BTreeSet<&'a Digest> {
    let of = |source: Source| names.iter().filter(move |name| name.source == source).map(|name| &name.digest);
    let imported: BTreeSet<&Digest> = of(Source::Imported).collect();
    of(Source::Pulled).filter(|digest| !imported.contains(digest) && !leased.contains(*digest)).collect()
}

/// The image that was unused the longest, if that is `age` or more. One of the future was used just now.
fn least_recent<'a>(uses: &[(SystemTime, &'a Digest)], age: Duration, now: SystemTime) -> Option<&'a Digest> {
    let (used_at, digest) = uses.iter().min()?;
    let unused_for = now.duration_since(*used_at).unwrap_or_default();
    (unused_for >= age).then_some(*digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recent_goes_if_it_is_old_enough() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let uses = [(at(200), &one), (at(100), &two)];
        let chosen = |seconds| least_recent(&uses, Duration::from_secs(50), at(seconds));
        assert_eq!(chosen(150), Some(&two));
        assert_eq!(chosen(149), None);
        // The clock was set back.
        assert_eq!(chosen(0), None);
        assert_eq!(least_recent(&[], Duration::ZERO, at(0)), None);
    }

    #[test]
    fn a_threshold_is_bytes_or_hundredths() {
        assert_eq!(FreeSpace::Bytes(7).of(0), 7);
        assert_eq!(FreeSpace::Percent(10).of(5_000), 500);
        assert_eq!(FreeSpace::Percent(255).of(5_000), 5_000);
        assert_eq!(FreeSpace::Percent(100).of(u64::MAX), u64::MAX / 100 * 100);
    }

    #[test]
    fn a_shortage_ends_by_measure_or_by_count() {
        let shortage = Shortage(10);
        assert_eq!(shortage.after(3, Some(Shortage(10))), Some(Shortage(7)));
        assert_eq!(shortage.after(3, Some(Shortage(2))), Some(Shortage(2)));
        assert_eq!(shortage.after(3, None), None);
        assert_eq!(shortage.after(10, Some(Shortage(10))), None);
    }

    #[test]
    fn the_kernel_knows_the_space() {
        let space = Kernel.space(Path::new("/")).unwrap();
        assert!(space.available_bytes <= space.total_bytes && space.total_bytes > 0, "{space:?}");
        assert!(Kernel.space(Path::new("/nonexistent")).is_err());
    }
}
