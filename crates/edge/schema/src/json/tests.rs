//! Round trips and refusals of JSON.

use estiva_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::check::Checks;
use crate::codec::Codec;
use crate::json::{self, AWS_JSON_11};
use crate::toy::{self, Choice, Colour, Thing, thing};
use crate::{ApiError, DecodeError, decode_input};

/// The thing that a request's body means, or the error.
fn ask(body: &str) -> Result<Thing, ApiError> {
    let mut thing = Thing::default();
    decode_input(&toy::SERVICE, &toy::ECHO, &AWS_JSON_11, body.as_bytes(), &mut thing)?;
    Ok(thing)
}

/// The message of the refusal.
fn refusal(body: &str) -> String {
    let error = ask(body).unwrap_err();
    assert_eq!((error.status, &*error.code), (400, "ValidationError"), "{error}");
    error.message
}

/// The message of a body that is not the operation's input at all.
fn malformed(body: &str) -> String {
    let error = ask(body).unwrap_err();
    assert_eq!((error.status, &*error.code), (400, "SerializationException"), "{error}");
    error.message
}

#[test]
fn a_value_is_what_it_was() {
    let bytes = json::to_vec(&thing());
    assert_eq!(json::from_slice::<Thing>(&bytes), Ok(thing()));
    assert_eq!(ask(std::str::from_utf8(&bytes).unwrap()), Ok(thing()));
    assert_eq!(json::from_value::<Thing>(&json::to_value(&thing())), Ok(thing()));
}

#[test]
fn the_form_on_the_wire() {
    let thing = Thing {
        name: "a".to_owned(),
        time: Some(Timestamp(1_500)),
        data: Some(b"hi".to_vec()),
        colours: Some(vec![]),
        ratio: Some(f64::NEG_INFINITY),
        ..Thing::default()
    };
    let expected = r#"{"Name":"a","Ratio":"-Infinity","Time":1.5,"Data":"aGk=","Colours":[]}"#;
    assert_eq!(String::from_utf8(json::to_vec(&thing)).unwrap(), expected);
    assert_eq!(json::from_slice::<Thing>(expected.as_bytes()), Ok(thing));
}

