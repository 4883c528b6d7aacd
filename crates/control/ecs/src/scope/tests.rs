//! ARNs and names that callers give: each means one resource, or none.

use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use proptest::prelude::*;

use super::*;
use crate::name::Revision;
use crate::{cluster, container_instance, service, task, task_definition};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn scope() -> Scope {
    Scope { account: AccountId::default(), region: Region::default() }
}

/// A kind, what its ARN is without a prefix, and whether there is a short form without the cluster.
const RESOURCES: [(&str, &str, Option<&str>); 7] = [
    ("cluster", "prod", None),
    ("capacity-provider", "spot", None),
    ("task-definition", "web:3", None),
    ("service", "prod/web", Some("web")),
    ("task", "prod/0123456789abcdef0123456789abcdef", Some(ID)),
    ("container-instance", "prod/0123456789abcdef0123456789abcdef", Some(ID)),
    ("attachment", "0123456789abcdef0123456789abcdef", None),
];

/// Ways to write the ARN of something else so that it looks like one of this.
fn tricks(kind: &str, resource: &str) -> Vec<String> {
    let name = resource.rsplit('/').next().unwrap();
    let base = format!("arn:aws:ecs:us-east-1:000000000000:{kind}");
    vec![
        format!("{base}/../{name}"),
        format!("{base}/./{name}"),
        format!("{base}//{name}"),
        format!("{base}/{resource}/"),
        format!("{base}/{resource}/.."),
        format!("{base}/x/../{resource}"),
        format!("{base}/a/b/c/{name}"),
        format!("{base}/{}", resource.replace('/', "%2F") + "%00"),
        format!("{base}/%2e%2e/{name}"),
        format!("{base}%2F{name}"),
        format!("{base}/{resource}\n"),
        format!("{base}/{resource} "),
        format!("{base}/ {resource}"),
        format!("{base}/{resource}\0"),
        format!("{base}/{resource}?x"),
        format!("{base}/{resource}#x"),
        format!("{base}/{resource}*"),
        format!("{base}/{resource}\u{e9}"),
        format!("{base}/\u{202e}{resource}"),
        format!("{base}\\{name}"),
        format!("{base}:{name}"),
        base.clone(),
        format!("{base}/"),
        format!("arn:aws:ecs:us-east-1:000000000000:{}/{resource}", kind.to_uppercase()),
        format!("arn:aws:ecs:us-east-1:000000000000:/{kind}/{resource}"),
        format!("arn:aws:ecs:us-east-1:000000000000:x/{kind}/{resource}"),
        format!("arn:aws:ecs:us-east-1:000000000000:{kind}s/{resource}"),
        format!("arn:aws:ecs:eu-west-1:000000000000:{kind}/{resource}"),
        format!("arn:aws:ecs:US-EAST-1:000000000000:{kind}/{resource}"),
        format!("arn:aws:ecs:us-east-1:111111111111:{kind}/{resource}"),
        format!("arn:aws:ecs:us-east-1::{kind}/{resource}"),
        format!("arn:aws:ecs::000000000000:{kind}/{resource}"),
        format!("arn:aws-cn:ecs:us-east-1:000000000000:{kind}/{resource}"),
        format!("arn::ecs:us-east-1:000000000000:{kind}/{resource}"),
        format!("arn:aws:logs:us-east-1:000000000000:{kind}/{resource}"),
        format!("arn:aws:ECS:us-east-1:000000000000:{kind}/{resource}"),
        format!("arn:aws:ecs:us-east-1:000000000000:00:{kind}/{resource}"),
        format!("arn:{base}/{resource}"),
    ]
}

#[test]
fn an_arn_means_what_it_is_written_for_and_nothing_else() {
    let scope = scope();
    for (kind, resource, short) in RESOURCES {
        let name = resource.rsplit('/').next().unwrap();
        assert_eq!(scope.name_in(kind, &scope.arn(format!("{kind}/{resource}"))), Some(name), "{kind}");
        assert_eq!(scope.name_in(kind, name), Some(name), "{kind}");
        if let Some(short) = short {
            assert_eq!(scope.name_in(kind, &scope.arn(format!("{kind}/{short}"))), Some(name), "{kind}");
        }
        for (other, resource, _) in RESOURCES.into_iter().filter(|(other, ..)| *other != kind) {
            assert_eq!(scope.name_in(kind, &scope.arn(format!("{other}/{resource}"))), None, "{other} as {kind}");
        }
        for trick in tricks(kind, resource) {
            assert_eq!(scope.name_in(kind, &trick), None, "{kind}: {trick:?}");
            assert_eq!(scope.parts_of(kind, &trick).filter(|parts| parts.len() < 3), None, "{kind}: {trick:?}");
        }
    }
}

