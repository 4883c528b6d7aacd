//! Forms and XML.

use super::codec::QUERY;
use super::element;
use crate::codec::Codec;
use crate::toy::{self, Colour, Thing, thing};
use crate::{ApiError, decode_input};

fn ask(form: &str) -> Result<Thing, ApiError> {
    let mut thing = Thing::default();
    decode_input(&toy::SERVICE, &toy::ECHO, &QUERY, form.as_bytes(), &mut thing)?;
    Ok(thing)
}

#[test]
fn a_request_is_what_it_was() {
    let form = QUERY.encode_input(&toy::SERVICE, &toy::ECHO, &thing());
    let form = String::from_utf8(form).unwrap();
    assert!(form.starts_with("Action=Echo&Version=2026-01-01&Name=outer&Secret=key%21&Count=3&"), "{form}");
    assert!(form.contains("&Names.member.2=b-c&Colours.1=red&"), "{form}");
    assert!(form.contains("&Labels.entry.1.key=k&Labels.entry.1.value=v%20%26%20%3Cw%3E&"), "{form}");
    assert!(form.contains("&Time=2025-11-20T22%3A30%3A00.123Z&"), "{form}");
    assert_eq!(ask(&form), Ok(thing()));
}

#[test]
fn an_answer_is_what_it_was() {
    let body = QUERY.encode_output(&toy::SERVICE, &toy::ECHO, &thing(), "id-1");
    let text = String::from_utf8(body.clone()).unwrap();
    assert!(text.starts_with("<EchoResponse xmlns=\"https://toy.example/\"><EchoResult><Name>outer</Name>"), "{text}");
    assert!(text.contains("<Colours>red</Colours><Colours>dark-blue</Colours>"), "{text}");
    assert!(text.contains("<entry><key>k</key><value>v &amp; &lt;w&gt;</value></entry>"), "{text}");
    let end = "</EchoResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></EchoResponse>";
    assert!(text.ends_with(end), "{text}");
    let mut found = Thing::default();
    QUERY.decode_output(&toy::ECHO, &body, &mut found).unwrap();
    assert_eq!(found, thing());
}

#[test]
fn lists_follow_their_numbers() {
    let found = ask("Name=a&Names.member.10=z&Names.member.9=y&Colours.2=red&Colours.1=dark-blue").unwrap();
    assert_eq!(found.names, Some(vec!["y".to_owned(), "z".to_owned()]));
    assert_eq!(found.colours, Some(vec![Colour::DarkBlue, Colour::Red]));
}

#[test]
fn forms_are_unescaped() {
    assert_eq!(
        ask("Name=a&Labels.entry.1.key=k&Labels.entry.1.value=1+2%2B3%C3%A4%zz").unwrap().labels.unwrap()["k"],
        "1 2+3ä%zz"
    );
}

#[test]
fn violations_and_misfits_are_told_apart() {
    let error = ask("Colour=green").unwrap_err();
    assert_eq!(error.code, "ValidationError");
    assert_eq!(
        error.message,
        "2 validation errors detected: Value 'green' at 'colour' failed to satisfy constraint: \
         Member must satisfy enum value set: [red, dark-blue]; \
         Value null at 'name' failed to satisfy constraint: Member must not be null"
    );
    for form in [
        "Name=a&Count=x",
        "Name=a&Count=1.5",
        "Name=a&Flag=yes",
        "Name=a&Time=yesterday",
        "Name.x=a",
        "Name=a&Name=b",
        "Name=%ff",
        "Name=a&Labels.entry.1.value=v",
        &format!("Name=a&{}=1", ["x"; 100].join(".")),
        &format!("Name=a&{}Things.member.1.Name=b", "Things.member.1.".repeat(31)),
        &format!("Name=a{}", "&x=".repeat(20_000)),
    ] {
        let error = ask(form).unwrap_err();
        assert_eq!((&*error.code, error.status), ("MalformedInput", 400), "{form:.80}: {error}");
    }
}

#[test]
fn errors_name_the_guilty() {
    let error = ApiError::new("ValidationError", "a < b", 400);
    let body = QUERY.encode_error(&error, "id-1");
    assert_eq!(
        String::from_utf8(body.clone()).unwrap(),
        "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>a &lt; b</Message></Error>\
         <RequestId>id-1</RequestId></ErrorResponse>"
    );
    assert_eq!(QUERY.decode_error(&body, 400), error);
    let fault = QUERY.encode_error(&ApiError::new("InternalFailure", "", 500), "id");
    assert!(String::from_utf8(fault).unwrap().contains("<Type>Receiver</Type>"));
    assert_eq!(QUERY.decode_error(b"no XML", 503), ApiError::new("", "", 503));
}

#[test]
fn what_is_no_xml_is_refused() {
    for xml in [
        "",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a",
        "<a>&x;</a>",
        "<a>&amp</a>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "<a>&#xD800;</a>",
        &"<a>".repeat(100_000),
    ] {
        assert!(element::parse(xml).is_err(), "{xml:.80}");
    }
}

#[test]
fn what_xml_has_beside_elements_is_passed_over() {
    let xml = "<?xml version=\"1.0\"?>\n<!-- c > d --><n:a x=\"1\"> <b/><b>&#65;&#x42;&apos;</b></n:a>\n";
    let (name, tree) = element::parse(xml).unwrap();
    assert_eq!(name, "a");
    let texts: Vec<_> = tree.all("b").iter().map(|b| b.text.clone().unwrap_or_default()).collect();
    assert_eq!(texts, ["", "AB'"]);
}

#[test]
fn what_xml_cannot_carry_is_replaced() {
    let thing = Thing { name: "a\0b\r\u{1}".to_owned(), ..Thing::default() };
    let body = QUERY.encode_output(&toy::SERVICE, &toy::ECHO, &thing, "id");
    let mut found = Thing::default();
    QUERY.decode_output(&toy::ECHO, &body, &mut found).unwrap();
    assert_eq!(found.name, "a\u{FFFD}b\r\u{FFFD}");
}
