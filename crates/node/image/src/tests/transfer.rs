//! How layers come from a registry: in which compression, how often, and what happens when they do not.

use std::time::Duration;

use super::pull::{assert_nothing_left, layers, pull, told};
use super::registry::{Asked, Content, Registry, Reply};
use super::*;
use crate::error::{ContentError, PullError};
use crate::image::PullPolicy;
use crate::limits::Limits;
use crate::progress::Silent;

/// In two members, as parallel compressors write them.
fn gzip_members(bytes: &[u8]) -> Vec<u8> {
    let (one, two) = bytes.split_at(bytes.len() / 2);
    [gzip(one), gzip(two)].concat()
}

/// In two frames, with one behind them that is to be skipped, as formats with an index write them.
fn zstd_frames(bytes: &[u8]) -> Vec<u8> {
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let skipped: &[u8] = &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, b'i', b'n', b'd', b'x'];
    [zstd(one), zstd(two), skipped.to_vec()].concat()
}

#[tokio::test]
async fn layers_are_pulled_in_every_compression() {
    let plain: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    for (lower, upper) in
        [(plain, gzip as fn(&[u8]) -> Vec<u8>), (gzip, zstd), (zstd, plain), (gzip_members, zstd_frames)]
    {
        let node = Node::new();
        let layers = layers();
        let blobs = [lower(&layers[0]), upper(&layers[1])];
        let registry = Registry::of(Content::default().image_as("1", &layers, blobs)).await;
        let image = pull(&node, &registry.name("1")).await.unwrap();
        assert_eq!(fs::read_to_string(image.layers[0].join("upper")).unwrap(), "2");
        assert_eq!(fs::read_to_string(image.layers[1].join("lower")).unwrap().len(), 50_000);
    }
}

#[tokio::test]
async fn a_compression_that_is_cut_short_or_broken_is_refused() {
    for compress in [gzip, zstd] {
        let [layer, _] = layers();
        let whole = compress(&layer);
        let mut broken = whole.clone();
        let middle = broken.len() / 2;
        broken[middle..].fill(0xa5);
        for blob in [whole[..whole.len() - 5].to_vec(), broken] {
            let node = Node::new();
            let registry = Registry::of(Content::default().image_as("1", std::slice::from_ref(&layer), [blob])).await;
            let error = pull(&node, &registry.name("1")).await.unwrap_err();
            assert!(matches!(error, PullError::Content { source: ContentError::Layer { .. }, .. }), "{error:?}");
            assert_nothing_left(&node);
        }
    }
}

/// A registry of two images that share their lowest layer, which comes slowly.
async fn sharing(shared: &[u8]) -> Registry {
    let [lower, upper] = layers();
    let other = Tar::default().file("other", "3").end();
    let content = Content::default().image("1", &[lower.clone(), upper], false).image("2", &[lower, other], false);
    let slow = format!("GET /v2/app/blobs/{}", Digest::of(shared));
    Registry::new(move |asked| {
        let mut reply = content.reply(asked);
        if asked.line == slow {
            reply.pause = Duration::from_millis(300);
        }
        reply
    })
    .await
}

