//! Tests of the crate as a whole: images that are made here, imported, unpacked, mounted and removed.

mod clean_up;
mod credentials;
mod formats;
mod hostile;
mod pull;
mod registry;
mod removal;
mod transfer;
mod whiteouts;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::digest::Digest;
use crate::images::Images;

/// A directory that goes with the test, and images in it.
struct Node {
    scratch: TempDir,
    images: Images,
}

impl Node {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let images = Images::open(&scratch.path().join("images")).unwrap();
        Self { scratch, images }
    }

    /// Writes a file beside the images.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The names in a directory of the images', in their order.
    fn names(&self, dir: &str) -> Vec<String> {
        names_in(&self.scratch.path().join("images").join(dir))
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A tar that may say what no honest tool would.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", 0o644, content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", 0o755, b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, b"")
    }

    /// A PAX header for the entry that follows: records of `key` and `value`.
    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let length = (1..9).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length);
            write!(body, "{} {key}=", length.unwrap()).unwrap();
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", 0o644, &body)
    }

    fn entry(self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) -> Self {
        self.with(path, target, content, |header| {
            header.set_entry_type(kind);
            header.set_mode(mode);
        })
    }

    /// The names go into the header as they are: the library's own setters refuse what a test is about.
    fn with(mut self, path: &str, target: &str, content: &[u8], more: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        more(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// An image's configuration with these uncompressed layers.
fn config(layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({ "Env": ["A=1"], "Entrypoint": ["/app"], "Cmd": null, "WorkingDir": "/srv",
        "User": "7:8", "StopSignal": "SIGINT", "ExposedPorts": { "80/tcp": {} } });
    json!({ "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": diff_ids } }).to_string()
}

/// An OCI layout's files, with the layers compressed: the way to each, and its bytes.
fn oci_layout(name: &str, layers: &[Vec<u8>], compress: fn(&[u8]) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let descriptor = |bytes: &[u8]| json!({ "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let config = config(layers).into_bytes();
    let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| compress(layer)).collect();
    let blob_descriptors: Vec<_> = blobs.iter().map(|blob| descriptor(blob)).collect();
    let manifest = json!({ "schemaVersion": 2, "config": descriptor(&config), "layers": blob_descriptors });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(&manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
    ];
    for blob in [config, manifest].into_iter().chain(blobs) {
        files.push((format!("blobs/sha256/{}", Digest::of(&blob).hex()), blob));
    }
    files
}

/// What `docker save` would have written.
fn docker_archive(tags: &[&str], layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": tags, "Layers": names }]).to_string();
    let mut files = vec![("config.json".to_owned(), config(layers).into_bytes())];
    files.extend(names.into_iter().zip(layers.iter().cloned()));
    files.push(("manifest.json".to_owned(), manifest.into_bytes()));
    files
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let add = |tar: Tar, (path, bytes): &(String, Vec<u8>)| tar.entry(EntryType::Regular, path, "", 0o644, bytes);
    files.iter().fold(Tar::default(), add).end()
}

/// Runs `work` where mounts are seen by nobody else, and are gone with it.
fn in_own_mount_namespace(work: impl FnOnce() + Send + 'static) {
    use nix::mount::{MsFlags, mount};
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        work();
    });
    thread.join().unwrap();
}