/// What each way of naming a resource makes of a text: whether it is taken for a name that there may be.
type Reader = fn(&Scope, &str) -> bool;

const READERS: [(&str, &str, Reader); 6] = [
    ("cluster", "prod", |scope, text| cluster::name_of(scope, Some(text)).is_ok()),
    ("service", "prod/web", |scope, text| service::find(&view(), scope, "prod", text).is_ok()),
    ("task", "prod/0123456789abcdef0123456789abcdef", |scope, text| {
        task::reference::find(&view(), scope, "prod", text).is_ok()
    }),
    ("container-instance", "prod/0123456789abcdef0123456789abcdef", |scope, text| {
        container_instance::find(&view(), scope, "prod", text).is_ok()
    }),
    ("task-definition", "web:3", |scope, text| task_definition::reference::find(&view(), scope, text).is_ok()),
    ("capacity-provider", "spot", |scope, text| {
        crate::name::is_legal(scope.name_in("capacity-provider", text).unwrap_or_default())
    }),
];

fn view() -> estiva_store::Snapshot {
    Store::open(Memory::new(), crate::tables(Schema::new(1))).unwrap().view()
}

#[test]
fn no_reader_takes_a_trick_for_a_name() {
    let scope = scope();
    for (kind, resource, reads) in READERS {
        let name = resource.rsplit('/').next().unwrap();
        assert!(reads(&scope, &scope.arn(format!("{kind}/{resource}"))), "{kind}");
        assert!(reads(&scope, name), "{kind}");
        for trick in tricks(kind, resource) {
            assert!(!reads(&scope, &trick), "{kind}: {trick:?}");
        }
        for trick in [
            "..",
            "../x",
            "x/..",
            "/x",
            "x/",
            "a/b",
            "x\n",
            " x",
            "x ",
            "x\0",
            "x%2F",
            "%2e%2e",
            "\u{e9}",
            "x:",
            ":x",
            "ARN:aws:ecs:x",
            "x*",
        ] {
            assert!(!reads(&scope, trick), "{kind}: {trick:?}");
        }
    }
    let of_other_cluster = scope.arn("service/other/web");
    assert!(service::find(&view(), &scope, "prod", &of_other_cluster).is_err());
}

proptest! {
    #[test]
    fn what_is_written_is_read(kind in 0..RESOURCES.len(), cluster in "[A-Za-z0-9_-]{1,20}", name in "[A-Za-z0-9_-]{1,20}") {
        let (kind, _, short) = RESOURCES[kind];
        let arn = scope().arn(if short.is_some() { format!("{kind}/{cluster}/{name}") } else { format!("{kind}/{name}") });
        prop_assert_eq!(scope().name_in(kind, &arn), Some(name.as_str()));
    }

    #[test]
    fn nothing_else_is_read_as_it(kind in 0..RESOURCES.len(), place in any::<prop::sample::Index>(), to in "\\PC") {
        let (kind, resource, _) = RESOURCES[kind];
        let arn = scope().arn(format!("{kind}/{resource}"));
        let place = place.index(arn.len());
        let mut changed = arn.clone();
        changed.replace_range(place..=place, &to);
        if changed.starts_with("arn:") && let Some(name) = scope().name_in(kind, &changed) {
            // Only another name, or another cluster, makes another ARN of this kind.
            let start = arn.len() - resource.len();
            prop_assert!(changed == arn || place >= start, "{}", changed);
            prop_assert!(changed.ends_with(name));
        }
    }

    #[test]
    fn a_revision_has_one_name(text in "[a-z]{1,3}:[0-9+ -]{1,6}") {
        if let Ok(Revision { family, revision: Some(revision) }) = Revision::parse(&text) {
            prop_assert_eq!(format!("{family}:{revision}"), text);
        }
    }
}
