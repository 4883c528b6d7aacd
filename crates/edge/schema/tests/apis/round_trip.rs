//! Every type of every model is read back as it was written, by every codec.

use estiva_schema::check::Checks;
use estiva_schema::codec::{self, Codec};
use estiva_schema::{Decode, Encode, Operation, Protocol, Shape, json};
use proptest::prelude::*;
use serde_json::Value;

use crate::arbitrary::{Arbitrary, Scope};

/// The value of a tree.
fn read<T: Decode + Default>(shape: &'static Shape, tree: &Value) -> T {
    let mut value = T::default();
    json::read(tree.to_string().as_bytes(), shape, &mut value, &mut Checks::lenient()).unwrap();
    value
}

fn tree(shape: &'static Shape, value: &dyn Encode) -> Value {
    json::to_value_of(value, shape)
}

fn through_json<T: Encode + Decode + Default>(shape: &'static Shape, seed: u64) {
    let expected = Arbitrary::new(seed, Scope::Json).value(shape);
    assert_eq!(tree(shape, &read::<T>(shape, &expected)), expected, "{}", shape.name);
}

fn through_form<Op: Operation>(codec: &dyn Codec, seed: u64) {
    let shape = Op::SCHEMA.input;
    let expected = Arbitrary::new(seed, Scope::Form).value(shape);
    let form = codec.encode_input(Op::SERVICE, Op::SCHEMA, &read::<Op::Input>(shape, &expected));
    let mut found = Op::Input::default();
    codec.decode_input(Op::SCHEMA, &form, &mut found, &mut Checks::lenient()).unwrap();
    assert_eq!(tree(shape, &found), expected, "{}", String::from_utf8_lossy(&form));
}

fn through_xml<Op: Operation>(codec: &dyn Codec, seed: u64) {
    let shape = Op::SCHEMA.output_shape();
    let expected = Arbitrary::new(seed, Scope::Xml).value(shape);
    let xml = codec.encode_output(Op::SERVICE, Op::SCHEMA, &read::<Op::Output>(shape, &expected), "id");
    let mut found = Op::Output::default();
    codec.decode_output(Op::SCHEMA, &xml, &mut found).unwrap();
    assert_eq!(tree(shape, &found), expected, "{}", String::from_utf8_lossy(&xml));
}

fn check<Op: Operation>(seed: u64) {
    through_json::<Op::Input>(Op::SCHEMA.input, seed);
    through_json::<Op::Output>(Op::SCHEMA.output_shape(), seed);
    let query = codec::of(Protocol::Query);
    through_form::<Op>(query, seed);
    through_xml::<Op>(query, seed);
}

macro_rules! every_operation {
    ($test:ident, $api:ident) => {
        #[test]
        fn $test() {
            let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(seed: u64)| {
                macro_rules! one {
                    ($operation:ty) => {
                        check::<$operation>(seed);
                    };
                }
                $api::for_each_operation!(one);
            });
        }
    };
}

every_operation!(ecs, estiva_api_ecs);
every_operation!(logs, estiva_api_logs);
every_operation!(sts, estiva_api_sts);
