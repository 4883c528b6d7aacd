//! Patterns against messages, as tables.

use proptest::prelude::*;

use super::Pattern;

/// Each: a pattern, messages that it matches, messages that it does not match.
#[track_caller]
fn check(pattern: &str, matched: &[&str], others: &[&str]) {
    let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for message in matched {
        assert!(parsed.matches(message), "{pattern} should match {message}");
    }
    for message in others {
        assert!(!parsed.matches(message), "{pattern} should not match {message}");
    }
}

const BAD_REQUEST: &str = "[ERROR 400] BAD REQUEST";
const UNAUTHORIZED: &str = "[ERROR 401] UNAUTHORIZED REQUEST";
const AUTHORIZED: &str = "[SUCCESS 200] AUTHORIZED REQUEST";
const WARNING: &str = "[WARN] disk 91% full, see \"df\"";

#[test]
fn terms() {
    check("", &[BAD_REQUEST, ""], &[]);
    check("   ", &[BAD_REQUEST], &[]);
    check("ERROR", &[BAD_REQUEST, UNAUTHORIZED, "ERRORCODE: -1"], &[AUTHORIZED, "error"]);
    check("ERROR REQUEST", &[BAD_REQUEST, UNAUTHORIZED, "REQUEST: ERROR"], &[AUTHORIZED, "ERROR"]);
    check("\"ERROR 400\"", &[BAD_REQUEST], &[UNAUTHORIZED, "ERROR  400"]);
    check("\"see \\\"df\\\"\"", &[WARNING], &["see df"]);
    check("?ERROR ?WARN", &[BAD_REQUEST, WARNING], &[AUTHORIZED]);
    check("ERROR -401", &[BAD_REQUEST], &[UNAUTHORIZED, AUTHORIZED]);
    check("-ERROR", &[AUTHORIZED, WARNING], &[BAD_REQUEST]);
    check("ERROR -\"BAD REQUEST\"", &[UNAUTHORIZED], &[BAD_REQUEST]);
    check("?ERROR ?WARN -400", &[UNAUTHORIZED, WARNING], &[BAD_REQUEST, AUTHORIZED]);
    check("?SUCCESS REQUEST", &[BAD_REQUEST, AUTHORIZED], &[WARNING]);
    check("a-b?c", &["a-b?c"], &["abc"]);
}

#[test]
fn regular_expressions_among_terms() {
    check("%AUTHORIZED%", &[UNAUTHORIZED, AUTHORIZED], &[BAD_REQUEST]);
    check("%ERROR 4[0-9]{2}% -UNAUTHORIZED", &[BAD_REQUEST], &[UNAUTHORIZED, "ERROR 4"]);
    check("?%^.SUCC% ?disk", &[AUTHORIZED, WARNING], &[BAD_REQUEST, "a[SUCC"]);
}

const EVENT: &str = r#"{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "id": 1, "latency": -2.5e1,
    "ok": true, "none": null, "arrayKey": ["value", "another value"], "a-b": {"c d": "x"},
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "code": "400"}"#;

#[test]
fn json_comparisons() {
    let matching = [
        r#"{ $.eventType = "UpdateTrail" }"#,
        "{$.eventType=UpdateTrail}",
        "{ $.eventType = Update* }",
        r#"{ $.eventType = "*Trail" }"#,
        r#"{ $.eventType = "U*d*T*l" }"#,
        r#"{ $.eventType != "Other" }"#,
        "{ $.sourceIPAddress != 123.123.* }",
        "{ $.arrayKey[0] = \"value\" }",
        "{ $.arrayKey[*] = \"another value\" }",
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id > 1 }",
        "{ $.*.id = 1 || $.id = 1 }",
        "{ $.id = 1 }",
        "{ $.id = 1.0 }",
        "{ $.id >= 1 && $.id <= 1 }",
        "{ $.latency < -24.5 }",
        "{ $.latency = -2.5e1 }",
        "{ $['a-b']['c d'] = x }",
        "{ $.a-b.[\"c d\"] = x }",
        "{ $.code = 400 }",
        "{ $.id = \"*\" }",
        "{ $.eventType = %^Update[A-Z]% }",
        "{ $.eventType != %Delete% }",
    ];
    for pattern in matching {
        check(pattern, &[EVENT], &["{}", "no json", "[]", ""]);
    }
    let others = [
        "{ $.eventType = Update }",
        "{ $.eventType = \"*trail\" }",
        "{ $.eventType != UpdateTrail }",
        "{ $.missing != 1 }",
        "{ $.id > 1 }",
        "{ $.code > 1 }",
        "{ $.arrayKey[2] = * }",
        "{ $.objectList.id = 1 }",
        "{ $.eventType = %^trail% }",
        "{ $.eventType = Up*Up* }",
        "{ $.eventType = UpdateTrail*UpdateTrail }",
    ];
    for pattern in others {
        check(pattern, &[], &[EVENT]);
    }
}

