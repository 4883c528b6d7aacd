//! Pulls, from registries of all manners.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::registry::{Content, Registry, Reply};
use super::*;
use crate::error::{ContentError, PullError};
use crate::image::{Image, PullPolicy, Source};
use crate::progress::Silent;
use crate::registry::Credentials;

pub(super) fn layers() -> [Vec<u8>; 2] {
    [Tar::default().file("lower", &"x".repeat(50_000)).end(), Tar::default().file("upper", "2").end()]
}

pub(super) async fn pull(node: &Node, name: &str) -> Result<Image, PullError> {
    node.images.ensure(name, PullPolicy::Default, None, &Silent).await
}

/// Those of `me`.
pub(super) fn credentials(password: &str) -> Credentials {
    Credentials { username: "me".to_owned(), password: password.to_owned().into() }
}

pub(super) fn told(error: &PullError) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

pub(super) fn assert_nothing_left(node: &Node) {
    for dir in ["layers/sha256", "tmp", "images", "names"] {
        assert!(node.names(dir).is_empty(), "{dir}: {:?}", node.names(dir));
    }
}

#[tokio::test]
async fn an_image_is_pulled_and_not_pulled_again() {
    for indexed in [false, true] {
        let node = Node::new();
        let registry = Registry::of(Content::default().image("1", &layers(), indexed)).await;
        let image = pull(&node, &registry.name("1")).await.unwrap();
        assert_eq!(image.config.entrypoint, ["/app"]);
        assert_eq!(fs::read_to_string(image.layers[0].join("upper")).unwrap(), "2");
        assert_eq!(fs::read_to_string(image.layers[1].join("lower")).unwrap().len(), 50_000);
        assert_eq!(node.images.list().unwrap()[0].source, Source::Pulled);
        assert!(node.names("tmp").is_empty());

        registry.asked();
        assert_eq!(pull(&node, &registry.name("1")).await.unwrap().digest, image.digest);
        assert_eq!(registry.lines(), ["HEAD /v2/app/manifests/1"]);
        for (reference, policy) in [
            (registry.name("1"), PullPolicy::Once),
            (registry.name("1"), PullPolicy::PreferCached),
            (format!("{}/app@{}", registry.host, image.digest), PullPolicy::Always),
        ] {
            node.images.ensure(&reference, policy, None, &Silent).await.unwrap();
            assert_eq!(registry.lines(), [""; 0], "{policy:?}");
        }
    }
}

#[tokio::test]
async fn a_tag_that_moved_is_pulled_anew() {
    // Not every registry knows HEAD.
    for head in [200, 405, 501] {
        let node = Node::new();
        let asked_before = AtomicUsize::new(0);
        let [old, new] = layers().map(|layer| Content::default().image("1", &[layer], true));
        // What comes after the first image's four documents is of the second.
        let registry = Registry::new(move |asked| match asked_before.fetch_add(1, Ordering::Relaxed) {
            ..4 => old.reply(asked),
            _ if head != 200 && asked.line.starts_with("HEAD") => Reply::new(head, ""),
            _ => new.reply(asked),
        })
        .await;
        let before = pull(&node, &registry.name("1")).await.unwrap();
        let after = pull(&node, &registry.name("1")).await.unwrap();
        assert_ne!(before.digest, after.digest);
        assert_eq!(names_in(&after.layers[0]), ["upper"]);
        assert_eq!(node.images.find(&registry.name("1")).unwrap().digest, after.digest);
    }
}

#[tokio::test]
async fn a_token_is_had_from_where_the_registry_says() {
    let content = Content::default().image("1", &layers(), false);
    let registry = Registry::new(move |asked| match asked.authorization.as_deref() {
        authorization if asked.line.starts_with("GET /token?") => match authorization {
            // "me:secret"
            Some("Basic bWU6c2VjcmV0") => Reply::new(200, r#"{"token":"mine"}"#),
            Some(_) => Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#),
            None => Reply::new(200, r#"{"access_token":"anyones"}"#),
        },
        Some("Bearer mine") => content.reply(asked),
        Some("Bearer anyones") => Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"not for anyone"}]}"#),
        _ => {
            let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, asked.host);
            Reply::new(401, "").with("www-authenticate", challenge)
        }
    })
    .await;
    let anyone = told(&pull(&Node::new(), &registry.name("1")).await.unwrap_err());
    assert!(anyone.contains("access denied (403): DENIED: not for anyone"), "{anyone}");
    let wrong = told(&pull(&Node::with_password(&registry.host, "guess"), &registry.name("1")).await.unwrap_err());
    assert!(wrong.contains("access denied (401): UNAUTHORIZED: wrong password"), "{wrong}");

    registry.asked();
    pull(&Node::with_password(&registry.host, "secret"), &registry.name("1")).await.unwrap();
    let tokens: Vec<String> = registry.lines().into_iter().filter(|line| line.contains("/token")).collect();
    assert_eq!(tokens, ["GET /token?service=s&scope=repository%3Aapp%3Apull"]);
}

