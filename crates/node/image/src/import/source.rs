//! What is imported from, and the files inside it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Importer;
use crate::config::DOCUMENT_BYTES_MAX;
use crate::digest::{Digest, HashingReader};
use crate::directory::{Directory, Temporary};
use crate::error::{ContentError, FileError, ImportError};
use crate::layers;
use crate::unpack::{Root, UnpackError};

/// The files of an archive, or of a layout's directory. Links in them stay inside.
pub(super) struct Source {
    root: Root,
    path: PathBuf,
}

/// An archive, unpacked where its files can be read in any order.
pub(super) struct Unpacked {
    pub source: Source,
    /// Of the archive without its compression.
    pub digest: Digest,
    temporary: Temporary,
}

/// Where in its temporary directory an archive is unpacked.
const UNPACKED: &str = "unpacked";

impl Unpacked {
    /// What kind of archive it is only shows behind this: each is unpacked alike.
    pub fn of(importer: &Importer) -> Result<Self, ImportError> {
        let path = importer.file.clone();
        let file = File::open(&path).map_err(|source| ImportError::Read { path: path.clone(), source })?;
        let temporary = importer.catalog.0.temporary()?;
        let into = temporary.root(UNPACKED)?;
        let unpacked = layers::unpack_hashing(file, &into, importer.limits);
        let root = Root::open(&into).map_err(|source| ImportError::Unpack { path: path.clone(), source })?;
        let source = Source { root, path: path.clone() };
        // Not even a first entry: it is no archive.
        let empty = fs::read_dir(&into).map_err(FileError::new("list", &into))?.next().is_none();
        match unpacked {
            Ok(_) | Err(UnpackError::Archive { .. }) if empty => Err(ImportError::Format { path }),
            Ok(digest) => Ok(Self { source, digest, temporary }),
            Err(source) => Err(ImportError::Unpack { path, source }),
        }
    }

    /// Lets what was unpacked be a layer.
    pub fn publish_as_layer(&self, directory: &Directory) -> Result<(), FileError> {
        self.temporary.publish(UNPACKED, &directory.layer(&self.digest))
    }
}

impl Source {
    /// A layout that is a directory.
    pub fn of_directory(path: &Path) -> Result<Self, ImportError> {
        let root = Root::open(path).map_err(|source| ImportError::Unpack { path: path.to_owned(), source })?;
        let source = Self { root, path: path.to_owned() };
        if source.has("oci-layout") { Ok(source) } else { Err(ImportError::Format { path: path.to_owned() }) }
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.read(name).is_ok()
    }

    /// Opens a file.
    pub fn read(&self, name: &str) -> Result<File, ImportError> {
        self.root.read(Path::new(OsStr::from_bytes(name.as_bytes()))).map_err(|error| match error {
            UnpackError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ImportError::Lacks { path: self.path.clone(), file: name.to_owned() }
            }
            source => ImportError::Unpack { path: self.path.clone(), source },
        })
    }

    /// A whole small file.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let mut bytes = Vec::new();
        let read = self.read(name)?.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|source| ImportError::Read { path: self.path.join(name), source })?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            let max = format!("{DOCUMENT_BYTES_MAX} bytes");
            return Err(ContentError::TooLarge { what: name.to_owned(), max }.into());
        }
        Ok(bytes)
    }

    /// A JSON document.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ImportError> {
        let malformed = |source| ContentError::Malformed { what: name.to_owned(), source };
        Ok(serde_json::from_slice(&self.bytes(name)?).map_err(malformed)?)
    }

    /// A JSON document of an OCI layout, by its digest, which is checked.
    pub fn blob_json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, ImportError> {
        let name = blob_path(digest);
        let bytes = self.bytes(&name)?;
        check(&name, digest, &Digest::of(&bytes))?;
        let malformed = |source| ContentError::Malformed { what: name.clone(), source };
        Ok(serde_json::from_slice(&bytes).map_err(malformed)?)
    }

    /// Checks the digest of a large blob.
    pub fn check_blob(&self, digest: &Digest) -> Result<(), ImportError> {
        let name = blob_path(digest);
        let found = HashingReader::new(self.read(&name)?).finish(u64::MAX - 1);
        let found = found.map_err(|source| ImportError::Read { path: self.path.join(&name), source })?;
        found.map_or(Ok(()), |found| check(&name, digest, &found))
    }
}

/// Where an OCI layout has a blob.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn check(name: &str, expected: &Digest, found: &Digest) -> Result<(), ImportError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(ContentError::Digest { what: name.to_owned(), expected, found }.into())
}
