//! The forms in which images come as files.

use super::*;
use crate::config::ImageConfig;
use crate::error::{ContentError, ImportError};
use crate::image::{Image, PullPolicy, Source};
use crate::progress::Silent;

/// Two layers, the lower first.
fn layers() -> [Vec<u8>; 2] {
    [Tar::default().file("lower", "1").end(), Tar::default().dir("etc").file("etc/upper", "2").end()]
}

/// The image as a task would get it: no registry is there to ask.
async fn ensure(node: &Node, name: &str) -> Image {
    node.images.ensure(name, PullPolicy::Always, None, &Silent).await.unwrap()
}

/// That these are the layers of [`layers`], the topmost first, and the configuration is [`config`]'s.
fn assert_whole(image: &Image) {
    let expected = ImageConfig {
        volumes: vec![],
        env: vec!["A=1".to_owned()],
        entrypoint: vec!["/app".to_owned()],
        cmd: Vec::new(),
        working_dir: "/srv".to_owned(),
        user: "7:8".to_owned(),
        stop_signal: "SIGINT".to_owned(),
        exposed_ports: vec!["80/tcp".to_owned()],
    };
    assert_eq!(image.config, expected);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(fs::read_to_string(image.layers[0].join("etc/upper")).unwrap(), "2");
    assert_eq!(fs::read_to_string(image.layers[1].join("lower")).unwrap(), "1");
}

#[tokio::test]
async fn an_oci_layout_is_taken_in_every_compression() {
    let plain: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    for layer in [plain, gzip, zstd] {
        for whole in [plain, gzip, zstd] {
            let node = Node::new();
            let file = node.file("image", &whole(&archive(&oci_layout("hello:1", &layers(), layer))));
            let imported = node.images.import(&file, None, &Silent).await.unwrap();
            assert_eq!((imported.len(), imported[0].reference.as_str()), (1, "hello:1"));
            assert_eq!(imported[0].source, Source::Imported);
            assert_whole(&ensure(&node, "docker.io/library/hello:1").await);
        }
    }
}

#[tokio::test]
async fn an_oci_layout_is_taken_from_a_directory() {
    let node = Node::new();
    let dir = node.scratch.path().join("layout");
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    for (name, bytes) in oci_layout("ignored", &layers(), gzip) {
        fs::write(dir.join(name), bytes).unwrap();
    }
    let imported = node.images.import(&dir, Some("registry.example:5000/a/b:v1"), &Silent).await.unwrap();
    assert_eq!(imported[0].reference, "registry.example:5000/a/b:v1");
    assert_eq!(node.images.find("ignored"), None);
    assert_whole(&ensure(&node, "registry.example:5000/a/b:v1").await);
}

#[tokio::test]
async fn a_docker_archive_has_all_its_tags() {
    let node = Node::new();
    let file = node.file("saved.tar", &archive(&docker_archive(&["one:1", "quay.io/x/two:2"], &layers())));
    let imported = node.images.import(&file, None, &Silent).await.unwrap();
    assert_eq!(imported.len(), 2);
    assert_eq!(imported[0].digest, Digest::of(config(&layers()).as_bytes()).to_string());
    for name in ["one:1", "quay.io/x/two:2"] {
        assert_whole(&ensure(&node, name).await);
    }
    let listed: Vec<String> = node.images.list().unwrap().into_iter().map(|image| image.reference).collect();
    assert_eq!(listed, ["one:1", "quay.io/x/two:2"]);
}

#[tokio::test]
async fn a_root_file_system_is_one_layer_that_runs_nothing() {
    let node = Node::new();
    let file = node.file("root.tar.gz", &gzip(&Tar::default().dir("bin").file("bin/sh", "#!").end()));
    let nameless = node.images.import(&file, None, &Silent).await;
    assert!(matches!(nameless, Err(ImportError::NeedsName { .. })), "{nameless:?}");
    node.images.import(&file, Some("base"), &Silent).await.unwrap();
    let image = ensure(&node, "base:latest").await;
    assert_eq!((image.config, image.layers.len()), (ImageConfig::default(), 1));
    assert_eq!(fs::read_to_string(image.layers[0].join("bin/sh")).unwrap(), "#!");
}

