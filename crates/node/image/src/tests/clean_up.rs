//! What clean-up takes, what it leaves, and what may happen beside it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::pull::pull;
use super::registry::{Content, Registry};
use super::*;
use crate::catalog::Catalog;
use crate::clean_up::{self, CleanUpPolicy, CleanedUp, Disk, FreeSpace, Kernel, Space};
use crate::directory::Directory;
use crate::image::{Image, PullPolicy};
use crate::layers::disk_bytes;
use crate::progress::Silent;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MIB: u64 = 1 << 20;
/// More than there ever is.
const ENDLESS: FreeSpace = FreeSpace::Bytes(u64::MAX);

/// A layer of a MiB.
fn layer(name: &str) -> Vec<u8> {
    Tar::default().file(name, &"x".repeat(1 << 20)).end()
}

/// A registry with an image under each of these tags, and a layer that all of them share.
async fn registry(tags: &[&str]) -> Registry {
    let add = |content: Content, tag: &&str| content.image(tag, &[Tar::default().dir("base").end(), layer(tag)], false);
    Registry::of(tags.iter().fold(Content::default(), add)).await
}

/// The registry's tags, pulled; the first was used so many hours ago as there are tags, the last an hour ago.
async fn pulled(node: &Node, registry: &Registry, tags: &[&str]) -> Vec<Image> {
    let mut images = Vec::new();
    for tag in tags {
        images.push(pull(node, &registry.name(tag)).await.unwrap());
    }
    for (image, hours) in images.iter().rev().zip(1..) {
        used_before(node, image, HOUR * hours);
    }
    images
}

fn record_of(node: &Node, image: &Image) -> PathBuf {
    node.scratch.path().join(format!("images/images/{}.json", image.digest.strip_prefix("sha256:").unwrap()))
}

fn used_before(node: &Node, image: &Image, before: Duration) {
    let file = fs::File::options().write(true).open(record_of(node, image)).unwrap();
    file.set_modified(SystemTime::now() - before).unwrap();
}

async fn cleaned(node: &Node, policy: &CleanUpPolicy) -> CleanedUp {
    node.images.clean_up(policy, SystemTime::now()).await.unwrap()
}

/// After `minimum_age`, so many at a time.
fn by_age(minimum_age: Duration, images_per_cycle: usize) -> CleanUpPolicy {
    CleanUpPolicy { minimum_age, images_per_cycle, low_space: None }
}

/// Whatever the space, but never by age.
fn by_need(low_space: FreeSpace) -> CleanUpPolicy {
    CleanUpPolicy { minimum_age: HOUR * 1000, images_per_cycle: 0, low_space: Some(low_space) }
}

/// A file system of so many bytes with nothing but the layers on it.
#[derive(Debug)]
struct Small {
    bytes: u64,
}

impl Disk for Small {
    fn space(&self, layers: &Path) -> io::Result<Space> {
        let taken = disk_bytes(layers).map_err(|error| error.source)?;
        Ok(Space { available_bytes: self.bytes.saturating_sub(taken), total_bytes: self.bytes })
    }
}

/// A node with such a file system.
fn small_node(bytes: u64) -> Node {
    let Node { scratch, images } = Node::new();
    Node { scratch, images: images.with_disk(Arc::new(Small { bytes })) }
}

#[tokio::test]
async fn the_least_recently_used_go_so_many_at_a_time() {
    let (node, registry) = (Node::new(), registry(&["a", "b", "c", "d"]).await);
    pulled(&node, &registry, &["a", "b", "c", "d"]).await;
    let names = |tags: &[&str]| tags.iter().map(|tag| registry.name(tag)).collect::<Vec<_>>();

    let two = cleaned(&node, &by_age(HOUR, 2)).await;
    assert_eq!(two.images, names(&["a", "b"]));
    assert!((2 * MIB..3 * MIB).contains(&two.freed_bytes), "{two:?}");
    assert_eq!(node.names("layers/sha256").len(), 3);
    // The last one was used an hour ago.
    assert_eq!(cleaned(&node, &by_age(HOUR * 3 / 2, 5)).await.images, names(&["c"]));
    assert_eq!(cleaned(&node, &by_age(HOUR * 3 / 2, 5)).await, CleanedUp::default());
    assert_eq!(cleaned(&node, &by_age(HOUR, 0)).await, CleanedUp::default());

    assert_eq!(cleaned(&node, &CleanUpPolicy::default()).await.images, names(&["d"]));
    for dir in ["layers/sha256", "images", "names", "tmp"] {
        assert!(node.names(dir).is_empty(), "{dir}");
    }
}

