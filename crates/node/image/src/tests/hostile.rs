//! Archives that try to get out of the root, or to fill the disk.

use std::error::Error;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;
use crate::limits::Limits;
use crate::progress::Silent;
use crate::unpack::{UnpackError, unpack};

/// A root to unpack to, beside a file that nothing may touch.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        Self(dir)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn unpack(&self, tar: Tar) -> Result<(), UnpackError> {
        unpack(tar.end().as_slice(), &self.root(), Limits::default())
    }

    /// What the archive did outside of its root: nothing.
    fn assert_untouched(&self) {
        assert_eq!(names_in(self.0.path()), ["outside", "root"]);
        let outside = self.0.path().join("outside");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
        assert_eq!(fs::metadata(&outside).unwrap().nlink(), 1);
    }
}

#[test]
fn a_name_that_leads_out_is_refused_and_told() {
    for path in ["../outside", "a/../../outside", "/../outside", "..", ".wh.../../outside", "../.wh.outside"] {
        let place = Place::new();
        let error = place.unpack(Tar::default().dir("a").file(path, "x")).unwrap_err();
        assert!(matches!(error, UnpackError::Escape { .. }), "{path}: {error:?}");
        assert!(error.to_string().contains(path), "{error}");
        place.assert_untouched();
    }
}

#[test]
fn a_whiteout_takes_nothing_away_outside() {
    for path in [".wh...", ".wh..", ".wh.", "a/.wh..."] {
        let place = Place::new();
        place.unpack(Tar::default().dir("a").file("a/b", "").file(path, "")).unwrap();
        place.assert_untouched();
        assert_eq!(names_in(&place.root()), ["a"], "{path}");
        assert_eq!(names_in(&place.root().join("a")), ["b"], "{path}");
    }
}

#[test]
fn an_absolute_name_is_inside() {
    let place = Place::new();
    let outside = place.0.path().join("outside");
    place.unpack(Tar::default().file(outside.to_str().unwrap(), "mine")).unwrap();
    place.assert_untouched();
    let inside = place.root().join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(inside).unwrap(), "mine");
}

#[test]
fn a_symbolic_link_that_leads_out_is_refused() {
    for (path, target) in [("l", "../outside"), ("a/l", "../../outside"), ("l", "a/../../outside")] {
        let place = Place::new();
        let error = place.unpack(Tar::default().dir("a").symlink(path, target)).unwrap_err();
        assert!(matches!(error, UnpackError::LinkEscape { .. }), "{path} to {target}: {error:?}");
        assert!(error.to_string().contains(target), "{error}");
    }
}

#[test]
fn an_absolute_link_is_followed_from_the_root() {
    let place = Place::new();
    let dir = place.0.path().to_str().unwrap().to_owned();
    let tar = Tar::default().dir(&dir).symlink("link", &dir).file("link/outside", "mine").file("link/new", "mine");
    place.unpack(tar).unwrap();
    place.assert_untouched();
    let inside = place.root().join(dir.strip_prefix('/').unwrap());
    assert_eq!(names_in(&inside), ["new", "outside"]);
}

#[test]
fn a_file_takes_the_place_of_a_link_and_not_of_its_target() {
    let place = Place::new();
    place.unpack(Tar::default().file("target", "old").symlink("link", "target").file("link", "new")).unwrap();
    assert_eq!(fs::read_to_string(place.root().join("target")).unwrap(), "old");
    assert!(fs::symlink_metadata(place.root().join("link")).unwrap().is_file());
}

