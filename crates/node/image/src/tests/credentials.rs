//! Credentials that a task brings for its own image.

use std::sync::atomic::{AtomicBool, Ordering};

use super::pull::{assert_nothing_left, credentials, layers, pull, told};
use super::registry::{Content, Registry, Reply};
use super::*;
use crate::error::PullError;
use crate::image::{Image, PullPolicy};
use crate::progress::Silent;

/// Base64 of `me:one`, `me:two` and of nobody.
const ONE: &str = "Basic bWU6b25l";
const TWO: &str = "Basic bWU6dHdv";

/// A registry that has an image for `me` with the passwords "one" and "two".
async fn private() -> Registry {
    let content = Content::default().image("1", &layers(), true);
    Registry::new(move |asked| match asked.authorization.as_deref() {
        Some(ONE | TWO) => content.reply(asked),
        // It says more than it should.
        Some(other) => Reply::new(403, format!("{other} is not allowed: guess")),
        None => Reply::new(401, "").with("www-authenticate", "Basic"),
    })
    .await
}

async fn pull_with(node: &Node, name: &str, policy: PullPolicy, password: &str) -> Result<Image, PullError> {
    node.images.ensure(name, policy, Some(&credentials(password)), &Silent).await
}

fn assert_denied(pulled: &Result<Image, PullError>) {
    assert!(matches!(pulled, Err(PullError::Denied { .. })), "{pulled:?}");
}

#[tokio::test]
async fn credentials_are_for_one_pull() {
    let (node, registry) = (Node::new(), private().await);
    let name = registry.name("1");
    assert_denied(&pull(&node, &name).await);
    assert_denied(&pull_with(&node, &name, PullPolicy::Default, "guess").await);
    assert_nothing_left(&node);
    pull_with(&node, &name, PullPolicy::Default, "one").await.unwrap();
    // Nothing of them stays.
    assert_denied(&pull(&node, &name).await);
}

#[tokio::test]
async fn a_pulls_credentials_come_before_the_nodes() {
    let registry = private().await;
    let name = registry.name("1");
    let node = Node::with_password(&registry.host, "guess");
    pull_with(&node, &name, PullPolicy::Default, "one").await.unwrap();
    let node = Node::with_password(&registry.host, "one");
    assert_denied(&pull_with(&node, &name, PullPolicy::Default, "guess").await);
}

#[tokio::test]
async fn whoever_comes_second_is_asked_too() {
    for policy in [PullPolicy::Default, PullPolicy::Always] {
        let (node, registry) = (Node::new(), private().await);
        let name = registry.name("1");
        let digest = pull_with(&node, &name, policy, "one").await.unwrap().digest;
        let by_digest = format!("{}/app@{digest}", registry.host);
        for name in [&name, &by_digest] {
            registry.asked();
            assert_eq!(pull_with(&node, name, policy, "two").await.unwrap().digest, digest);
            let asked = registry.asked();
            let proof = asked.iter().find(|asked| asked.authorization.as_deref() == Some(TWO)).unwrap();
            assert!(proof.line.contains(" /v2/app/manifests/"), "{proof:?}");
            assert!(asked.iter().all(|asked| asked.authorization.as_deref() != Some(ONE)), "{asked:?}");
            // No layer is downloaded again.
            let layers = layers().map(|layer| format!("GET /v2/app/blobs/{}", Digest::of(&gzip(&layer))));
            assert!(asked.iter().all(|asked| !layers.contains(&asked.line)), "{asked:?}");

            assert_denied(&pull_with(&node, name, policy, "guess").await);
            assert_denied(&node.images.ensure(name, policy, None, &Silent).await);
        }
    }
}

#[tokio::test]
async fn two_at_the_same_time_are_both_asked() {
    let (node, registry) = (Node::new(), private().await);
    let name = registry.name("1");
    let good = pull_with(&node, &name, PullPolicy::Default, "one");
    let bad = pull_with(&node, &name, PullPolicy::Default, "guess");
    let (good, bad) = tokio::join!(good, bad);
    good.unwrap();
    assert_denied(&bad);
}

