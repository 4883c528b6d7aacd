//! awsJson: the input of every ECS operation from any bytes; what is read is written so that it is read again.

#![no_main]

use estiva_schema::{Decode, Encode, Shaped, json};
use libfuzzer_sys::fuzz_target;

fn round<T: Encode + Decode + Default + Shaped + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = json::from_slice::<T>(bytes) {
        assert_eq!(json::from_slice::<T>(&json::to_vec(&value)).as_ref(), Ok(&value));
    }
}

macro_rules! one_of {
    ($($name:path,)*) => {
        /// Reads the bytes as the type whose number is asked for.
        fn read(number: usize, bytes: &[u8]) {
            const READERS: &[fn(&[u8])] = &[$(round::<$name>),*];
            READERS[number % READERS.len()](bytes);
        }
    };
}

estiva_api_ecs::for_each_structure!(one_of);

fuzz_target!(|data: &[u8]| {
    if let [low, high, bytes @ ..] = data {
        read(usize::from(u16::from_le_bytes([*low, *high])), bytes);
    }
});