#[tokio::test]
async fn a_password_is_sent_when_the_registry_asks_for_it() {
    let content = Content::default().image("1", &layers(), false);
    let registry = Registry::new(move |asked| match asked.authorization.as_deref() {
        Some("Basic bWU6c2VjcmV0") => content.reply(asked),
        _ => Reply::new(401, "").with("www-authenticate", r#"Basic realm="here""#),
    })
    .await;
    pull(&Node::with_password(&registry.host, "secret"), &registry.name("1")).await.unwrap();
    let refused = pull(&Node::new(), &registry.name("1")).await;
    assert!(matches!(refused, Err(PullError::Denied { status: 401, .. })), "{refused:?}");
}

#[tokio::test]
async fn nobody_else_gets_the_password() {
    let content = Content::default().image("1", &layers(), false);
    // The blobs are elsewhere, where somebody asks for a password.
    let elsewhere = Registry::new(|_| Reply::new(401, "").with("www-authenticate", "Basic")).await;
    let host = elsewhere.host.clone();
    let registry = Registry::new(move |asked| match asked.authorization {
        None => Reply::new(401, "").with("www-authenticate", "Basic"),
        Some(_) if asked.line.contains("/blobs/") => {
            Reply::new(307, "").with("location", format!("http://{host}/somewhere"))
        }
        Some(_) => content.reply(asked),
    })
    .await;
    let error = pull(&Node::with_password(&registry.host, "secret"), &registry.name("1")).await.unwrap_err();
    assert!(matches!(error, PullError::Denied { status: 401, .. }), "{error:?}");
    let asked = elsewhere.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.authorization.is_none()), "{asked:?}");
}

