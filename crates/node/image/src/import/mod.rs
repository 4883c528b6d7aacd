//! Images from files.

mod docker_archive;
mod oci_layout;
mod source;

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::directory::Directory;
use crate::error::{ContentError, FileError, ImportError};
use crate::images::ImageRecord;
use crate::layers;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::unpack::Limits;

pub(crate) use oci_layout::check_layers;
use source::{Kind, Source};

/// Of the layer with this digest so many bytes of so many are done.
type Step = (String, u64, u64);

/// Takes the images that `file` holds: their names and what is kept of them.
pub(crate) async fn import(
    directory: &Directory,
    limits: Limits,
    file: &Path,
    name: Option<Reference>,
    progress: &dyn Progress,
) -> Result<Vec<(Reference, ImageRecord)>, ImportError> {
    let (steps, mut told) = mpsc::unbounded_channel::<Step>();
    let importer = Importer { directory: directory.clone(), limits, file: file.to_owned(), name, steps };
    let work = tokio::task::spawn_blocking(move || importer.run());
    while let Some((digest, done, total)) = told.recv().await {
        progress.layer(&digest, done, total);
    }
    work.await.unwrap_or_else(|error| {
        let gone = std::io::Error::other(error.to_string());
        Err(ContentError::from(FileError::new("import", file)(gone)).into())
    })
}

/// One import, at work on a thread that may block.
struct Importer {
    directory: Directory,
    limits: Limits,
    file: PathBuf,
    name: Option<Reference>,
    steps: mpsc::UnboundedSender<Step>,
}

impl Importer {
    fn run(&self) -> Result<Vec<(Reference, ImageRecord)>, ImportError> {
        match source::kind_of(&self.file)? {
            Kind::RootFs => self.root_fs().map(|image| vec![image]),
            Kind::OciLayout => oci_layout::import(self, &Source::open(self)?),
            Kind::DockerArchive => docker_archive::import(self, &Source::open(self)?),
        }
    }

    /// One layer, and nothing known of what it is to run.
    fn root_fs(&self) -> Result<(Reference, ImageRecord), ImportError> {
        let name = self.name.clone().ok_or_else(|| ImportError::NeedsName { path: self.file.clone() })?;
        let archive = source::open(&self.file)?;
        let diff_id = layers::install_unnamed(&self.directory, archive, self.limits)?;
        let digest = Digest::of(diff_id.to_string().as_bytes());
        let record = ImageRecord::new(&self.directory, digest, ImageConfig::default(), vec![diff_id]);
        Ok((name, record.map_err(ContentError::from)?))
    }

    /// Unpacks a layer out of the source.
    fn layer(&self, source: &Source, diff_id: &Digest, file: &str) -> Result<(), ImportError> {
        let blob = source.read(file)?;
        let total = blob.metadata().map_or(0, |found| found.len());
        // Nobody listens any more when the import was given up; it goes on to its end.
        let _ = self.steps.send((diff_id.to_string(), 0, total));
        layers::install(&self.directory, diff_id, blob, self.limits)?;
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
}