#[test]
fn json_tests_and_logic() {
    let matching = [
        "{ $.ok IS TRUE }",
        "{ $.none IS NULL }",
        "{ $.missing NOT EXISTS }",
        "{ $.none EXISTS }",
        "{ $.ok is true }",
        "{ ($.id = 2 || $.id = 1) && $.ok IS TRUE }",
        "{ $.id = 1 || $.id = 2 && $.id = 3 }",
        "{ ( ( $.id = 1 ) ) }",
    ];
    for pattern in matching {
        check(pattern, &[EVENT], &["no json"]);
    }
    let others = [
        "{ $.ok IS FALSE }",
        "{ $.ok IS NULL }",
        "{ $.missing IS NULL }",
        "{ $.ok NOT EXISTS }",
        "{ $.missing EXISTS }",
        "{ ($.id = 1 || $.id = 2) && $.id = 3 }",
    ];
    for pattern in others {
        check(pattern, &[], &[EVENT]);
    }
}

#[test]
fn fields() {
    let line = "127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" 404 1534";
    let matching = [
        "[ip, server, username, timestamp, request, status_code, bytes > 1000]",
        "[ip, server, username, timestamp, request = *.html*, status_code = 4*, bytes]",
        "[ip, server, username, timestamp, request =*.html*, status_code = 404 || status_code = 410, bytes]",
        "[ip=%127\\.0\\.0\\.[1-9]%, server, username, timestamp, request, status_code, bytes]",
        "[..., status_code >= 400 && status_code < 500, bytes]",
        "[ip, server, ...]",
        "[ip, ..., bytes = 1534]",
        "[...]",
        "[ip != 10.*, ...]",
        "[ip, (server = Dev || server = Prod) && server != Test, ...]",
        "[ip, server, username, timestamp = \"10/Oct/2000:13:25:15 -0700\", ...]",
    ];
    for pattern in matching {
        check(pattern, &[line], &[]);
    }
    let others = [
        "[ip, server, username, timestamp, request, status_code]",
        "[ip, server, username, timestamp, request, status_code, bytes, more]",
        "[..., status_code = 5*, bytes]",
        "[ip, server = prod, ...]",
        "[ip > 1, ...]",
        "[a, b, c, d, e, f, ..., g, h]",
    ];
    for pattern in others {
        check(pattern, &[], &[line]);
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(33), ")".repeat(33));
    let long = "a".repeat(1025);
    let patterns = [
        "\"open",
        "%open",
        "-",
        "? a",
        "%a(b)%",
        "%[%",
        "%ä%",
        "%a% %b% %c%",
        "{",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ a = 1 }",
        "{ $ = 1 }",
        "{ $.a > x }",
        "{ $.a = 1 } x",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a IS 1 }",
        "{ $.a NOT NULL }",
        "{ $.a[x] = 1 }",
        "{ $.a < nan }",
        "[",
        "[]",
        "[a,]",
        "[..., a, ...]",
        "[a = 1 || b = 2]",
        "[a] x",
        "[a > b]",
        &deep,
        &long,
    ];
    for pattern in patterns {
        assert!(Pattern::parse(pattern).is_err(), "{pattern} should be refused");
    }
}

#[test]
fn an_error_says_where() {
    let error = Pattern::parse("{ $.a ~ 1 }").unwrap_err();
    assert_eq!(error.to_string(), "expected one of = != < <= > >= at character 7");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_fail(pattern in "\\PC{0,60}", message in "\\PC{0,60}") {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            pattern.matches(&message);
        }
    }

    #[test]
    fn no_near_pattern_makes_the_parser_fail(
        pattern in "[{\\[]?[$.a*=!<>&|()\\[\\]{}\"'% ,1IS]{0,40}[}\\]]?",
        message in "[{\\[]?[\"a:1, ]{0,20}[}\\]]?",
    ) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            pattern.matches(&message);
        }
    }

    /// A pattern with wildcards against the regular expression that says the same.
    #[test]
    fn wildcards_are_what_a_regular_expression_says(pattern in "[ab*]{1,8}", text in "[ab]{1,8}") {
        let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
        let message = format!("{{\"x\": \"{text}\"}}");
        let parsed = Pattern::parse(&format!("{{ $.x = \"{pattern}\" }}")).unwrap();
        prop_assert_eq!(parsed.matches(&message), regex.is_match(&text));
    }
}
