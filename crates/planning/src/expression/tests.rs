//! Examples with their answers, and properties: what is written is read again, and evaluation agrees with a naive second one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Default)]
struct Node {
    connected: bool,
    version: Option<String>,
    attributes: BTreeMap<String, String>,
    registered_at_ms: i64,
    running: i64,
    groups: Vec<String>,
}

impl Instance for Node {
    fn is_agent_connected(&self) -> bool {
        self.connected
    }

    fn agent_version(&self) -> Option<Cow<'_, str>> {
        self.version.as_deref().map(Cow::Borrowed)
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        self.attributes.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }

    fn ec2_instance_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("i-0a1b")
    }

    fn registered_at_ms(&self) -> i64 {
        self.registered_at_ms
    }

    fn running_tasks_count(&self) -> i64 {
        self.running
    }

    fn has_task_group(&self, test: &dyn Fn(&str) -> bool) -> bool {
        self.groups.iter().any(|group| test(group))
    }
}

fn node() -> Node {
    let attributes =
        [("ecs.instance-type", "g2.2xlarge"), ("stack", "prod"), ("gpu", ""), ("rank", "10"), ("name", "it's (x)")];
    Node {
        connected: true,
        version: Some("1.82.0".to_owned()),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        // 2026-11-10T00:00:00Z
        registered_at_ms: 1_794_268_800_000,
        running: 3,
        groups: vec!["service:web".to_owned(), "family:job".to_owned()],
    }
}

fn holds(text: &str) -> bool {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&node())
}