#[tokio::test]
async fn what_is_there_serves_everybody_when_the_policy_says_so() {
    for policy in [PullPolicy::Once, PullPolicy::PreferCached] {
        let (node, registry) = (Node::new(), private().await);
        let name = registry.name("1");
        pull_with(&node, &name, policy, "one").await.unwrap();
        registry.asked();
        pull_with(&node, &name, policy, "guess").await.unwrap();
        node.images.ensure(&name, policy, None, &Silent).await.unwrap();
        assert_eq!(registry.lines(), [""; 0]);
    }
}

#[tokio::test]
async fn a_digest_does_not_lead_to_what_another_had_to_prove() {
    let (node, registry) = (Node::new(), private().await);
    let digest = pull_with(&node, &registry.name("1"), PullPolicy::Default, "one").await.unwrap().digest;
    // A registry that claims to have it, and one that is not there.
    let vouching = digest.clone();
    let elsewhere = Registry::new(move |asked| match asked.line.split_once(' ').unwrap().0 {
        "HEAD" => Reply::new(200, "").with("docker-content-digest", &vouching),
        _ => Reply::new(404, ""),
    })
    .await;
    let name = format!("{}/other@{digest}", elsewhere.host);
    for policy in [PullPolicy::Default, PullPolicy::Always, PullPolicy::Once, PullPolicy::PreferCached] {
        let error = node.images.ensure(&name, policy, None, &Silent).await.unwrap_err();
        assert!(matches!(error, PullError::NotFound { .. }), "{error:?}");
    }
    elsewhere.stop().await;
    let error = pull(&node, &name).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_asked_is_no_refusal() {
    let well = std::sync::Arc::new(AtomicBool::new(true));
    let content = Content::default().image("1", &layers(), false);
    let is_well = std::sync::Arc::clone(&well);
    let registry =
        Registry::new(
            move |asked| {
                if is_well.load(Ordering::Relaxed) { content.reply(asked) } else { Reply::new(503, "") }
            },
        )
        .await;
    let (node, name) = (Node::new(), registry.name("1"));
    pull_with(&node, &name, PullPolicy::Default, "one").await.unwrap();
    well.store(false, Ordering::Relaxed);
    pull_with(&node, &name, PullPolicy::Default, "two").await.unwrap();
    let always = pull_with(&node, &name, PullPolicy::Always, "two").await;
    assert!(matches!(always, Err(PullError::Status { status: 503, .. })), "{always:?}");
}

#[tokio::test]
async fn credentials_are_told_to_nobody() {
    let (node, registry) = (Node::new(), private().await);
    let error = pull_with(&node, &registry.name("1"), PullPolicy::Default, "guess").await.unwrap_err();
    let text = format!("{} {error:?}", told(&error));
    assert!(text.contains("Basic *** is not allowed: ***"), "{text}");

    let node = Node::with_password(&registry.host, "guess");
    let debug = format!("{:?} {:?}", credentials("guess"), node.images);
    assert!(!debug.contains("guess") && !debug.contains("\"me\""), "{debug}");
}

#[tokio::test]
async fn what_anybody_could_have_is_asked_only_of_those_with_credentials() {
    let content = Content::default().image("1", &layers(), false).image("2", &layers(), false);
    let (node, registry) = (Node::new(), Registry::of(content).await);
    pull_with(&node, &registry.name("1"), PullPolicy::Default, "one").await.unwrap();
    let digest = pull(&node, &registry.name("2")).await.unwrap().digest;
    registry.asked();
    let name = format!("{}/app@{digest}", registry.host);
    assert_eq!(pull(&node, &name).await.unwrap().digest, digest);
    assert_eq!(registry.lines(), [""; 0]);
    pull_with(&node, &name, PullPolicy::Default, "one").await.unwrap();
    assert_eq!(registry.lines(), [format!("HEAD /v2/app/manifests/{digest}")]);
}
