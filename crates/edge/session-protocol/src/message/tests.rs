//! The bytes of a frame, and what is no frame.

use proptest::prelude::*;

use super::*;

fn message() -> Message {
    Message {
        message_type: MessageType::Acknowledge,
        created_ms: 0x0102_0304_0506_0708,
        sequence_number: -2,
        flags: FLAG_SYN | FLAG_FIN,
        id: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        payload_type: PayloadType::Size,
        payload: b"abc".to_vec(),
    }
}

#[test]
fn every_field_is_where_the_table_says() {
    let expected = [
        "00000074",
        "61636b6e6f776c656467652020202020",
        "20202020202020202020202020202020",
        "00000001",
        "0102030405060708",
        "fffffffffffffffe",
        "0000000000000003",
        "8899aabbccddeeff",
        "0011223344556677",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "00000003",
        "00000003",
        "616263",
    ];
    let hex: Vec<String> = message().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.concat(), expected.concat());
}

#[test]
fn a_type_may_be_padded_with_nulls() {
    let mut frame = message().encode();
    frame[4 + "acknowledge".len()..36].fill(0);
    assert_eq!(Message::decode(&frame), Ok(message()));
}

#[test]
fn each_type_has_its_own_name() {
    for message_type in MessageType::ALL {
        let sent = Message { message_type, ..message() };
        assert_eq!(Message::decode(&sent.encode()), Ok(sent));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let changed = |index: usize, to: u8| {
        let mut frame = message().encode();
        frame[index] = to;
        Message::decode(&frame).unwrap_err()
    };
    assert_eq!(changed(3, 117), MalformedMessage::HeaderLength(117));
    assert_eq!(changed(4, b'x'), MalformedMessage::UnknownType("xcknowledge".to_owned()));
    assert_eq!(changed(39, 2), MalformedMessage::SchemaVersion(2));
    assert_eq!(changed(80, 0), MalformedMessage::Digest);
    assert_eq!(changed(119, 4), MalformedMessage::PayloadLength { said: 4, found: 3 });
    assert_eq!(changed(120, b'b'), MalformedMessage::Digest);
    assert_eq!(Message::decode(&message().encode()[..119]), Err(MalformedMessage::Truncated(119)));
    let large = Message { payload: vec![0; PAYLOAD_BYTES_MAX + 1], ..message() };
    assert_eq!(Message::decode(&large.encode()), Err(MalformedMessage::TooLarge(PAYLOAD_BYTES_MAX + 1)));
}

#[test]
fn the_largest_payload_is_read() {
    let large = Message { payload: vec![7; PAYLOAD_BYTES_MAX], ..message() };
    let frame = large.encode();
    assert_eq!(frame.len(), FRAME_BYTES_MAX);
    assert_eq!(Message::decode(&frame), Ok(large));
}

fn any_message() -> impl Strategy<Value = Message> {
    let header = (0..MessageType::ALL.len(), any::<u64>(), any::<i64>(), any::<u64>(), any::<u128>(), any::<u32>());
    (header, proptest::collection::vec(any::<u8>(), 0..2000)).prop_map(
        |((kind, created_ms, number, flags, id, of), payload)| Message {
            message_type: MessageType::ALL[kind],
            created_ms,
            sequence_number: number,
            flags,
            id: Uuid::from_u128(id),
            payload_type: PayloadType::from(of),
            payload,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in any_message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(Message::decode(&bytes).is_err() || bytes.len() >= HEADER_BYTES);
    }

    #[test]
    fn no_change_of_a_frame_panics(
        message in any_message(), at in any::<prop::sample::Index>(), to in any::<u8>(), end in any::<prop::sample::Index>()
    ) {
        let mut frame = message.encode();
        let index = at.index(frame.len());
        frame[index] = to;
        frame.truncate(end.index(frame.len()) + 1);
        let _ = Message::decode(&frame);
    }
}