#[test]
fn what_is_true_of_an_instance() {
    for text in [
        "attribute:ecs.instance-type == g2.2xlarge",
        "attribute:ecs.instance-type =~ g2.* and attribute:stack != test",
        "attribute:ecs.instance-type =~ (g2|g3)[.].*",
        "(attribute:ecs.instance-type =~ (g2|t[23])\\..*)",
        "attribute:stack in [test, prod]",
        "attribute:stack not_in ['a b', \"c\"]",
        "attribute:gpu exists && attribute:none !exists",
        "attribute:name == 'it''s (x)'",
        "attribute:none != prod",
        "attribute:rank > 9",
        "attribute:stack>p and attribute:stack<q",
        "task:group == service:web",
        "not(task:group == database)",
        "task:group =~ service:.*",
        "!(task:group == x) and !agentConnected==false",
        "agentConnected equals true",
        "agentVersion >= 1.82 and agentVersion < 1.100.0 and agentVersion == 1.82",
        "registeredAt > 2026-11-09 and registeredAt < 2026-11-10T00:00:01+00:00 and registeredAt == 2026-11-10",
        "runningTasksCount == 3 and runningTasksCount <= 3 and runningTasksCount greater_than 2",
        "ec2InstanceId in [i-0a1b]",
        "agentConnected == false or agentConnected == true and runningTasksCount > 1",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn what_is_not() {
    for text in [
        "attribute:ecs.instance-type =~ g2",
        "attribute:none == prod",
        "attribute:none > 1",
        "attribute:none =~ .*",
        "task:group != service:web",
        "not (agentConnected == true)",
        "agentConnected == true and runningTasksCount > 3 or agentConnected == false",
        "registeredAt > 2026-11-10",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn some_look_at_tasks() {
    let looks = |text: &str| Expression::parse(text).unwrap().looks_at_tasks();
    for text in [
        "task:group == a",
        "runningTasksCount > 1",
        "agentConnected == true and (not (task:group == a) or attribute:b exists)",
    ] {
        assert!(looks(text), "{text}");
    }
    assert!(!looks("agentConnected == true and not (attribute:task exists)"));
}

#[test]
fn an_error_says_what_was_expected_and_where() {
    let deep = format!("{}agentConnected == true", "not ".repeat(65));
    let long = "a".repeat(2001);
    for (text, position, part) in [
        ("", 0, "expected agentConnected"),
        ("memory > 3", 0, "expected agentConnected"),
        ("attribute: == x", 0, "expected agentConnected"),
        ("attribute:a", 11, "expected an operator"),
        ("attribute:a ~ b", 12, "expected an operator"),
        ("attribute:a ==", 14, "expected a value"),
        ("attribute:a == b c", 17, "expected 'and', 'or' or the end"),
        ("attribute:a == 'b", 15, "is not closed"),
        ("attribute:a in b", 15, "expected '['"),
        ("attribute:a in [b", 17, "expected ',' or ']'"),
        ("attribute:a in []", 16, "expected a value"),
        ("(agentConnected == true", 23, "expected ')'"),
        ("agentConnected == yes", 18, "no value of agentConnected"),
        ("agentConnected > true", 15, "is not for agentConnected"),
        ("runningTasksCount == many", 21, "no value of runningTasksCount"),
        ("runningTasksCount exists", 18, "is not for runningTasksCount"),
        ("registeredAt > yesterday", 15, "no value of registeredAt"),
        ("attribute:a =~ (b", 15, "no regular expression"),
        ("attribute:a =~ 'b)|(c'", 15, "no regular expression"),
        ("agentConnected == true and", 26, "expected agentConnected"),
        (&deep, 256, "inside each other"),
        (&long, 2000, "too many"),
    ] {
        let error = Expression::parse(text).expect_err(text);
        assert!(error.position == position && error.message.contains(part), "{text}: {error}");
    }
}

/// An expression as the property's own tree, evaluated by the rules of the guide and nothing else.
#[derive(Debug, Clone)]
enum Naive {
    Is(&'static str, bool, String),
    OneOf(&'static str, bool, Vec<String>),
    Exists(&'static str, bool),
    Tasks(&'static str, i64),
    Not(Box<Naive>),
    Both(Box<Naive>, Box<Naive>),
    Either(Box<Naive>, Box<Naive>),
}

impl Naive {
    fn text(&self) -> String {
        let quoted = |value: &str| format!("\"{}\"", value.replace('"', "\"\""));
        match self {
            Self::Is(name, equal, value) => {
                format!("attribute:{name} {} {}", if *equal { "==" } else { "!=" }, quoted(value))
            }
            Self::OneOf(name, one, values) => {
                let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                format!("attribute:{name} {} [{}]", if *one { "in" } else { "not_in" }, values.join(","))
            }
            Self::Exists(name, there) => format!("attribute:{name} {}", if *there { "exists" } else { "!exists" }),
            Self::Tasks(sign, count) => format!("runningTasksCount{sign}{count}"),
            Self::Not(inside) => format!("not({})", inside.text()),
            Self::Both(one, other) => format!("({}) and ({})", one.text(), other.text()),
            Self::Either(one, other) => format!("({})||({})", one.text(), other.text()),
        }
    }

    fn holds(&self, node: &Node) -> bool {
        match self {
            Self::Is(name, equal, value) => (node.attributes.get(*name) == Some(value)) == *equal,
            Self::OneOf(name, one, values) => node.attributes.get(*name).is_some_and(|it| values.contains(it)) == *one,
            Self::Exists(name, there) => node.attributes.contains_key(*name) == *there,
            Self::Tasks(">", count) => node.running > *count,
            Self::Tasks("<=", count) => node.running <= *count,
            Self::Tasks(_, count) => node.running == *count,
            Self::Not(inside) => !inside.holds(node),
            Self::Both(one, other) => one.holds(node) && other.holds(node),
            Self::Either(one, other) => one.holds(node) || other.holds(node),
        }
    }
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[abc]", "[ '\"()=!\\[\\]a-c]{1,6}"]
}

fn naive() -> impl Strategy<Value = Naive> {
    let name = prop::sample::select(vec!["a", "b", "ecs.c-d_e"]);
    let leaf = prop_oneof![
        (name.clone(), any::<bool>(), values()).prop_map(|(name, equal, value)| Naive::Is(name, equal, value)),
        (name.clone(), any::<bool>(), prop::collection::vec(values(), 1..4))
            .prop_map(|(name, one, list)| Naive::OneOf(name, one, list)),
        (name, any::<bool>()).prop_map(|(name, there)| Naive::Exists(name, there)),
        (prop::sample::select(vec![">", "<=", "=="]), 0..5_i64).prop_map(|(sign, count)| Naive::Tasks(sign, count)),
    ];
    leaf.prop_recursive(6, 32, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inside| Naive::Not(Box::new(inside))),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| Naive::Both(Box::new(one), Box::new(other))),
            (inner.clone(), inner).prop_map(|(one, other)| Naive::Either(Box::new(one), Box::new(other))),
        ]
    })
}

fn nodes() -> impl Strategy<Value = Node> {
    let attributes = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "ecs.c-d_e"]), values(), 0..3);
    (attributes, 0..5_i64).prop_map(|(attributes, running)| Node {
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        running,
        ..Node::default()
    })
}

proptest! {
    #[test]
    fn evaluation_agrees_with_the_naive_one(naive in naive(), node in nodes()) {
        let expression = Expression::parse(&naive.text()).expect("it was written by the rules");
        prop_assert_eq!(expression.holds(&node), naive.holds(&node), "{}", naive.text());
    }

    #[test]
    fn what_is_written_is_read(naive in naive()) {
        let expression = Expression::parse(&naive.text()).expect("it was written by the rules");
        let again = Expression::parse(&expression.to_string());
        prop_assert_eq!(again.as_ref(), Ok(&expression), "{}", expression);
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC{0,60}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn what_looks_like_it_is_written_again(
        words in prop::collection::vec(prop::sample::select(vec![
            "attribute:a", "==", "!", "x", "(", ")", "and", "or", "not", "in", "[", "]", ",", "=~", "'q'", "runningTasksCount",
            "3", ">", "exists", "registeredAt", "2026-01-01", "agentVersion", "1.2",
        ]), 0..12),
    ) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            prop_assert_eq!(Expression::parse(&expression.to_string()), Ok(expression));
        }
    }
}
