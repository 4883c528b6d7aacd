//! A small API with a bit of everything, for the tests of the codecs.

use crate::{OperationSchema, Protocol, ServiceSchema};

pub(crate) mod schema {
    use crate::{Constraints, Kind, Member, Pattern, Shape, TimestampFormat};

    pub(crate) static NAME: Shape =
        Shape::of("Name", Kind::String).with(Constraints::NONE.length(Some(1), Some(5)).pattern({
            static PATTERN: Pattern = Pattern::new(r"[\w-]*");
            &PATTERN
        }));
    pub(crate) static TEXT: Shape = Shape::of("Text", Kind::String);
    pub(crate) static SECRET: Shape =
        Shape::of("Secret", Kind::String).with(Constraints::NONE.length(None, Some(4))).secret();
    pub(crate) static COUNT: Shape =
        Shape::of("Count", Kind::Integer).with(Constraints::NONE.range(Some(1.0), Some(10.0)));
    pub(crate) static SIZE: Shape = Shape::of("Size", Kind::Long);
    pub(crate) static RATIO: Shape = Shape::of("Ratio", Kind::Double);
    pub(crate) static FLAG: Shape = Shape::of("Flag", Kind::Boolean);
    pub(crate) static TIME: Shape = Shape::of("Time", Kind::Timestamp(TimestampFormat::Default));
    pub(crate) static DATA: Shape = Shape::of("Data", Kind::Blob).with(Constraints::NONE.length(None, Some(3)));
    pub(crate) static COLOUR: Shape = Shape::of("Colour", Kind::Enum(&["red", "dark-blue"]));
    pub(crate) static ANY: Shape = Shape::of("Any", Kind::Document);
    pub(crate) static NAMES: Shape =
        Shape::of("Names", Kind::List { item: &NAME, item_name: "member", flattened: false })
            .with(Constraints::NONE.length(Some(1), Some(2)));
    pub(crate) static COLOURS: Shape =
        Shape::of("Colours", Kind::List { item: &COLOUR, item_name: "item", flattened: true });
    pub(crate) static LABELS: Shape = Shape::of(
        "Labels",
        Kind::Map { key: &NAME, value: &TEXT, key_name: "key", value_name: "value", flattened: false },
    );
    pub(crate) static THINGS: Shape =
        Shape::of("Things", Kind::List { item: &THING, item_name: "member", flattened: false });
    pub(crate) static CHOICE: Shape = Shape::of(
        "Choice",
        Kind::Structure { members: &[Member::of("left", &TEXT), Member::of("right", &TEXT)], union: true },
    );
    pub(crate) static THING: Shape = Shape::of(
        "Thing",
        Kind::Structure {
            members: &[
                Member::of("Name", &NAME).required(),
                Member::of("Secret", &SECRET),
                Member::of("Count", &COUNT),
                Member::of("Size", &SIZE),
                Member::of("Ratio", &RATIO),
                Member::of("Flag", &FLAG),
                Member::of("Time", &TIME),
                Member::of("Data", &DATA),
                Member::of("Colour", &COLOUR),
                Member::of("Any", &ANY),
                Member::of("Names", &NAMES),
                Member::of("Colours", &COLOURS),
                Member::of("Labels", &LABELS),
                Member::of("Things", &THINGS),
                Member::of("Choice", &CHOICE),
            ],
            union: false,
        },
    );
}

pub(crate) mod types {
    use std::collections::BTreeMap;

    use estiva_model::Timestamp;

    use crate::{Document, enumeration, structures};

    #[derive(Clone, PartialEq, Default)]
    pub(crate) struct Choice {
        pub(crate) left: Option<String>,
        pub(crate) right: Option<String>,
    }

    structures! { Choice = CHOICE [left, right]; }

    #[derive(Clone, PartialEq, Default)]
    pub(crate) struct Thing {
        pub(crate) name: String,
        pub(crate) secret: Option<String>,
        pub(crate) count: Option<i32>,
        pub(crate) size: Option<i64>,
        pub(crate) ratio: Option<f64>,
        pub(crate) flag: Option<bool>,
        pub(crate) time: Option<Timestamp>,
        pub(crate) data: Option<Vec<u8>>,
        pub(crate) colour: Option<Colour>,
        pub(crate) any: Option<Document>,
        pub(crate) names: Option<Vec<String>>,
        pub(crate) colours: Option<Vec<Colour>>,
        pub(crate) labels: Option<BTreeMap<String, String>>,
        pub(crate) things: Option<Vec<Thing>>,
        pub(crate) choice: Option<Choice>,
    }

    structures! {
        Thing = THING [
            name, secret, count, size, ratio, flag, time, data, colour, any, names, colours, labels, things, choice
        ];
    }

    enumeration! {
        Colour {
            Red = "red",
            DarkBlue = "dark-blue",
        }
    }
}

pub(crate) use types::{Choice, Colour, Thing};

pub(crate) static SERVICE: ServiceSchema = ServiceSchema {
    name: "toy",
    signing_name: "toy",
    target_prefix: "Toy_20260101",
    api_version: "2026-01-01",
    protocol: Protocol::AwsJson11,
    xml_namespace: "https://toy.example/",
    violation_code: "ValidationError",
    enumeration: None,
    operations: &[&ECHO],
};

pub(crate) static ECHO: OperationSchema = OperationSchema::new("Echo", &schema::THING, Some(&schema::THING));

/// One of everything, valid; what JSON and XML cannot carry is left out.
pub(crate) fn thing() -> Thing {
    Thing {
        name: "outer".to_owned(),
        secret: Some("key!".to_owned()),
        count: Some(3),
        size: Some(i64::MIN),
        ratio: Some(0.1),
        flag: Some(false),
        time: Some(estiva_model::Timestamp(1_763_677_800_123)),
        data: Some(vec![0, 255]),
        colour: Some(Colour::DarkBlue),
        any: Some(serde_json::json!({"a": [1, null, "x"]})),
        names: Some(vec!["a".to_owned(), "b-c".to_owned()]),
        colours: Some(vec![Colour::Red, Colour::DarkBlue]),
        labels: Some([("k".to_owned(), "v & <w>".to_owned()), ("l".to_owned(), String::new())].into()),
        things: Some(vec![Thing { name: "inner".to_owned(), ..Thing::default() }]),
        choice: Some(Choice { left: None, right: Some("ü 😀 \n\"".to_owned()) }),
    }
}
