//! Every generated type, encoded and decoded again: what a codec writes, it reads, for values of every shape that the models have.

use estiva_schema::check::Checks;
use estiva_schema::codec;
use estiva_schema::{Decode, Encode, Kind, OperationSchema, Protocol, ServiceSchema, Shape, Shaped, json};
use serde_json::{Map, Value};

/// Values of each type.
const VALUES: u64 = 12;
const TEXTS: [&str; 6] = ["x", "é \"quoted\" \\ / \u{1f6a2}", "<a>&amp;]]>", "1", "true", "a&b=c+d %41"];
/// Structures inside each other: some models have loops.
const DEPTH_MAX: usize = 5;

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same values.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What a value may be made of.
struct Values {
    random: Random,
    /// Lists, maps and structures with nothing in them, which the query protocol cannot tell from none.
    empty: bool,
}

impl Values {
    fn of(&mut self, shape: &'static Shape, depth: usize) -> Value {
        match shape.kind {
            Kind::Structure { members, union } => {
                let only = union.then(|| self.random.below(members.len()));
                let mut object = Map::new();
                for (place, member) in members.iter().enumerate() {
                    let is_there = match only {
                        Some(only) => only == place,
                        None => member.required || depth < DEPTH_MAX && self.random.below(3) > 0,
                    };
                    // A form has no place for an empty structure in a list.
                    if is_there || !self.empty && object.is_empty() && place + 1 == members.len() {
                        object.insert(member.name.to_owned(), self.of(member.shape, depth + 1));
                    }
                }
                Value::Object(object)
            }
            Kind::List { item, .. } => (0..self.count(depth)).map(|_| self.of(item, depth + 1)).collect(),
            Kind::Map { key, value, .. } => {
                let count = self.count(depth);
                let mut object = Map::new();
                for _ in 0..count {
                    if let Value::String(key) = self.of(key, depth + 1) {
                        object.insert(key, self.of(value, depth + 1));
                    }
                }
                Value::Object(object)
            }
            Kind::Enum(values) => self.random.pick(values).into(),
            Kind::String => self.random.pick(&TEXTS).into(),
            Kind::Boolean => self.random.pick(&[true, false]).into(),
            Kind::Integer => self.random.pick(&[0, 1, -1, i32::MAX, i32::MIN]).into(),
            Kind::Long => self.random.pick(&[0, 1, -1, i64::MAX, i64::MIN]).into(),
            Kind::Double => self.random.pick(&[0.0, 0.1, -1e300, 5e-324]).into(),
            Kind::Timestamp(_) => json::to_value_of(&estiva_model::Timestamp(1_795_000_000_123), shape),
            Kind::Blob => "AAH/".into(),
            Kind::Document => serde_json::json!({ "any": [1, null, { "thing": "x" }] }),
        }
    }

    fn count(&mut self, depth: usize) -> usize {
        let least = usize::from(!self.empty);
        if depth >= DEPTH_MAX { least } else { least + self.random.below(3) }
    }
}

fn values<T: Decode + Default + Shaped>(empty: bool) -> impl Iterator<Item = T> {
    (0..VALUES).map(move |seed| {
        let tree = Values { random: Random(seed), empty }.of(T::SHAPE, 0);
        json::from_value(&tree).unwrap_or_else(|error| panic!("{}: {error:?}: {tree}", T::SHAPE.name))
    })
}

fn through_json<T: Encode + Decode + Default + Shaped + PartialEq + std::fmt::Debug>() {
    for value in values::<T>(true) {
        assert_eq!(json::from_slice::<T>(&json::to_vec(&value)).as_ref(), Ok(&value), "{}", T::SHAPE.name);
        assert_eq!(json::from_value::<T>(&json::to_value(&value)).as_ref(), Ok(&value), "{}", T::SHAPE.name);
    }
}

fn through_query<T: Encode + Decode + Default + Shaped + PartialEq + std::fmt::Debug>(service: &ServiceSchema) {
    // A schema of its own: the type is an operation's input and output.
    let operation: &'static OperationSchema =
        Box::leak(Box::new(OperationSchema::new("Echo", T::SHAPE, Some(T::SHAPE))));
    let query = codec::of(Protocol::Query);
    for value in values::<T>(false) {
        let form = query.encode_input(service, operation, &value);
        let mut read = T::default();
        query.decode_input(operation, &form, &mut read, &mut Checks::lenient()).expect("our own form");
        assert_eq!(read, value, "{} as a form", T::SHAPE.name);
        let xml = query.encode_output(service, operation, &value, "id");
        let mut read = T::default();
        query.decode_output(operation, &xml, &mut read).expect("our own XML");
        assert_eq!(read, value, "{} as XML", T::SHAPE.name);
    }
}

macro_rules! each_through_json {
    ($($name:path,)*) => {
        $(through_json::<$name>();)*
    };
}

#[test]
fn every_type_of_ecs() {
    estiva_api_ecs::for_each_structure!(each_through_json);
}

#[test]
fn every_type_of_estiva() {
    estiva_api_estiva::for_each_structure!(each_through_json);
}

#[test]
fn every_type_of_logs() {
    estiva_api_logs::for_each_structure!(each_through_json);
}

#[test]
fn every_type_of_sts() {
    macro_rules! each {
        ($($name:path,)*) => {
            $(through_json::<$name>(); through_query::<$name>(&estiva_api_sts::SERVICE);)*
        };
    }
    estiva_api_sts::for_each_structure!(each);
}
