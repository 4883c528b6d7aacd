//! Pages, and tokens that others made.

use estiva_api_ecs::types::{ListServicesRequest, ListTasksRequest};
use estiva_model::Region;
use proptest::prelude::*;

use super::*;
use crate::container_instance::tests::bench::owner;

const KEY: [u8; 32] = [7; 32];

fn asked<Input>(input: Input) -> Request<Input> {
    Request { input, caller: owner(), request_id: String::new() }
}

fn tasks_of(cluster: &str) -> Request<ListTasksRequest> {
    asked(ListTasksRequest { cluster: Some(cluster.to_owned()), ..ListTasksRequest::default() })
}

fn tokens() -> ListTokens {
    PageTokens::new(KEY).of(&tasks_of("default"))
}

#[test]
fn pages_follow_each_other() {
    let rows = ["a", "b", "c"];
    let from = |after: &str| rows.into_iter().filter(|row| *row > after).collect::<Vec<_>>();
    let first = Page::new(tokens(), None, Some(2)).unwrap();
    let (page, token) = first.cut(from(&first.after).into_iter(), |row| (*row).to_owned());
    assert_eq!(page, ["a", "b"]);
    // Another process of the same installation reads it.
    let second = Page::new(tokens(), token.as_deref(), Some(2)).unwrap();
    let (page, token) = second.cut(from(&second.after).into_iter(), |row| (*row).to_owned());
    assert_eq!((page, token), (vec!["c"], None));
}

#[test]
fn the_size_may_differ_from_page_to_page() {
    let token = tokens().seal("a");
    let mut next = tasks_of("default");
    next.input.max_results = Some(3);
    next.input.next_token = Some(token.clone());
    assert_eq!(PageTokens::new(KEY).of(&next).open(&token).as_deref(), Some("a"));
}

#[test]
fn a_strange_token_or_size_is_refused() {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let strange = ["%%", "", "YQ", "AQ", &encoded("a"), &encoded("000000000000/us-east-1/default"), &"A".repeat(4096)];
    for token in strange {
        let refused = Page::new(tokens(), Some(token), None).unwrap_err();
        assert_eq!(refused.to_string(), "InvalidParameterException: Invalid token", "{token}");
    }
    for size in [0, 101] {
        assert!(Page::new(tokens(), None, Some(size)).is_err(), "{size}");
    }
}

#[test]
fn a_token_is_good_for_its_own_list_alone() {
    let token = tokens().seal("a");
    let others = [
        PageTokens::new([8; 32]).of(&tasks_of("default")),
        PageTokens::new(KEY).of(&tasks_of("other")),
        PageTokens::new(KEY).of(&asked(ListTasksRequest::default())),
        PageTokens::new(KEY)
            .of(&asked(ListServicesRequest { cluster: Some("default".to_owned()), ..ListServicesRequest::default() })),
        PageTokens::new(KEY).of(&{
            let mut elsewhere = tasks_of("default");
            elsewhere.caller.region = Region::parse("eu-west-1").unwrap();
            elsewhere
        }),
    ];
    for other in others {
        assert_eq!(other.open(&token), None, "{}", other.list);
    }
}

proptest! {
    #[test]
    fn a_position_comes_back(position in ".{1,40}") {
        prop_assert_eq!(tokens().open(&tokens().seal(&position)), Some(position));
    }

    #[test]
    fn a_token_that_was_changed_is_refused(position in "[a-z/]{1,20}", place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let token = tokens().seal(&position);
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &to);
        prop_assert_eq!(tokens().open(&changed).is_some(), changed == token);
    }

    #[test]
    fn nothing_else_is_read(token in "[A-Za-z0-9_-]{0,80}") {
        prop_assert_eq!(tokens().open(&token), None);
    }
}