#[tokio::test]
async fn what_is_none_of_these_is_refused() {
    let node = Node::new();
    let text = node.file("text", &b"not an archive at all ".repeat(100));
    let empty = node.file("empty", b"");
    let dir = node.scratch.path().join("dir");
    fs::create_dir(&dir).unwrap();
    for file in [text, empty, dir] {
        let refused = node.images.import(&file, Some("x"), &Silent).await;
        assert!(matches!(refused, Err(ImportError::Format { .. })), "{}: {refused:?}", file.display());
    }
    let missing = node.images.import(Path::new("/nonexistent"), Some("x"), &Silent).await;
    assert!(matches!(missing, Err(ImportError::Read { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_layer_that_is_not_what_its_digests_say_is_refused() {
    let node = Node::new();
    let other = Tar::default().file("evil", "").end();

    // The blob is not what the manifest says.
    let mut files = oci_layout("x", &layers(), gzip);
    files.last_mut().unwrap().1 = gzip(&other);
    let file = node.file("blob.tar", &archive(&files));
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    assert!(matches!(error, ImportError::Content(ContentError::Digest { .. })), "{error:?}");

    // The unpacked layer is not what the configuration says.
    let node = Node::new();
    let mut files = docker_archive(&["x"], &layers());
    files[1].1 = other;
    let file = node.file("layer.tar", &archive(&files));
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    assert!(matches!(error, ImportError::Content(ContentError::Digest { .. })), "{error:?}");
    assert_eq!(node.images.list().unwrap(), []);
    assert_eq!(node.images.find("x"), None);
}

#[tokio::test]
async fn a_layout_that_lacks_a_blob_says_which() {
    let node = Node::new();
    let mut files = oci_layout("x", &layers(), gzip);
    let (lost, _) = files.pop().unwrap();
    let file = node.file("image.tar", &archive(&files));
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    assert!(matches!(&error, ImportError::Lacks { file, .. } if *file == lost), "{error:?}");
}

#[tokio::test]
async fn a_layout_cannot_have_files_of_the_host_read() {
    let node = Node::new();
    let secret = node.file("secret", oci_layout("x", &layers(), gzip)[1].1.as_slice());
    let tar = Tar::default().file("oci-layout", "{}").symlink("index.json", secret.to_str().unwrap());
    let file = node.file("image.tar", &tar.end());
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    assert!(matches!(&error, ImportError::Lacks { file, .. } if file == "index.json"), "{error:?}");
}

#[tokio::test]
async fn manifest_and_configuration_have_the_same_layers() {
    let node = Node::new();
    let [lower, upper] = layers();
    let mut files = docker_archive(&["x"], &[lower.clone(), upper]);
    files[0].1 = config(&[lower]).into_bytes();
    let file = node.file("image.tar", &archive(&files));
    let error = node.images.import(&file, None, &Silent).await.unwrap_err();
    let differ = matches!(error, ImportError::Content(ContentError::LayerCount { manifest: 2, config: 1 }));
    assert!(differ, "{error:?}");
}

#[tokio::test]
async fn a_layout_cannot_have_pipes_and_devices_opened() {
    let node = Node::new();
    let pipe = |name| Tar::default().file("other", "").entry(EntryType::Fifo, name, "", 0o644, b"");
    for name in ["oci-layout", "manifest.json"] {
        // Then it is no layout, but a root file system that has such a pipe.
        let file = node.file("image.tar", &pipe(name).end());
        let imported = node.images.import(&file, Some("x"), &Silent).await.unwrap();
        assert_eq!(imported.len(), 1, "{name}");
    }
    let tar = pipe("index.json").file("oci-layout", "{}").end();
    let error = node.images.import(&node.file("image.tar", &tar), None, &Silent).await.unwrap_err();
    assert!(matches!(error, ImportError::Unpack { .. }), "{error:?}");
}

#[tokio::test]
async fn of_several_platforms_this_machines_is_taken() {
    let node = Node::new();
    let mut files = oci_layout("x", &layers(), gzip);
    let mut index: serde_json::Value = serde_json::from_slice(&files[1].1).unwrap();
    let mut other = index["manifests"][0].clone();
    other["digest"] = json!(Digest::of(b"not here").to_string());
    other["platform"] = json!({ "os": "linux", "architecture": "vax" });
    index["manifests"].as_array_mut().unwrap().insert(0, other);
    files[1].1 = index.to_string().into_bytes();
    node.images.import(&node.file("image.tar", &archive(&files)), Some("mine"), &Silent).await.unwrap();
    assert_whole(&ensure(&node, "mine").await);

    index["manifests"].as_array_mut().unwrap().pop();
    files[1].1 = index.to_string().into_bytes();
    let error = node.images.import(&node.file("image.tar", &archive(&files)), None, &Silent).await.unwrap_err();
    assert!(matches!(error, ImportError::Content(ContentError::Platform(_))), "{error:?}");
}
