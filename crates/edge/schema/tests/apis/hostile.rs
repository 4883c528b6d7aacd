//! What strangers send: bodies that nearly are inputs. Whatever comes, it is an input or an error of the sender.

use estiva_api_ecs::RegisterTaskDefinition;
use estiva_api_logs::PutTransformer;
use estiva_api_sts::AssumeRole;
use estiva_schema::check::Checks;
use estiva_schema::{Operation, codec, decode_input, json};
use proptest::prelude::*;

use crate::arbitrary::{Arbitrary, Scope};

/// A change of a body at a place that is a part of its length.
#[derive(Debug, Clone)]
enum Damage {
    Cut(f64),
    Put(f64, u8),
    Double(f64, f64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:.0-e\\u&=%+<>/!".to_vec())];
    prop_oneof![
        (0.0..1.0).prop_map(Damage::Cut),
        (0.0..1.0, byte).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (0.0..1.0, 0.0..1.0).prop_map(|(from, to)| Damage::Double(from, to)),
    ]
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a place")]
fn place(body: &[u8], part: f64) -> usize {
    (body.len() as f64 * part) as usize
}

fn apply(body: &mut Vec<u8>, damages: &[Damage]) {
    for damage in damages {
        match *damage {
            Damage::Cut(at) => body.truncate(place(body, at)),
            Damage::Put(at, byte) => {
                let at = place(body, at);
                body.splice(at..(at + 1).min(body.len()), [byte]);
            }
            Damage::Double(from, to) => {
                let (from, to) = (place(body, from.min(to)), place(body, from.max(to)));
                body.extend_from_within(from..to);
            }
        }
    }
}

/// The body of an arbitrary input.
fn body<Op: Operation>(seed: u64) -> Vec<u8> {
    let tree = Arbitrary::new(seed, Scope::Form).value(Op::SCHEMA.input);
    let mut input = Op::Input::default();
    json::read(tree.to_string().as_bytes(), Op::SCHEMA.input, &mut input, &mut Checks::lenient()).unwrap();
    codec::of(Op::SERVICE.protocol).encode_input(Op::SERVICE, Op::SCHEMA, &input)
}

/// A body is refused by an error that names the sender, or means an input that can be sent again.
fn check<Op: Operation>(body: &[u8]) {
    let codec = codec::of(Op::SERVICE.protocol);
    let read = |body: &[u8]| {
        let mut input = Op::Input::default();
        decode_input(Op::SERVICE, Op::SCHEMA, codec, body, &mut input).map(|()| input)
    };
    match read(body) {
        Err(error) => assert_eq!(error.status, 400),
        Ok(input) => assert!(read(&codec.encode_input(Op::SERVICE, Op::SCHEMA, &input)).is_ok()),
    }
    // Clients read what servers send with the same care.
    let _ = codec.decode_output(Op::SCHEMA, body, &mut Op::Output::default());
    let _ = codec.decode_error(body, 500);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bodies(seed: u64, damages in proptest::collection::vec(damage(), 0..6)) {
        macro_rules! each {
            ($($operation:ty),*) => {$(
                let mut damaged = body::<$operation>(seed);
                apply(&mut damaged, &damages);
                check::<$operation>(&damaged);
            )*};
        }
        each!(RegisterTaskDefinition, PutTransformer, AssumeRole);
    }

    #[test]
    fn damaged_answers(seed: u64, damages in proptest::collection::vec(damage(), 0..6)) {
        let shape = AssumeRole::SCHEMA.output_shape();
        let tree = Arbitrary::new(seed, Scope::Xml).value(shape);
        let mut output = estiva_api_sts::types::AssumeRoleResponse::default();
        json::read(tree.to_string().as_bytes(), shape, &mut output, &mut Checks::lenient()).unwrap();
        let codec = codec::of(AssumeRole::SERVICE.protocol);
        let mut xml = codec.encode_output(AssumeRole::SERVICE, AssumeRole::SCHEMA, &output, "id");
        apply(&mut xml, &damages);
        check::<AssumeRole>(&xml);
    }
}
