//! What stays, what goes, and when: names, leases, and what a crash leaves.

use super::*;
use crate::error::{LeaseError, RemoveError};
use crate::image::{Image, PullPolicy};
use crate::progress::Silent;

fn layer(name: &str) -> Vec<u8> {
    Tar::default().file(name, &"x".repeat(8192)).end()
}

async fn import(node: &Node, name: &str, layers: &[Vec<u8>]) -> Image {
    let file = node.file("image.tar", &archive(&oci_layout(name, layers, gzip)));
    node.images.import(&file, None, &Silent).await.unwrap();
    node.images.ensure(name, PullPolicy::PreferCached, None, &Silent).await.unwrap()
}

fn hexes(layers: &[&Vec<u8>]) -> Vec<String> {
    let mut hexes: Vec<String> = layers.iter().map(|layer| Digest::of(layer).hex().to_owned()).collect();
    hexes.sort();
    hexes
}

#[tokio::test]
async fn a_layer_goes_with_the_last_image_that_has_it() {
    let node = Node::new();
    let (shared, one, two) = (layer("shared"), layer("one"), layer("two"));
    import(&node, "one", &[shared.clone(), one.clone()]).await;
    import(&node, "two", &[shared.clone(), two.clone()]).await;
    assert_eq!(node.names("layers/sha256"), hexes(&[&shared, &one, &two]));

    let removed = node.images.remove("one:latest").await.unwrap();
    assert!(removed.freed_bytes >= 8192, "{removed:?}");
    assert_eq!(node.names("layers/sha256"), hexes(&[&shared, &two]));
    assert_eq!(node.images.find("one"), None);

    node.images.remove("two").await.unwrap();
    for dir in ["layers/sha256", "images", "names", "tmp"] {
        assert!(node.names(dir).is_empty(), "{dir}");
    }
}

#[tokio::test]
async fn an_image_stays_while_another_name_stands_for_it() {
    let node = Node::new();
    let layer = layer("x");
    let image = import(&node, "one", std::slice::from_ref(&layer)).await;
    import(&node, "two", std::slice::from_ref(&layer)).await;
    node.images.lease(&image, "task").unwrap();
    // The lease is on the image, which has a name left.
    assert_eq!(node.images.remove("one").await.unwrap().freed_bytes, 0);
    assert_eq!(node.names("layers/sha256"), hexes(&[&layer]));
    assert!(node.images.find("two").is_some());
}

#[tokio::test]
async fn a_digest_takes_all_names_away() {
    let node = Node::new();
    let layer = layer("x");
    let image = import(&node, "one", std::slice::from_ref(&layer)).await;
    import(&node, "two", &[layer]).await;
    node.images.remove(&image.digest).await.unwrap();
    assert_eq!(node.images.list().unwrap(), []);
    assert!(node.names("layers/sha256").is_empty());
}

#[tokio::test]
async fn what_is_leased_is_not_removed() {
    let node = Node::new();
    let image = import(&node, "one", &[layer("x")]).await;
    node.images.lease(&image, "b").unwrap();
    node.images.lease(&image, "a").unwrap();
    node.images.lease(&image, "a").unwrap();
    let refused = node.images.remove("one").await.unwrap_err();
    let RemoveError::InUse { mut holders, .. } = refused else { panic!("{refused:?}") };
    holders.sort();
    assert_eq!(holders, ["a", "b"]);

    // Leases outlive the process, and hold for any other.
    let again = Images::open(&node.scratch.path().join("images")).unwrap();
    again.release("b").unwrap();
    assert!(matches!(again.remove("one").await, Err(RemoveError::InUse { .. })));
    again.release("a").unwrap();
    again.release("a").unwrap();
    again.remove("one").await.unwrap();
    assert!(!image.layers[0].exists());
}