#[tokio::test]
async fn what_is_leased_or_was_imported_stays() {
    let (node, registry) = (small_node(0), registry(&["a", "b", "c"]).await);
    let images = pulled(&node, &registry, &["a", "b", "c"]).await;
    node.images.lease(&images[0], "task").unwrap();
    // By hand, and by hand under another name what was pulled.
    let [base, of_b] = [Tar::default().dir("base").end(), layer("b")];
    for (name, layers) in [("mine", vec![layer("mine")]), ("same", vec![base, of_b])] {
        let file = node.file("image.tar", &archive(&oci_layout(name, &layers, gzip)));
        node.images.import(&file, None, &Silent).await.unwrap();
    }
    assert_eq!(node.images.find("same").unwrap().digest, images[1].digest);
    let later = SystemTime::now() + HOUR * 10_000;
    for policy in [by_age(HOUR, 9), by_need(ENDLESS)] {
        node.images.clean_up(&policy, later).await.unwrap();
    }
    let left: Vec<String> = node.images.list().unwrap().into_iter().map(|image| image.reference).collect();
    assert_eq!(left, [registry.name("a"), registry.name("b"), "mine:latest".to_owned(), "same:latest".to_owned()]);
    assert!(images[0].layers.iter().all(|layer| layer.exists()));
}

#[tokio::test]
async fn every_use_counts_and_outlives_the_process() {
    let registry = registry(&["a"]).await;
    let uses: [fn(&Node, &Image); 2] =
        [|node, image| node.images.lease(image, "other").unwrap(), |node, _| node.images.release("task").unwrap()];
    for use_it in uses {
        let node = Node::new();
        let image = pulled(&node, &registry, &["a"]).await.remove(0);
        node.images.lease(&image, "task").unwrap();
        used_before(&node, &image, HOUR * 2);
        use_it(&node, &image);
        for holder in ["task", "other"] {
            fs::remove_file(node.scratch.path().join("images/leases").join(holder)).unwrap_or_default();
        }
        let again = Images::open(&node.scratch.path().join("images")).unwrap();
        assert_eq!(again.clean_up(&by_age(HOUR, 5), SystemTime::now()).await.unwrap().images, [""; 0]);
        let later = SystemTime::now() + HOUR;
        assert_eq!(again.clean_up(&by_age(HOUR, 5), later).await.unwrap().images, [registry.name("a")]);
    }
}

#[tokio::test]
async fn being_found_counts_as_a_use_under_every_policy() {
    let (node, registry) = (small_node(0), registry(&["a"]).await);
    let image = pulled(&node, &registry, &["a"]).await.remove(0);
    for policy in [PullPolicy::Default, PullPolicy::Always, PullPolicy::Once, PullPolicy::PreferCached] {
        used_before(&node, &image, HOUR);
        node.images.ensure(&registry.name("a"), policy, None, &Silent).await.unwrap();
        // Nobody has leased it yet, but somebody is about to.
        for policy in [by_age(Duration::ZERO, 5), by_need(ENDLESS)] {
            assert_eq!(cleaned(&node, &policy).await, CleanedUp::default());
        }
        node.images.lease(&image, "task").unwrap();
        node.images.release("task").unwrap();
    }
}

#[tokio::test]
async fn with_too_little_space_age_does_not_count() {
    let tags = ["a", "b", "c", "d", "e"];
    let registry = registry(&tags).await;
    // Of 8 MiB a little less than 3 are free, and 4 are to be: two images have to go.
    for low_space in [FreeSpace::Bytes(4 * MIB), FreeSpace::Percent(50)] {
        let node = small_node(8 * MIB);
        pulled(&node, &registry, &tags).await;
        let done = cleaned(&node, &by_need(low_space)).await;
        assert_eq!(done.images, [registry.name("a"), registry.name("b")], "{low_space:?}");
        assert!(done.freed_bytes >= 2 * MIB);
        assert_eq!(cleaned(&node, &by_need(low_space)).await, CleanedUp::default());
        // With enough space, age counts again, and so does the number.
        let policy = CleanUpPolicy { low_space: Some(low_space), ..by_age(HOUR, 1) };
        assert_eq!(cleaned(&node, &policy).await.images, [registry.name("c")]);
    }
}

#[tokio::test]
async fn what_went_by_need_counts_to_the_number() {
    let tags = ["a", "b", "c", "d", "e"];
    let (node, registry) = (small_node(8 * MIB), registry(&tags).await);
    pulled(&node, &registry, &tags).await;
    let policy = CleanUpPolicy { low_space: Some(FreeSpace::Percent(50)), ..by_age(HOUR, 3) };
    assert_eq!(cleaned(&node, &policy).await.images.len(), 3);
}

