//! Images from files.

mod docker_archive;
mod oci_layout;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::catalog::{Catalog, ImageRecord, NameRecord, Provenance};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::directory::{Temporary, blocking};
use crate::error::ImportError;
use crate::layers;
use crate::limits::Limits;
use crate::progress::Progress;
use crate::reference::Reference;

pub(crate) use oci_layout::check_layers;
use source::{Source, Unpacked};

/// Of the layer with this digest so many bytes of so many are done.
type Step = (String, u64, u64);

/// Takes the images that `file` holds, and names them.
pub(crate) async fn import(
    catalog: &Catalog,
    limits: Limits,
    file: &Path,
    name: Option<Reference>,
    progress: &dyn Progress,
) -> Result<Vec<(NameRecord, ImageRecord)>, ImportError> {
    let (steps, mut told) = mpsc::unbounded_channel::<Step>();
    let importer = Importer { catalog: catalog.clone(), limits, file: file.to_owned(), name, steps };
    let work = tokio::spawn(blocking(move || importer.run()));
    while let Some((digest, done, total)) = told.recv().await {
        progress.layer(&digest, done, total);
    }
    work.await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error.to_string());
        Err(ImportError::Read { path: file.to_owned(), source })
    })
}

/// An image in the file: its layers are there, and stay while they are claimed.
struct Found {
    references: Vec<Reference>,
    record: ImageRecord,
    claim: Temporary,
}

/// One import, at work on a thread that may block.
struct Importer {
    catalog: Catalog,
    limits: Limits,
    file: PathBuf,
    name: Option<Reference>,
    steps: mpsc::UnboundedSender<Step>,
}

impl Importer {
    fn run(&self) -> Result<Vec<(NameRecord, ImageRecord)>, ImportError> {
        let mut named = Vec::new();
        for image in self.images()? {
            for reference in &image.references {
                let (name, _) = self.catalog.name(reference, &image.record, &Provenance::imported())?;
                named.push((name, image.record.clone()));
            }
            // Its names keep the layers from now on.
            drop(image.claim);
        }
        Ok(named)
    }

    fn images(&self) -> Result<Vec<Found>, ImportError> {
        let found = fs::metadata(&self.file);
        let found = found.map_err(|source| ImportError::Read { path: self.file.clone(), source })?;
        if found.is_dir() {
            let source = Source::of_directory(&self.file)?;
            return oci_layout::import(self, &source);
        }
        let unpacked = Unpacked::of(self)?;
        // What Docker writes today is both, and is taken as the former, which has digests.
        if unpacked.source.has("oci-layout") {
            oci_layout::import(self, &unpacked.source)
        } else if unpacked.source.has("manifest.json") {
            docker_archive::import(self, &unpacked.source)
        } else {
            self.root_fs(&unpacked).map(|image| vec![image])
        }
    }

    /// One layer, and nothing known of what it is to run.
    fn root_fs(&self, unpacked: &Unpacked) -> Result<Found, ImportError> {
        let name = self.name.clone().ok_or_else(|| ImportError::NeedsName { path: self.file.clone() })?;
        let diff_ids = vec![unpacked.digest.clone()];
        let claim = self.catalog.0.claim(&diff_ids)?;
        unpacked.publish_as_layer(&self.catalog.0)?;
        let digest = Digest::of(unpacked.digest.to_string().as_bytes());
        let record = self.record(digest, ImageConfig::default(), diff_ids)?;
        Ok(Found { references: vec![name], record, claim })
    }

    /// Unpacks a layer out of the source. The blob's own digest is checked where one is known.
    fn layer(&self, source: &Source, diff_id: &Digest, file: &str, blob: Option<&Digest>) -> Result<(), ImportError> {
        let opened = source.read(file)?;
        let total = opened.metadata().map_or(0, |found| found.len());
        // Nobody listens any more when the import was given up; it goes on to its end.
        let _ = self.steps.send((diff_id.to_string(), 0, total));
        if let Some(blob) = blob {
            source.check_blob(blob)?;
        }
        layers::install(&self.catalog.0, diff_id, opened, self.limits)?;
        let _ = self.steps.send((diff_id.to_string(), total, total));
        Ok(())
    }

    /// The name given for one of `count` images that call themselves `own`.
    fn name_for(&self, own: Option<&str>, count: usize) -> Result<Reference, ImportError> {
        match (&self.name, own) {
            (Some(name), _) if count == 1 => Ok(name.clone()),
            (Some(name), _) => Err(ImportError::ManyImages { path: self.file.clone(), count, name: name.familiar() }),
            (None, Some(own)) => Ok(own.parse()?),
            (None, None) => Err(ImportError::NeedsName { path: self.file.clone() }),
        }
    }

    fn record(&self, digest: Digest, config: ImageConfig, diff_ids: Vec<Digest>) -> Result<ImageRecord, ImportError> {
        Ok(ImageRecord::new(&self.catalog.0, digest, config, diff_ids)?)
    }
}
