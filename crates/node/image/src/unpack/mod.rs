//! Unpacks a layer's tar into a directory of its own, as overlayfs takes it for a lower layer.
//!
//! Archives are hostile. Paths are resolved by the kernel inside the root (`openat2`, RESOLVE_IN_ROOT, through pathrs), and
//! what is made is made in an open directory by a name without slashes: nothing outside can be reached, whatever links
//! the archive has made before. Names with `..` are refused all the same, for nobody needs them.

mod entry;
mod root;
mod whiteout;

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tar::Archive;

use crate::limits::Limits;
use entry::Unpacker;
pub(crate) use root::Root;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A name leads out of the root.
    #[error("entry {path:?} leads out of the image's root")]
    Escape {
        /// The entry.
        path: PathBuf,
    },
    /// A link leads out of the root.
    #[error("link {path:?} leads out of the image's root, to {target:?}")]
    LinkEscape {
        /// The entry.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// More than the limits allow.
    #[error("the archive has more than {max}")]
    TooLarge {
        /// The limit, with its unit.
        max: String,
    },
    /// A file of which only the parts that are not empty are there, in a form that PAX has for them.
    #[error("entry {path:?} is a sparse file, which is not taken")]
    Sparse {
        /// The entry.
        path: PathBuf,
    },
    /// The stream is no tar, or is cut short.
    #[error("the archive cannot be read")]
    Archive {
        /// What the reader found.
        source: io::Error,
    },
    /// The file system refused.
    #[error("cannot unpack {path:?}")]
    Io {
        /// The entry.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl UnpackError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What a stream of compressed bytes may be.
pub(crate) fn decompressed<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let magic = io::BufRead::fill_buf(&mut stream)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(stream)));
    }
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::Decoder::with_buffer(stream)?));
    }
    Ok(Box::new(stream))
}

/// Unpacks `stream`, a tar, into the directory `into`, which must be empty. Blocks.
pub(crate) fn unpack(stream: impl Read, into: &Path, limits: Limits) -> Result<(), UnpackError> {
    let mut unpacker = Unpacker::new(Root::open(into)?, Budget { limits, bytes: 0, entries: 0 });
    let headers_left = Rc::new(Cell::new(0));
    let mut archive = Archive::new(Gate { stream, left: Rc::clone(&headers_left) });
    let malformed = |source| UnpackError::Archive { source };
    let mut entries = archive.entries().map_err(malformed)?;
    loop {
        headers_left.set(HEADERS_BYTES_MAX);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(malformed)?;
        headers_left.set(u64::MAX);
        if entry.header().entry_type().is_dir() && entry.size() > 0 {
            // Other programs take these bytes for the next entries: who looks at the image sees another one than we would run.
            return Err(malformed(io::Error::new(io::ErrorKind::InvalidData, "a directory has contents")));
        }
        unpacker.entry(&mut entry)?;
        // Read to its end here, or the next entry's headers begin with it.
        unpacker.budget.drain(&mut entry)?;
    }
    unpacker.finish()
}

/// Of one entry all headers together: long names and extended attributes come in them, and the library reads them whole.
const HEADERS_BYTES_MAX: u64 = 1 << 20;

/// Lets only so much be read.
struct Gate<R> {
    stream: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Gate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            let text = format!("the headers of an entry are larger than {HEADERS_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut buffer[..wanted])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

/// What is left of the limits.
struct Budget {
    limits: Limits,
    bytes: u64,
    entries: u64,
}

impl Budget {
    fn entry(&mut self) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(UnpackError::TooLarge { max: format!("{} entries", self.limits.entries_max) });
        }
        Ok(())
    }

    fn bytes(&mut self, count: u64) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes > self.limits.bytes_max {
            return Err(UnpackError::TooLarge { max: format!("{} bytes", self.limits.bytes_max) });
        }
        Ok(())
    }

    /// Reads what is left of an entry that nobody wants.
    fn drain(&mut self, entry: &mut impl Read) -> Result<(), UnpackError> {
        let mut buffer = [0; 4096];
        loop {
            let count = entry.read(&mut buffer).map_err(|source| UnpackError::Archive { source })?;
            if count == 0 {
                return Ok(());
            }
            self.bytes(count as u64)?;
        }
    }
}
