//! Names and forms on the wire.

use serde_json::json;

use super::*;

#[test]
fn the_plugins_first_frame_is_read() {
    let frame = json!({
        "MessageSchemaVersion": "1.0", "RequestId": "r", "TokenValue": "t", "ClientId": "c", "ClientVersion": "1.2.0.0",
    });
    let open: OpenDataChannel = decode(frame.to_string().as_bytes()).unwrap();
    assert_eq!(open.token_value, "t");
    assert_eq!(serde_json::to_value(open).unwrap(), frame);
}

#[test]
fn an_acknowledgement_has_the_plugins_names() {
    let acknowledge = Acknowledge {
        acknowledged_message_type: "input_stream_data".to_owned(),
        acknowledged_message_id: "i".to_owned(),
        acknowledged_message_sequence_number: 3,
        is_sequential_message: true,
    };
    let expected = json!({
        "AcknowledgedMessageType": "input_stream_data", "AcknowledgedMessageId": "i",
        "AcknowledgedMessageSequenceNumber": 3, "IsSequentialMessage": true,
    });
    assert_eq!(serde_json::to_value(acknowledge).unwrap(), expected);
}

#[test]
fn a_response_of_go_is_read() {
    let text = r#"{"ClientVersion":"1.2.0.0","ProcessedClientActions":[
        {"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""},
        {"ActionType":"New","ActionStatus":0,"ActionResult":3,"Error":"Unsupported action New"}],"Errors":null}"#;
    let response: HandshakeResponse = decode(text.as_bytes()).unwrap();
    let statuses: Vec<_> = response.processed_client_actions.iter().map(|action| action.action_status).collect();
    assert_eq!(statuses, [ActionStatus::Success, ActionStatus::Other(0)]);
    assert!(response.errors.is_empty());
}

#[test]
fn the_end_of_a_channel_has_the_plugins_names() {
    let closed = ChannelClosed { schema_version: 1, output: "bye".to_owned(), ..ChannelClosed::default() };
    let expected = json!({
        "MessageId": "", "CreatedDate": "", "DestinationId": "", "SessionId": "", "MessageType": "",
        "SchemaVersion": 1, "Output": "bye",
    });
    assert_eq!(serde_json::to_value(closed).unwrap(), expected);
}

#[test]
fn a_size_has_small_names() {
    assert_eq!(encode(&Size { cols: 80, rows: 24 }), br#"{"cols":80,"rows":24}"#);
    assert!(decode::<Size>(br#"{"cols":80}"#).is_err());
}

#[test]
fn a_flag_is_four_bytes() {
    assert_eq!(Flag::TerminateSession.encode(), [0, 0, 0, 2]);
    for flag in [Flag::DisconnectToPort, Flag::TerminateSession, Flag::ConnectToPortError, Flag::Other(9)] {
        assert_eq!(Flag::decode(&flag.encode()), Some(flag));
    }
    assert_eq!(Flag::decode(b"2"), None);
}

#[test]
fn an_exit_code_is_text() {
    assert_eq!(encode_exit_code(137), b"EXIT_CODE: 137");
    assert_eq!(decode_exit_code(b"EXIT_CODE: -1"), Some(-1));
    assert_eq!(decode_exit_code(b"EXIT_CODE: much"), None);
    assert_eq!(decode_exit_code(&[0xff]), None);
}