#[tokio::test]
async fn blobs_may_be_elsewhere_but_not_in_clear_text_in_the_world() {
    let content = Content::default().image("1", &layers(), false);
    let elsewhere = Registry::of(content.clone()).await;
    for (location, allowed) in [(format!("http://{}", elsewhere.host), true), ("http://192.0.2.1".to_owned(), false)] {
        let content = content.clone();
        let registry = Registry::new(move |asked| match asked.line.strip_prefix("GET ") {
            Some(path) if path.contains("/blobs/") => Reply::new(302, "").with("location", format!("{location}{path}")),
            _ => content.reply(asked),
        })
        .await;
        let node = Node::new();
        let pulled = pull(&node, &registry.name("1")).await;
        assert_eq!(pulled.is_ok(), allowed, "{pulled:?}");
        assert!(allowed || matches!(pulled, Err(PullError::Redirect { .. })), "{pulled:?}");
    }
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let registry = Registry::new(|asked| Reply::new(302, "").with("location", format!("http://{}/again", asked.host)));
    let error = pull(&Node::new(), &registry.await.name("1")).await.unwrap_err();
    assert!(matches!(error, PullError::Redirect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_download_that_breaks_is_taken_up_where_it_broke() {
    for resumes in [true, false] {
        let content = Content::default().image("1", &layers(), false);
        let broken = AtomicUsize::new(0);
        let registry = Registry::new(move |asked| {
            let mut asked = asked.clone();
            if !resumes {
                asked.range = None;
            }
            let mut reply = content.reply(&asked);
            // Twice, at different places.
            if reply.body.len() > 150 && asked.line.contains("/blobs/") && broken.fetch_add(1, Ordering::Relaxed) < 2 {
                reply.cut = Some(100);
            }
            reply
        })
        .await;
        let node = Node::new();
        let image = pull(&node, &registry.name("1")).await.unwrap();
        assert_eq!(fs::read_to_string(image.layers[1].join("lower")).unwrap().len(), 50_000);
        let ranges: Vec<String> = registry.asked().into_iter().filter_map(|asked| asked.range).collect();
        assert!(ranges.contains(&"bytes=100-".to_owned()), "{ranges:?}");
    }
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused_and_leaves_nothing() {
    for path in ["blobs/", "manifests/sha256:"] {
        let content = Content::default().image("1", &layers(), true);
        let registry = Registry::new(move |asked| {
            let mut reply = content.reply(asked);
            if asked.line.contains(path) {
                *reply.body.last_mut().unwrap() ^= 1;
            }
            reply
        })
        .await;
        let node = Node::new();
        let error = pull(&node, &registry.name("1")).await.unwrap_err();
        assert!(matches!(error, PullError::Content { source: ContentError::Digest { .. }, .. }), "{error:?}");
        assert_nothing_left(&node);
    }
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    for shorter in [true, false] {
        let content = Content::default().image("1", &layers(), false);
        let registry = Registry::new(move |asked| match (asked.line.contains("/blobs/"), &asked.range) {
            (true, Some(_)) => Reply::new(416, ""),
            (true, None) => {
                let mut reply = content.reply(asked);
                reply.body.resize(if shorter { 10 } else { reply.body.len() + 1 }, 0);
                reply
            }
            _ => content.reply(asked),
        })
        .await;
        let error = pull(&Node::new(), &registry.name("1")).await.unwrap_err();
        assert!(matches!(error, PullError::Content { source: ContentError::Size { .. }, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_registrys_words() {
    let registry = Registry::of(Content::default()).await;
    let error = pull(&Node::new(), &registry.name("1")).await.unwrap_err();
    let expected = format!("pull image {}/app:1: not found (404): MANIFEST_UNKNOWN: manifest unknown", registry.host);
    assert_eq!(told(&error), expected);
}

#[tokio::test]
async fn what_is_there_serves_when_the_registry_does_not_answer() {
    let node = Node::new();
    let registry = Registry::of(Content::default().image("1", &layers(), true)).await;
    let (name, other) = (registry.name("1"), registry.name("2"));
    let image = pull(&node, &name).await.unwrap();
    registry.stop().await;

    assert_eq!(pull(&node, &name).await.unwrap().digest, image.digest);
    let always = node.images.ensure(&name, PullPolicy::Always, None, &Silent).await;
    assert!(matches!(always, Err(PullError::Unreachable { .. })), "{always:?}");
    let other = told(&pull(&node, &other).await.unwrap_err());
    assert!(other.contains("cannot reach http://127.0.0.1:") && other.contains("Connection refused"), "{other}");
}

#[tokio::test]
async fn what_is_there_serves_while_the_registry_is_ill_but_not_when_it_refuses() {
    for (status, serves) in [(500, true), (429, true), (503, true), (401, false), (404, false)] {
        let content = Content::default().image("1", &layers(), false);
        let asked_before = AtomicUsize::new(0);
        let registry = Registry::new(move |asked| {
            // Manifest, configuration, two layers.
            let well = asked_before.fetch_add(1, Ordering::Relaxed) < 4;
            if well { content.reply(asked) } else { Reply::new(status, "") }
        })
        .await;
        let node = Node::new();
        pull(&node, &registry.name("1")).await.unwrap();
        let again = pull(&node, &registry.name("1")).await;
        assert_eq!(again.is_ok(), serves, "{status}: {again:?}");
    }
}

#[tokio::test]
async fn manifests_have_bounds() {
    let descriptor = json!({ "digest": Digest::of(b"").to_string(), "size": 1 });
    let platform = json!({ "os": "linux", "architecture": "vax" });
    let many = vec![Tar::default().end(); 129];
    let content = Content::default()
        .manifest("large", vec![b' '; (4 << 20) + 1])
        .manifest("odd", b"{}".to_vec())
        .manifest(
            "vax",
            json!({ "manifests": [{ "digest": descriptor["digest"], "size": 1, "platform": platform }] })
                .to_string()
                .into(),
        )
        .image("many", &many, false);
    let registry = Registry::of(content).await;
    for (tag, expected) in [
        ("large", "the manifest is too large: at most 4194304 bytes"),
        ("odd", "the manifest is malformed"),
        ("vax", "no matching manifest for linux/"),
        ("many", "the image is too large: at most 128 layers"),
    ] {
        let node = Node::new();
        let told = told(&pull(&node, &registry.name(tag)).await.unwrap_err());
        assert!(told.contains(expected), "{tag}: {told}");
        assert_nothing_left(&node);
    }
}

#[tokio::test]
async fn a_reference_that_is_none_is_refused() {
    let error = pull(&Node::new(), "NOT A NAME").await.unwrap_err();
    assert!(matches!(error, PullError::Reference(_)), "{error:?}");
}

#[test]
fn a_full_disk_is_told_as_such() {
    in_own_mount_namespace(|| {
        let scratch = tempfile::tempdir().unwrap();
        let options = Some("size=1m");
        nix::mount::mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), options).unwrap();
        let images = Images::open(&scratch.path().join("images")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = scratch.path().to_owned();
        let node = Node { scratch, images };
        runtime.block_on(async {
            let large = Tar::default().file("large", &"x".repeat(4 << 20)).end();
            let registry = Registry::of(Content::default().image("1", &[large], false)).await;
            let error = pull(&node, &registry.name("1")).await.unwrap_err();
            assert!(matches!(error, PullError::NoSpace { .. }), "{error:?}");
            assert_nothing_left(&node);
        });
        nix::mount::umount(&path).unwrap();
    });
}

impl Node {
    pub(super) fn with_password(host: &str, password: &str) -> Self {
        let node = Self::new();
        let credentials = vec![(host.to_owned(), credentials(password))];
        Self { images: node.images.clone().with_credentials(credentials), ..node }
    }
}