#[tokio::test]
async fn a_lease_outlives_the_name() {
    let node = Node::new();
    let (old, new) = (layer("old"), layer("new"));
    let before = import(&node, "app", std::slice::from_ref(&old)).await;
    node.images.lease(&before, "task").unwrap();
    // The name comes to stand for another image, and goes.
    import(&node, "app", std::slice::from_ref(&new)).await;
    node.images.remove("app").await.unwrap();
    assert_eq!(node.names("layers/sha256"), hexes(&[&old]));

    // What nobody holds any more goes with the next removal.
    node.images.release("task").unwrap();
    import(&node, "app", &[new]).await;
    node.images.remove("app").await.unwrap();
    assert!(node.names("layers/sha256").is_empty());
}

#[tokio::test]
async fn a_lease_is_for_what_is_there_and_by_a_name_a_file_can_have() {
    let node = Node::new();
    let image = import(&node, "one", &[layer("x")]).await;
    for holder in ["", "../x", "a/b", "a.b", &"x".repeat(129)] {
        assert!(matches!(node.images.lease(&image, holder), Err(LeaseError::Holder(_))), "{holder}");
        assert!(matches!(node.images.release(holder), Err(LeaseError::Holder(_))), "{holder}");
    }
    node.images.remove("one").await.unwrap();
    assert!(matches!(node.images.lease(&image, "task"), Err(LeaseError::Gone(_))));
    assert!(node.names("leases").is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_removed() {
    let node = Node::new();
    for name in ["nothing", &Digest::of(b"").to_string()] {
        assert!(matches!(node.images.remove(name).await, Err(RemoveError::NotFound(_))), "{name}");
    }
    assert!(matches!(node.images.remove("NOT A NAME").await, Err(RemoveError::Reference(_))));
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_swept() {
    let node = Node::new();
    import(&node, "one", &[layer("x")]).await;
    let dir = node.scratch.path().join("images");
    let left = dir.join("tmp/1-0");
    fs::create_dir_all(left.join("layer/etc")).unwrap();
    let half_written = dir.join("names/1.1-0.new");
    fs::write(&half_written, "{").unwrap();
    let images = Images::open(&dir).unwrap();
    assert!(!left.exists() && !half_written.exists());
    assert_eq!(images.list().unwrap(), node.images.list().unwrap());
}

#[tokio::test]
async fn what_is_being_made_is_not_swept() {
    let node = Node::new();
    let dir = node.scratch.path().join("images");
    let directory = crate::directory::Directory::open(&dir).unwrap();
    let held = directory.temporary().unwrap();
    Images::open(&dir).unwrap();
    assert!(held.path().exists());
    let path = held.path().to_owned();
    drop(held);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_claimed_is_not_removed() {
    let node = Node::new();
    let layer = layer("x");
    import(&node, "one", std::slice::from_ref(&layer)).await;
    let directory = crate::directory::Directory::open(&node.scratch.path().join("images")).unwrap();
    let claim = directory.claim(&[Digest::of(&layer)]).unwrap();
    node.images.remove("one").await.unwrap();
    assert_eq!(node.names("layers/sha256"), hexes(&[&layer]));

    drop(claim);
    import(&node, "two", &[Tar::default().file("y", "").end()]).await;
    node.images.remove("two").await.unwrap();
    assert!(node.names("layers/sha256").is_empty());
}

#[tokio::test]
async fn the_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Images::open(scratch.path()).unwrap();
    assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_image_is_found_by_its_digest() {
    let node = Node::new();
    let image = import(&node, "one", &[layer("x")]).await;
    assert_eq!(node.images.find(&image.digest), node.images.find("one"));
    assert_eq!(node.images.find(&Digest::of(b"").to_string()), None);
}

#[tokio::test]
async fn a_lease_that_the_machine_lost_is_none() {
    let node = Node::new();
    let image = import(&node, "one", &[layer("x")]).await;
    node.images.lease(&image, "task").unwrap();
    fs::write(node.scratch.path().join("images/leases/task"), "").unwrap();
    node.images.lease(&image, "other").unwrap();
    node.images.release("other").unwrap();
    node.images.remove("one").await.unwrap();
}
