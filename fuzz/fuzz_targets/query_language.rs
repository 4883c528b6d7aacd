//! The cluster query language: nothing makes the parser panic or hang, and what it has read it writes so that it reads it again.

#![no_main]

use std::borrow::Cow;

use estiva_planning::expression::{Expression, Instance};
use libfuzzer_sys::fuzz_target;

struct Node;

impl Instance for Node {
    fn is_agent_connected(&self) -> bool {
        true
    }

    fn agent_version(&self) -> Option<Cow<'_, str>> {
        Some("1.2.3".into())
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        (name.len() % 2 == 0).then(|| Cow::Owned(name.to_owned()))
    }

    fn ec2_instance_id(&self) -> Cow<'_, str> {
        "i-0a".into()
    }

    fn registered_at_ms(&self) -> i64 {
        1_795_000_000_000
    }

    fn running_tasks_count(&self) -> i64 {
        3
    }

    fn has_task_group(&self, test: &dyn Fn(&str) -> bool) -> bool {
        test("service:web")
    }
}

fuzz_target!(|text: &str| {
    if let Ok(expression) = Expression::parse(text) {
        let written = expression.to_string();
        // Quotes may make it longer than an expression may be.
        if written.chars().count() <= 2000 {
            assert_eq!(Expression::parse(&written).as_ref(), Ok(&expression), "{written}");
        }
        expression.holds(&Node);
    }
});