#[test]
fn what_is_unknown_or_null_is_as_if_it_were_not_there() {
    let found = ask(r#"{"Name": "a", "Later": {"x": [1, {"y": null}]}, "Count": null, "Names": ["b", null]}"#);
    let expected = Thing { name: "a".to_owned(), names: Some(vec!["b".to_owned()]), ..Thing::default() };
    assert_eq!(found, Ok(expected));
}

#[test]
fn whole_numbers_may_be_written_as_floating_point() {
    assert_eq!(ask(r#"{"Name": "a", "Count": 3.0, "Size": 1e3}"#).unwrap().size, Some(1000));
}

#[test]
fn a_value_of_another_kind_is_refused_by_its_place() {
    for (body, place) in [
        (r#"{"Name": 5}"#, "'name'"),
        (r#"{"Name": "a", "Count": "3"}"#, "'count'"),
        (r#"{"Name": "a", "Count": 3.5}"#, "'count'"),
        (r#"{"Name": "a", "Count": 4294967297}"#, "'count'"),
        (r#"{"Name": "a", "Size": 18446744073709551615}"#, "'size'"),
        (r#"{"Name": "a", "Flag": "true"}"#, "'flag'"),
        (r#"{"Name": "a", "Data": "?"}"#, "'data'"),
        (r#"{"Name": "a", "Time": "now"}"#, "'time'"),
        (r#"{"Name": "a", "Time": "NaN"}"#, "'time'"),
        (r#"{"Name": "a", "Names": "b"}"#, "'names'"),
        (r#"{"Name": "a", "Things": [{"Name": "b"}, {"Name": {}}]}"#, "'things.2.member.name'"),
        (r#"{"Name": "a", "Labels": {"k": 1}}"#, "'labels.k.member'"),
    ] {
        let message = malformed(body);
        assert!(message.starts_with(place), "{body}: {message}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for body in [
        "null",
        "[]",
        "x",
        r#"{"Name": "a""#,
        r#"{"Name": "a"} {}"#,
        r#"{"Name": "a", "Name": "b"}"#,
        r#"{"Name": "a", "Labels": {"k": "1", "k": "2"}}"#,
        r#"{"Name": "\ud800"}"#,
        r#"{"Name": "a", "Ratio": 1e999}"#,
        r#"{"Name": "a", "Size": 123456789012345678901234567890}"#,
    ] {
        malformed(body);
    }
    let mut thing = Thing::default();
    let not_utf8 = b"{\"Name\": \"\xff\"}";
    assert!(decode_input(&toy::SERVICE, &toy::ECHO, &AWS_JSON_11, not_utf8, &mut thing).is_err());
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("{}{}", r#"{"Name":"a","Things":["#.repeat(depth), "]}".repeat(depth));
    assert!(ask(&nested(10)).is_ok());
    for depth in [40, 100_000] {
        assert!(malformed(&nested(depth)).ends_with("nested too deeply"));
    }
    let document = |depth: usize| format!(r#"{{"Name":"a","Any":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(ask(&document(50)).is_ok());
    malformed(&document(100_000));
    let unknown = format!(r#"{{"Name":"a","Later":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(ask(&unknown).is_ok());
}

#[test]
fn an_empty_body_is_an_input_without_members() {
    assert_eq!(
        refusal(""),
        "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn every_violation_is_told_with_its_place() {
    let place = |body: &str| {
        let message = refusal(body);
        let told = message.split_once(": ").unwrap();
        assert_eq!(told.0, "1 validation error detected");
        told.1.to_owned()
    };
    for (body, expected) in [
        (
            r#"{"Name": ""}"#,
            "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            r#"{"Name": "ääääää"}"#,
            "2: Value 'ääääää' at 'name' failed to satisfy constraint: Member must have length less than or equal to 5; \
             Value 'ääääää' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w-]*",
        ),
        (
            r#"{"Name": "a", "Count": 11}"#,
            "Value '11' at 'count' failed to satisfy constraint: Member must have value less than or equal to 10",
        ),
        (
            r#"{"Name": "a", "Secret": "open sesame"}"#,
            "Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 4",
        ),
        (
            r#"{"Name": "a", "Colour": "green"}"#,
            "Value 'green' at 'colour' failed to satisfy constraint: Member must satisfy enum value set: [red, dark-blue]",
        ),
        (
            r#"{"Name": "a", "Names": []}"#,
            "Value at 'names' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            r#"{"Name": "a", "Names": ["b", "c d"]}"#,
            "Value 'c d' at 'names.2.member' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w-]*",
        ),
        (
            r#"{"Name": "a", "Data": "AAAAAA=="}"#,
            "Value at 'data' failed to satisfy constraint: Member must have length less than or equal to 3",
        ),
        (
            r#"{"Name": "a", "Things": [{}]}"#,
            "Value null at 'things.1.member.name' failed to satisfy constraint: Member must not be null",
        ),
        (
            r#"{"Name": "a", "Choice": {"left": "x", "right": "y"}}"#,
            "Value at 'choice' failed to satisfy constraint: Member must have exactly one of its members set: [left, right]",
        ),
    ] {
        match expected.strip_prefix("2: ") {
            None => assert_eq!(place(body), expected),
            Some(expected) => assert_eq!(refusal(body), format!("2 validation errors detected: {expected}")),
        }
    }
}

#[test]
fn a_message_has_an_end() {
    let names = vec!["x".repeat(10_000); 100];
    let message = refusal(&json!({"Name": "a", "Names": names}).to_string());
    assert!(message.starts_with("20 validation errors detected: "));
    assert!(message.len() < 20_000);
}

#[test]
fn an_answer_is_read_whatever_its_constraints() {
    let read = |text: &str| json::from_slice::<Thing>(text.as_bytes()).unwrap();
    assert_eq!(read("{}"), Thing::default());
    assert_eq!(read(r#"{"Name": "much too long"}"#).name, "much too long");
    let newer = read(r#"{"Name": "a", "Colour": "green", "Colours": ["red", "green"]}"#);
    assert_eq!((newer.colour, newer.colours), (None, Some(vec![Colour::Red])));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", thing());
    assert!(shown.contains("Secret: ***") && !shown.contains("key!"), "{shown}");
    assert!(shown.contains("Names: [\"a\", \"b-c\"]") && shown.contains("Data: 2 bytes"), "{shown}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    #[serde(with = "crate::json::verbatim")]
    thing: Thing,
    #[serde(with = "crate::json::verbatim_option", default, skip_serializing_if = "Option::is_none")]
    maybe: Option<Choice>,
}

#[test]
fn a_row_gives_back_what_it_holds() {
    for maybe in [None, Some(Choice { left: Some(String::new()), right: None })] {
        let row = Row { thing: thing(), maybe };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
        assert_eq!(serde_json::from_value::<Row>(serde_json::to_value(&row).unwrap()).unwrap(), row);
    }
}

#[test]
fn errors_have_a_type_and_a_message() {
    let mut error = ApiError::new("ConflictException", "no \"way\"", 409);
    error.members.insert("resourceIds".to_owned(), json!(["a"]));
    let body = AWS_JSON_11.encode_error(&error, "id");
    let expected = r#"{"__type":"ConflictException","message":"no \"way\"","resourceIds":["a"]}"#;
    assert_eq!(String::from_utf8(body.clone()).unwrap(), expected);
    assert_eq!(AWS_JSON_11.decode_error(&body, 409), error);
    let foreign = br#"{"__type":"com.amazon.coral.service#X:http://y","Message":"m"}"#;
    assert_eq!(AWS_JSON_11.decode_error(foreign, 400), ApiError::new("X", "m", 400));
    assert_eq!(AWS_JSON_11.decode_error(b"<html>", 502), ApiError::new("", "", 502));
}

#[test]
fn an_output_without_members_has_no_body() {
    static NOTHING: crate::OperationSchema = crate::OperationSchema::new("Nothing", &crate::UNIT, None);
    assert_eq!(AWS_JSON_11.encode_output(&toy::SERVICE, &NOTHING, &(), "id"), b"");
    assert_eq!(AWS_JSON_11.decode_output(&NOTHING, b"", &mut ()), Ok(()));
}

#[test]
fn a_decoder_reports_where_it_failed() {
    let mut thing = Thing::default();
    let error = json::read(br#"{"Size": []}"#, &toy::schema::THING, &mut thing, &mut Checks::lenient());
    assert!(matches!(error, Err(DecodeError::Malformed { place, .. }) if place == "size"));
}
