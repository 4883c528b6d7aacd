//! Sequences of ECS's operations with any input: whatever came before, none panics, and each answer or error is of its API.

#![no_main]

use std::sync::Arc;

use estiva_api_ecs::{Endpoint, SERVICE};
use estiva_ecs::{EcsService, Options};
use estiva_model::{AccountId, Ambient, Caller, Principal, Region};
use estiva_schema::{RawRequest, Service, codec};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// Calls of one sequence.
const CALLS_MAX: usize = 16;

thread_local! {
    static RUNTIME: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

fn caller(is_owner: bool) -> Caller {
    let node = Principal::AssumedRole { role: "node".to_owned(), session: "a".to_owned() };
    Caller {
        account: AccountId::default(),
        region: Region::default(),
        principal: if is_owner { Principal::Root } else { node },
        access_key_id: String::new(),
    }
}

/// Lines of an operation's number, who calls, and its input. `$` stands for the ARN that was answered last.
async fn run(data: &[u8]) {
    let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).expect("an empty store");
    let options = Options::default();
    let endpoint = Endpoint(Arc::new(EcsService::new(store, options, Ambient::system())));
    let codec = codec::of(SERVICE.protocol);
    let mut newest_arn = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(CALLS_MAX) {
        let [number, who, body @ ..] = line else { continue };
        let operation = SERVICE.operations[usize::from(*number) % SERVICE.operations.len()];
        let body: Vec<u8> =
            body.iter().flat_map(|byte| if *byte == b'$' { newest_arn.clone() } else { vec![*byte] }).collect();
        let request = RawRequest { body: &body, caller: caller(who % 2 == 0), request_id: String::new() };
        match endpoint.call(operation, codec, request).await {
            Ok(answer) => newest_arn = arn_in(&answer).unwrap_or(newest_arn),
            Err(error) => {
                assert!(!error.code.is_empty() && (400..=501).contains(&error.status), "{}: {error:?}", operation.name);
                assert_ne!(error.code, "ServerException", "{}: {error:?}", operation.name);
            }
        }
    }
}

fn arn_in(answer: &[u8]) -> Option<Vec<u8>> {
    let begin = answer.windows(8).position(|part| part == b"arn:aws:")?;
    let length = answer[begin..].iter().position(|byte| *byte == b'"')?;
    Some(answer[begin..begin + length].to_vec())
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| runtime.block_on(run(data)));
});
