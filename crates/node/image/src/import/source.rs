//! What is imported from: the file's form, and the files inside it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Importer;
use crate::config::DOCUMENT_BYTES_MAX;
use crate::digest::{Digest, HashingReader};
use crate::directory::Temporary;
use crate::error::{ContentError, FileError, ImportError};
use crate::unpack::{self, Root, UnpackError, decompressed};

/// The form of a file to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    OciLayout,
    DockerArchive,
    RootFs,
}

/// What the names at the top of an archive tell of it. An OCI layout that Docker wrote is both, and is taken as the
/// former, which has digests.
pub(super) fn kind_of(path: &Path) -> Result<Kind, ImportError> {
    let format = || ImportError::Format { path: path.to_owned() };
    let found = fs::metadata(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    if found.is_dir() {
        return if path.join("oci-layout").is_file() { Ok(Kind::OciLayout) } else { Err(format()) };
    }
    let stream = decompressed(open(path)?).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    let mut archive = tar::Archive::new(stream);
    let (mut entries, mut docker) = (0_u64, false);
    for entry in archive.entries().map_err(|_| format())? {
        let entry = entry.map_err(|_| format())?;
        entries += 1;
        let name = entry.path_bytes();
        match name.strip_prefix(b"./".as_slice()).unwrap_or(&name) {
            b"oci-layout" => return Ok(Kind::OciLayout),
            b"manifest.json" => docker = true,
            _ => {}
        }
    }
    match (entries, docker) {
        (0, _) => Err(format()),
        (_, true) => Ok(Kind::DockerArchive),
        (_, false) => Ok(Kind::RootFs),
    }
}

pub(super) fn open(path: &Path) -> Result<File, ImportError> {
    File::open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })
}

/// The files of an archive, or of a layout's directory. Links in them stay inside.
pub(super) struct Source {
    root: Root,
    path: std::path::PathBuf,
    _unpacked: Option<Temporary>,
}

impl Source {
    /// Unpacks an archive where its files can be read in any order.
    pub fn open(importer: &Importer) -> Result<Self, ImportError> {
        let path = importer.file.clone();
        let unpack_error = |source| ImportError::Unpack { path: path.clone(), source };
        if path.is_dir() {
            return Ok(Self { root: Root::open(&path).map_err(unpack_error)?, path, _unpacked: None });
        }
        let temporary = importer.directory.temporary().map_err(ContentError::from)?;
        let into = temporary.path().join("archive");
        fs::create_dir(&into).map_err(FileError::new("make", &into)).map_err(ContentError::from)?;
        let stream = decompressed(open(&path)?).map_err(|source| ImportError::Read { path: path.clone(), source })?;
        unpack::unpack(stream, &into, importer.limits).map_err(unpack_error)?;
        let root = Root::open(&into).map_err(unpack_error)?;
        Ok(Self { root, path, _unpacked: Some(temporary) })
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
