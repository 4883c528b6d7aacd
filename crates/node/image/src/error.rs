//! Why an image cannot be had, kept or removed. Everything a user has to know is in the text with its sources.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::ParseDigestError;
use crate::reference::{ParseReferenceError, Reference};
use crate::unpack::UnpackError;

/// A file of the images' directory could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct FileError {
    /// What was tried.
    pub operation: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// The system's word.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { operation, path, source }
    }

    /// Whether the file was read, and is not what it should be.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
    }
}

/// The images' directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OpenError(#[from] pub(crate) FileError);

/// A clean-up did not come to its end. What it removed until then is gone.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CleanUpError(#[from] pub(crate) FileError);

/// A lease was not written or removed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The name of the holder cannot be a file's.
    #[error("{0:?} cannot be the name of a lease's holder")]
    Holder(String),
    /// The image has been removed in the meantime.
    #[error("image {0} has been removed")]
    Gone(String),
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is no such image.
    #[error("there is no image {0}")]
    NotFound(String),
    /// Tasks use it.
    #[error("image {reference} is in use by {}", holders.join(", "))]
    InUse {
        /// The image.
        reference: String,
        /// Who uses it.
        holders: Vec<String>,
    },
    /// The text is no reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is wrong with an image itself, wherever it comes from.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A document is not what it should be.
    #[error("{what} is malformed")]
    Malformed {
        /// Which document.
        what: String,
        /// What serde found.
        source: serde_json::Error,
    },
    /// A digest in it is none.
    #[error(transparent)]
    DigestForm(#[from] ParseDigestError),
    /// Content does not have the digest that names it.
    #[error("{what}: wrong digest, expected {expected} but found {found}")]
    Digest {
        /// Which content.
        what: String,
        /// What names it.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A blob is not as large as the manifest says.
    #[error("blob {digest} has more or less than the {expected} bytes that the manifest says")]
    Size {
        /// The blob.
        digest: String,
        /// What the manifest says.
        expected: u64,
    },
    /// Something is larger than is taken.
    #[error("{what} is too large: at most {max} are taken")]
    TooLarge {
        /// What.
        what: String,
        /// The bound, with its unit.
        max: String,
    },
    /// Manifest and configuration disagree.
    #[error("the manifest has {manifest} layers, the configuration {config}")]
    LayerCount {
        /// In the manifest.
        manifest: usize,
        /// In the configuration.
        config: usize,
    },
    /// There is nothing for this machine.
    #[error("no matching manifest for linux/{0} in the manifest list entries")]
    Platform(&'static str),
    /// A layer could not be unpacked.
    #[error("layer {digest}")]
    Layer {
        /// Which.
        digest: String,
        /// Why not.
        source: UnpackError,
    },
    /// A file of the images' directory could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ContentError {
    /// The disk is full.
    pub fn is_no_space(&self) -> bool {
        let io = match self {
            Self::File(error) => &error.source,
            Self::Layer { source: UnpackError::Io { source, .. }, .. } => source,
            _ => return false,
        };
        matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// An image was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is of no known form.
    #[error("{} is neither an OCI image layout, nor a docker-archive, nor a tar of a root file system", path.display())]
    Format {
        /// Which.
        path: PathBuf,
    },
    /// Nothing says what the image is called.
    #[error("the image in {} has no name: give it one with --name", path.display())]
    NeedsName {
        /// Which.
        path: PathBuf,
    },
    /// One name for several images.
    #[error("{} has {count} images: they cannot all be called {name}", path.display())]
    ManyImages {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The name.
        name: String,
    },
    /// The archive lacks a file that it speaks of.
    #[error("{} lacks {file}", path.display())]
    Lacks {
        /// The archive.
        path: PathBuf,
        /// What it lacks.
        file: String,
    },
    /// The archive itself could not be unpacked.
    #[error("cannot unpack {}", path.display())]
    Unpack {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: UnpackError,
    },
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// The image is not sound, or there is no room for it.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl From<FileError> for ImportError {
    fn from(error: FileError) -> Self {
        Self::Content(error.into())
    }
}

/// An image was not pulled. The text with its sources is what a task's stoppedReason says behind
/// `CannotPullContainerError`.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The text is no reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// The registry does not have it.
    #[error("pull image {reference}: not found ({status}): {detail}")]
    NotFound {
        /// The image.
        reference: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry wants other credentials, or does not allow it.
    #[error("pull image {reference}: access denied ({status}): {detail}")]
    Denied {
        /// The image.
        reference: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry answered something else.
    #[error("pull image {reference}: the registry answered {status}: {detail}")]
    Status {
        /// The image.
        reference: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry was not reached, or the connection broke too often.
    #[error("pull image {reference}: cannot reach {host}")]
    Unreachable {
        /// The image.
        reference: String,
        /// The registry, or where it sent us.
        host: String,
        /// What broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry sent us where we do not go.
    #[error("pull image {reference}: the registry redirects to {location:?}, which is not followed: {reason}")]
    Redirect {
        /// The image.
        reference: String,
        /// Where to.
        location: String,
        /// Why not.
        reason: &'static str,
    },
    /// The disk is full.
    #[error("pull image {reference}: no space left on the node's disk")]
    NoSpace {
        /// The image.
        reference: String,
        /// On which file.
        source: ContentError,
    },
    /// The image is not sound.
    #[error("pull image {reference}")]
    Content {
        /// The image.
        reference: String,
        /// What is wrong with it.
        source: ContentError,
    },
}

impl PullError {
    /// A fault of the image, or of the disk it was to go to.
    pub(crate) fn content(reference: &Reference, source: ContentError) -> Self {
        let reference = reference.familiar();
        if source.is_no_space() { Self::NoSpace { reference, source } } else { Self::Content { reference, source } }
    }

    /// The registry could not be asked: what is there already may serve.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