#[tokio::test]
async fn two_pulls_of_one_layer_share_the_work() {
    let node = Node::new();
    let shared = gzip(&layers()[0]);
    let registry = sharing(&shared).await;
    let (one, two) = (registry.name("1"), registry.name("2"));
    // Clones share the work too.
    let other = Node { scratch: tempfile::tempdir().unwrap(), images: node.images.clone() };
    let (one, two) = tokio::join!(pull(&node, &one), pull(&other, &two));
    assert_eq!(one.unwrap().layers[1], two.unwrap().layers[1]);
    let lines = registry.lines();
    let shared = format!("GET /v2/app/blobs/{}", Digest::of(&shared));
    assert_eq!(lines.iter().filter(|line| **line == shared).count(), 1, "{lines:?}");
    // Each has two documents and a layer of its own.
    assert_eq!(lines.len(), 7, "{lines:?}");
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_the_layer_to_the_other() {
    let node = Node::new();
    let shared = gzip(&layers()[0]);
    let registry = sharing(&shared).await;
    let (one, two) = (registry.name("1"), registry.name("2"));
    let given_up = tokio::time::timeout(Duration::from_millis(150), pull(&node, &one));
    let (given_up, two) = tokio::join!(given_up, pull(&node, &two));
    assert!(given_up.is_err());
    assert_eq!(fs::read_to_string(two.unwrap().layers[1].join("lower")).unwrap().len(), 50_000);
    assert!(node.names("tmp").is_empty());
}

/// A node with little patience, and a registry that is honest but for what `spoil` makes of an answer.
async fn impatient(spoil: impl Fn(&Asked, &mut Reply) + Send + Sync + 'static) -> (Node, Registry) {
    let Node { scratch, images } = Node::new();
    let limits = Limits { silence_max: Duration::from_millis(50), ..Limits::default() };
    let content = Content::default().image("1", &layers(), false);
    let registry = Registry::new(move |asked| {
        let mut reply = content.reply(asked);
        spoil(asked, &mut reply);
        reply
    });
    (Node { scratch, images: images.with_limits(limits) }, registry.await)
}

#[tokio::test]
async fn a_registry_that_falls_silent_in_a_layer_fails_the_pull() {
    let layer = format!("blobs/{}", Digest::of(&gzip(&layers()[0])));
    let (node, registry) = impatient(move |asked, reply| {
        if asked.line.ends_with(&layer) {
            // The first connection brings something, those that take it up nothing.
            reply.cut = Some(if asked.range.is_none() { 100 } else { 0 });
            reply.stalls = true;
        }
    })
    .await;
    let error = pull(&node, &registry.name("1")).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error:?}");
    assert!(told(&error).contains("came for 50ms"), "{}", told(&error));
    let ranges: Vec<_> = registry.asked().into_iter().filter_map(|asked| asked.range).collect();
    assert_eq!(ranges, ["bytes=100-"; 3]);
    for dir in ["tmp", "images", "names"] {
        assert!(node.names(dir).is_empty(), "{dir}");
    }
    // A layer that came to its end is there for the next attempt, but not for longer than nothing needs it.
    node.images.clean_up(&crate::CleanUpPolicy::default(), std::time::SystemTime::now()).await.unwrap();
    assert_nothing_left(&node);
}

#[tokio::test]
async fn a_registry_that_falls_silent_once_does_not() {
    let (node, registry) = impatient(|asked, reply| {
        if asked.line.contains("/blobs/") && asked.range.is_none() && reply.body.len() > 150 {
            (reply.cut, reply.stalls) = (Some(100), true);
        }
    })
    .await;
    pull(&node, &registry.name("1")).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_says_nothing_at_all_is_not_waited_for() {
    for (head, body) in [(true, false), (false, true)] {
        let (node, registry) = impatient(move |_, reply| {
            if head {
                reply.pause = Duration::from_secs(600);
            }
            if body {
                (reply.cut, reply.stalls) = (Some(1), true);
            }
        })
        .await;
        let pulled = tokio::time::timeout(Duration::from_secs(20), pull(&node, &registry.name("1"))).await.unwrap();
        assert!(matches!(pulled, Err(PullError::Unreachable { .. })), "{pulled:?}");
        assert_nothing_left(&node);
    }
}

#[tokio::test]
async fn usage_counts_a_shared_layer_once() {
    let node = Node::new();
    assert_eq!(node.images.usage().await.unwrap().layers_bytes, 0);
    let registry = sharing(&[]).await;
    for tag in ["1", "2"] {
        pull(&node, &registry.name(tag)).await.unwrap();
    }
    let usage = node.images.usage().await.unwrap();
    assert_eq!((usage.images, usage.layers), (2, 3));
    let of_images: u64 = node.images.list().unwrap().iter().map(|image| image.size_bytes).sum();
    let shared = node.images.ensure(&registry.name("1"), PullPolicy::Once, None, &Silent).await.unwrap();
    let shared = crate::layers::disk_bytes(shared.layers.last().unwrap()).unwrap();
    assert!(shared >= 50_000, "{shared}");
    assert_eq!(usage.layers_bytes, of_images - shared);
}

#[tokio::test]
async fn usage_measures_what_was_not_measured_when_it_came() {
    let node = Node::new();
    let registry = Registry::of(Content::default().image("1", &layers(), false)).await;
    let image = pull(&node, &registry.name("1")).await.unwrap();
    let measured = node.images.usage().await.unwrap();
    let hex = image.digest.strip_prefix("sha256:").unwrap();
    let file = node.scratch.path().join(format!("images/images/{hex}.json"));
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record.as_object_mut().unwrap().remove("layer_bytes").unwrap();
    fs::write(&file, record.to_string()).unwrap();
    assert_eq!(node.images.usage().await.unwrap(), measured);
}
