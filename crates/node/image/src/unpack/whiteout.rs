//! Whiteouts: what a layer takes away of those below it. OCI says it with names, overlayfs with a device and an attribute.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, mknodat};

use super::root::Dir;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout<'a> {
    /// The file of this name is taken away.
    File(&'a OsStr),
    /// Everything below in this directory is.
    Opaque,
    /// aufs' own bookkeeping: nothing.
    Bookkeeping,
}

impl<'a> Whiteout<'a> {
    /// `None` for an ordinary name.
    pub fn of(name: &'a OsStr) -> Option<Self> {
        let hidden = name.as_bytes().strip_prefix(PREFIX)?;
        Some(match hidden {
            _ if name.as_bytes() == OPAQUE => Self::Opaque,
            hidden if hidden.is_empty() || hidden.starts_with(PREFIX) || hidden == b"." || hidden == b".." => {
                Self::Bookkeeping
            }
            hidden => Self::File(OsStr::from_bytes(hidden)),
        })
    }

    /// Says it in the words of overlayfs. What the layer itself has under the name stays (OCI image specification,
    /// "Whiteouts"), and hides what is below.
    pub fn apply(&self, dir: &Dir) -> io::Result<()> {
        match self {
            Self::Bookkeeping => Ok(()),
            Self::File(name) => match dir.kind(name)? {
                None => Ok(mknodat(Some(dir.raw()), *name, SFlag::S_IFCHR, Mode::empty(), 0)?),
                Some((SFlag::S_IFDIR, _)) => make_opaque(dir, name),
                Some(_) => Ok(()),
            },
            Self::Opaque => make_opaque(dir, OsStr::new(".")),
        }
    }
}

/// Whether this is what overlayfs takes for a whiteout.
pub(super) fn is_whiteout(kind: (SFlag, u64)) -> bool {
    kind == (SFlag::S_IFCHR, 0)
}

/// Hides what the directories of that name below have.
pub(super) fn make_opaque(dir: &Dir, name: &OsStr) -> io::Result<()> {
    set_xattr(&dir.path_to(name), "trusted.overlay.opaque", b"y")
}

/// Sets an extended attribute; of a link, the link's own.
pub(super) fn set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name)?;
    // SAFETY: both texts end with NUL, and the value is as long as is said.
    let result = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(Whiteout::of(OsStr::new("x")), None);
        assert_eq!(Whiteout::of(OsStr::new(".wh.x")), Some(Whiteout::File(OsStr::new("x"))));
        assert_eq!(Whiteout::of(OsStr::new(".wh..wh..opq")), Some(Whiteout::Opaque));
        for name in [".wh.", ".wh...", ".wh..", ".wh..wh.plnk"] {
            assert_eq!(Whiteout::of(OsStr::new(name)), Some(Whiteout::Bookkeeping), "{name}");
        }
    }
}
