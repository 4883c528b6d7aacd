//! RegisterTaskDefinition: what is accepted is described as it was registered, and nothing makes it panic.

#![no_main]

use std::cell::RefCell;

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types::{DescribeTaskDefinitionRequest, RegisterTaskDefinitionRequest};
use estiva_ecs::{EcsService, Options};
use estiva_model::{AccountId, Ambient, Caller, Principal, Region};
use estiva_schema::{Request, json};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// What was registered is thrown away after so many, so that memory does not grow with the run.
const DEFINITIONS_MAX: usize = 2000;

struct Bench {
    runtime: Runtime,
    ecs: EcsService,
    registered: usize,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).expect("an empty store");
        let options = Options::default();
        Self { runtime, ecs: EcsService::new(store, options, Ambient::system()), registered: 0 }
    }

    fn register(&mut self, input: RegisterTaskDefinitionRequest) {
        let asked = self.ecs.register_task_definition(request(input));
        let Ok(registered) = self.runtime.block_on(asked) else { return };
        self.registered += 1;
        let definition = registered.task_definition.expect("what was registered");
        let arn = definition.task_definition_arn.clone().expect("it has an ARN");
        let input = DescribeTaskDefinitionRequest { task_definition: arn, include: None };
        let described = self.runtime.block_on(self.ecs.describe_task_definition(request(input))).expect("it is there");
        assert_eq!(described.task_definition.as_ref(), Some(&definition));
    }
}

fn request<T>(input: T) -> Request<T> {
    let caller = Caller {
        account: AccountId::default(),
        region: Region::default(),
        principal: Principal::Root,
        access_key_id: String::new(),
    };
    Request { input, caller, request_id: String::new() }
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(input) = json::from_slice::<RegisterTaskDefinitionRequest>(bytes) else { return };
    BENCH.with_borrow_mut(|bench| {
        if bench.registered >= DEFINITIONS_MAX {
            *bench = Bench::new();
        }
        bench.register(input);
    });
});