#[tokio::test]
async fn with_too_little_space_cleaning_ends_when_nothing_is_left() {
    let (node, registry) = (small_node(0), registry(&["a", "b"]).await);
    pulled(&node, &registry, &["a", "b"]).await;
    assert_eq!(cleaned(&node, &by_need(ENDLESS)).await.images.len(), 2);
    assert_eq!(cleaned(&node, &by_need(ENDLESS)).await, CleanedUp::default());
}

#[tokio::test]
async fn what_no_name_stands_for_any_more_goes_too() {
    let (node, registry) = (Node::new(), registry(&["a", "b"]).await);
    let images = pulled(&node, &registry, &["a", "b"]).await;
    node.images.lease(&images[0], "task").unwrap();
    for file in names_in(&node.scratch.path().join("images/names")) {
        fs::remove_file(node.scratch.path().join("images/names").join(file)).unwrap();
    }
    let done = cleaned(&node, &by_age(HOUR * 1000, 0)).await;
    assert!(done.images.is_empty() && done.freed_bytes >= MIB, "{done:?}");
    assert!(images[0].layers[0].exists() && !images[1].layers[0].exists());
}

#[tokio::test]
async fn all_names_of_an_image_go_together() {
    let node = Node::new();
    let content = Content::default().image("a", &[layer("x")], false).image("b", &[layer("x")], false);
    let registry = Registry::of(content).await;
    pulled(&node, &registry, &["a", "b"]).await;
    let later = SystemTime::now() + HOUR;
    let mut gone = node.images.clean_up(&by_age(HOUR, 1), later).await.unwrap().images;
    gone.sort();
    assert_eq!(gone, [registry.name("a"), registry.name("b")]);
}

#[tokio::test]
async fn what_is_being_pulled_is_not_taken_apart() {
    let (node, registry) = (small_node(0), registry(&["a", "b"]).await);
    let image = pulled(&node, &registry, &["a", "b"]).await.remove(0);
    // A pull has its layers, but no name yet.
    let directory = Directory::open(&node.scratch.path().join("images")).unwrap();
    let layers = [Tar::default().dir("base").end(), layer("a")].map(|layer| Digest::of(&layer));
    let _claim = directory.claim(&layers).unwrap();
    assert_eq!(cleaned(&node, &by_need(ENDLESS)).await.images.len(), 2);
    assert!(image.layers.iter().all(|layer| layer.exists()));
    assert_eq!(node.names("layers/sha256").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_finds_an_image_can_lease_it_whatever_is_cleaned_up_beside() {
    let (node, registry) = (small_node(0), registry(&["a"]).await);
    let name = registry.name("a");
    let image = pull(&node, &name).await.unwrap();
    let cleaning = {
        let images = node.images.clone();
        tokio::spawn(async move {
            let mut gone = 0;
            loop {
                let done = images.clean_up(&by_need(ENDLESS), SystemTime::now()).await.unwrap();
                gone += done.images.len();
                if images.find("stop").is_some() {
                    return gone;
                }
            }
        })
    };
    for round in 0..60 {
        // Unless it is gone already.
        if let Ok(record) = fs::File::options().write(true).open(record_of(&node, &image)) {
            record.set_modified(SystemTime::now() - HOUR).unwrap();
        }
        // Sometimes clean-up is first, sometimes not.
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        let policy = if round % 2 == 0 { PullPolicy::Once } else { PullPolicy::Default };
        let image = node.images.ensure(&name, policy, None, &Silent).await.unwrap();
        node.images.lease(&image, "task").unwrap();
        assert!(image.layers.iter().all(|layer| layer.join("a").exists() || layer.join("base").exists()));
        node.images.release("task").unwrap();
    }
    let file = node.file("image.tar", &archive(&oci_layout("stop", &[layer("stop")], gzip)));
    node.images.import(&file, None, &Silent).await.unwrap();
    assert!(cleaning.await.unwrap() > 0);
}

#[tokio::test]
async fn what_goes_while_its_registry_is_asked_is_pulled_again() {
    let node = Node::new();
    let catalog = Catalog(Directory::open(&node.scratch.path().join("images")).unwrap());
    let content = Content::default().image("a", &[layer("a")], false);
    let registry = Registry::new(move |asked| {
        if asked.line.starts_with("HEAD") {
            let later = SystemTime::now() + HOUR;
            let done = clean_up::clean_up(&catalog, &Kernel, &CleanUpPolicy::default(), later).unwrap();
            assert_eq!(done.images.len(), 1);
        }
        content.reply(asked)
    })
    .await;
    let name = registry.name("a");
    pull(&node, &name).await.unwrap();
    let image = pull(&node, &name).await.unwrap();
    assert!(image.layers[0].join("a").exists());
    node.images.lease(&image, "task").unwrap();
    assert_eq!(registry.lines().iter().filter(|line| line.starts_with("GET /v2/app/manifests/")).count(), 2);
}