#[test]
fn a_directory_over_a_link_is_a_new_one_and_does_not_change_the_target() {
    let place = Place::new();
    let tar = Tar::default().dir("target").symlink("link", "target");
    place.unpack(tar.entry(EntryType::Directory, "link", "", 0o700, b"").file("link/x", "")).unwrap();
    assert!(names_in(&place.root().join("target")).is_empty());
    assert_eq!(fs::metadata(place.root().join("target")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(names_in(&place.root().join("link")), ["x"]);
}

#[test]
fn a_hard_link_leads_to_nothing_outside() {
    let place = Place::new();
    let error = place.unpack(Tar::default().hard_link("l", "../outside")).unwrap_err();
    assert!(matches!(error, UnpackError::LinkEscape { .. }), "{error:?}");
    assert!(error.to_string().contains("../outside"), "{error}");

    // By an absolute name, and through a symbolic link: looked for inside, where it is not.
    let outside = place.0.path().join("outside").to_str().unwrap().to_owned();
    let dir = place.0.path().to_str().unwrap().to_owned();
    for tar in
        [Tar::default().hard_link("l", &outside), Tar::default().symlink("up", &dir).hard_link("l", "up/outside")]
    {
        assert!(matches!(place.unpack(tar), Err(UnpackError::Io { .. })));
    }
    place.assert_untouched();
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_one_to_the_link() {
    let place = Place::new();
    place.unpack(Tar::default().symlink("link", "/outside").hard_link("again", "link")).unwrap();
    assert_eq!(fs::read_link(place.root().join("again")).unwrap(), Path::new("/outside"));
}

#[test]
fn what_images_need_is_kept() {
    let place = Place::new();
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let long = "d/".repeat(90) + "file";
    let overlay: (&str, &[u8]) = ("SCHILY.xattr.trusted.overlay.opaque", b"y");
    let tar = Tar::default()
        .entry(EntryType::Regular, "su", "", 0o4755, b"x")
        .with("dev", "", b"", |header| {
            header.set_entry_type(EntryType::Char);
            header.set_mode(0o600);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .pax(&[("SCHILY.xattr.security.capability", capability), overlay])
        .with("cap", "", b"", |header| {
            header.set_uid(7);
            header.set_gid(8);
            header.set_mode(0o755);
        })
        .pax(&[("path", long.as_bytes())])
        .file("short", "long");
    place.unpack(tar).unwrap();

    let found = |name: &str| fs::metadata(place.root().join(name)).unwrap();
    assert_eq!((found("su").mode() & 0o7777, found("su").mtime()), (0o4755, 1_000_000_000));
    assert!(found("dev").file_type().is_char_device());
    assert_eq!(found("dev").rdev(), nix::sys::stat::makedev(1, 3));
    assert_eq!((found("cap").uid(), found("cap").gid()), (7, 8));
    assert_eq!(xattr(&place.root().join("cap"), c"security.capability").as_deref(), Some(capability));
    assert_eq!(xattr(&place.root().join("cap"), c"trusted.overlay.opaque"), None);
    assert_eq!(fs::read_to_string(place.root().join(long)).unwrap(), "long");
}

#[test]
fn there_is_an_end_to_bytes_and_entries() {
    let limits = Limits { bytes_max: 10, entries_max: 3, ..Limits::default() };
    let unpacked = |tar: Tar| unpack(tar.end().as_slice(), &Place::new().root(), limits);
    unpacked(Tar::default().file("a", "12345").file("b", "12345").dir("c")).unwrap();
    let bytes = unpacked(Tar::default().file("a", "12345").file("b", "123456")).unwrap_err();
    assert!(matches!(&bytes, UnpackError::TooLarge { max } if max == "10 bytes"), "{bytes:?}");
    let entries = unpacked(Tar::default().dir("a").dir("b").dir("c").dir("d")).unwrap_err();
    assert!(matches!(&entries, UnpackError::TooLarge { max } if max == "3 entries"), "{entries:?}");
}

#[test]
fn directories_without_an_entry_count_too() {
    let limits = Limits { bytes_max: 10, entries_max: 3, ..Limits::default() };
    let unpacked = |tar: Tar| unpack(tar.end().as_slice(), &Place::new().root(), limits);
    unpacked(Tar::default().file("a/b/c", "")).unwrap();
    assert!(matches!(unpacked(Tar::default().file("a/b/c/d", "")), Err(UnpackError::TooLarge { .. })));
}

#[test]
fn headers_cannot_fill_the_memory() {
    let large = vec![b'x'; 2 << 20];
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink] {
        let place = Place::new();
        let error = place.unpack(Tar::default().entry(kind, "x", "", 0o644, &large).file("y", "")).unwrap_err();
        assert!(with_sources(&error).contains("larger than 1048576 bytes"), "{kind:?}: {}", with_sources(&error));
    }
    // What an entry itself is is another matter.
    let whole = String::from_utf8(large.clone()).unwrap();
    let place = Place::new();
    place.unpack(Tar::default().file("x", &whole).file("y", "")).unwrap();
    assert_eq!(names_in(&place.root()), ["x", "y"]);
}

#[test]
fn a_directory_with_contents_is_refused() {
    let tar = Tar::default().entry(EntryType::Directory, "d", "", 0o755, &[0; 512]).file("y", "");
    let error = Place::new().unpack(tar).unwrap_err();
    assert!(with_sources(&error).contains("a directory has contents"), "{}", with_sources(&error));
}

#[test]
fn a_sparse_file_in_pax_form_is_refused() {
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"file")];
    let error = Place::new().unpack(Tar::default().pax(&records).file("GNUSparseFile.0/file", "x")).unwrap_err();
    assert!(matches!(error, UnpackError::Sparse { .. }), "{error:?}");
}

#[test]
fn times_are_kept_of_directories_too() {
    let place = Place::new();
    let tar = Tar::default().dir("d").pax(&[("mtime", b"1234567890.5")]).file("d/f", "x").symlink("d/l", "f");
    place.unpack(tar).unwrap();
    let time = |name: &str| {
        let found = fs::symlink_metadata(place.root().join(name)).unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    assert_eq!(time("d"), (1_000_000_000, 0));
    assert_eq!(time("d/f"), (1_234_567_890, 500_000_000));
    assert_eq!(time("d/l"), (1_000_000_000, 0));
}

#[test]
fn modes_are_not_the_umasks() {
    in_own_mount_namespace(|| {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let place = Place::new();
        place.unpack(Tar::default().file("implied/file", "").dir("dir")).unwrap();
        let mode = |name: &str| fs::metadata(place.root().join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("implied"), mode("implied/file"), mode("dir")), (0o755, 0o644, 0o755));
    });
}

#[test]
fn a_directory_that_was_replaced_is_not_written_to() {
    let place = Place::new();
    let tar = Tar::default().dir("a").file("a/x", "").dir("b").symlink("a", "b").file("a/y", "");
    place.unpack(tar).unwrap();
    assert_eq!(names_in(&place.root().join("b")), ["y"]);
}

#[test]
fn an_archive_cut_short_is_an_error() {
    let mut cut = Tar::default().file("a", &"x".repeat(2000)).end();
    cut.truncate(1500);
    assert!(matches!(
        unpack(cut.as_slice(), &Place::new().root(), Limits::default()),
        Err(UnpackError::Archive { .. })
    ));
}

#[tokio::test]
async fn a_hostile_layer_leaves_nothing() {
    let node = Node::new();
    let layers = [Tar::default().file("../../x", "").end()];
    let file = node.file("image.tar", &archive(&oci_layout("bad", &layers, gzip)));
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    assert!(with_sources(&error).contains("../../x"), "{}", with_sources(&error));
    assert!(node.names("layers/sha256").is_empty() && node.names("tmp").is_empty());
    assert_eq!(node.images.list().unwrap(), []);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    in_own_mount_namespace(|| {
        let scratch = tempfile::tempdir().unwrap();
        let small = scratch.path().join("small");
        fs::create_dir(&small).unwrap();
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), none, Some("size=1m")).unwrap();
        let file = scratch.path().join("root.tar");
        fs::write(&file, gzip(&Tar::default().file("large", &"x".repeat(4 << 20)).end())).unwrap();

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let images = Images::open(&small.join("images")).unwrap();
        let error = runtime.block_on(images.import(&file, Some("large"), &Silent)).unwrap_err();
        assert!(with_sources(&error).contains("No space left on device"), "{}", with_sources(&error));
        drop(runtime);
        for dir in ["layers/sha256", "tmp", "images", "names"] {
            assert!(names_in(&small.join("images").join(dir)).is_empty(), "{dir}");
        }
        nix::mount::umount(&small).unwrap();
    });
}

fn with_sources(error: &dyn Error) -> String {
    let below = error.source().map(with_sources).unwrap_or_default();
    format!("{error}: {below}")
}

fn xattr(path: &Path, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut value = vec![0; 256];
    // SAFETY: both texts end with NUL, and the buffer is as long as is said.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}
