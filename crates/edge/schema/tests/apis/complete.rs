//! Nothing of a model is lost on the way to its API: operations, errors, constraints.

use std::collections::BTreeSet;
use std::path::Path;

use estiva_schema::{Kind, Operation, OperationSchema, Serve, ServiceSchema, Shape};
use futures_util::FutureExt;
use serde_json::Value;

use crate::endpoint::request;

/// The names of the model's operations.
fn modelled(service: &ServiceSchema) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models").join(format!("{}.json", service.name));
    let model: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    model["operations"].as_object().unwrap().keys().cloned().collect()
}

/// Without a handler an operation says so by its name.
fn answers_not_implemented<Api: ?Sized, Op: Serve<Api>>(api: &Api) -> &'static str {
    let answer = Op::handle(api, request(Op::Input::default())).now_or_never().unwrap();
    let Err(error) = answer else { panic!("{} answered", Op::SCHEMA.name) };
    let error = error.into();
    assert_eq!((&*error.code, error.status), ("NotImplemented", 501));
    assert!(error.message.contains(Op::SCHEMA.name), "{}", error.message);
    Op::SCHEMA.name
}

/// Calls `visit` with each shape that the operation uses, once.
fn shapes(operation: &OperationSchema, visit: &mut dyn FnMut(&'static Shape)) {
    let mut seen = BTreeSet::new();
    let mut pending = vec![operation.input, operation.output_shape()];
    while let Some(shape) = pending.pop() {
        if !seen.insert(std::ptr::from_ref(shape)) {
            continue;
        }
        visit(shape);
        match shape.kind {
            Kind::Structure { members, .. } => pending.extend(members.iter().map(|member| member.shape)),
            Kind::List { item, .. } => pending.push(item),
            Kind::Map { key, value, .. } => pending.extend([key, value]),
            _ => {}
        }
    }
}

fn every_pattern_can_be_checked(service: &ServiceSchema) {
    for operation in service.operations {
        shapes(operation, &mut |shape| {
            if let Some(pattern) = shape.constraints.pattern {
                assert!(pattern.is_supported(), "{}: {}", shape.name, pattern.as_str());
            }
        });
    }
}

macro_rules! complete {
    ($test:ident, $api:ident, $name:ident) => {
        #[test]
        fn $test() {
            struct Nothing;
            impl $api::$name for Nothing {}

            let api: &dyn $api::$name = &Nothing;
            let mut answered = Vec::new();
            macro_rules! one {
                ($operation:ty) => {
                    answered.push(answers_not_implemented::<dyn $api::$name, $operation>(api));
                };
            }
            $api::for_each_operation!(one);
            assert_eq!(answered, modelled(&$api::SERVICE));
            for name in answered {
                assert_eq!($api::SERVICE.operation(name).unwrap().name, name);
            }
            assert!($api::SERVICE.operation("NoSuchOperation").is_none());
            every_pattern_can_be_checked(&$api::SERVICE);
        }
    };
}

complete!(ecs, estiva_api_ecs, Ecs);
complete!(logs, estiva_api_logs, Logs);
complete!(sts, estiva_api_sts, Sts);

#[test]
fn the_traits_of_operations_are_known() {
    assert!(<estiva_api_ecs::DescribeTasks as Operation>::SCHEMA.readonly);
    assert!(<estiva_api_ecs::DeleteCluster as Operation>::SCHEMA.idempotent);
    assert!(<estiva_api_sts::AssumeRoleWithWebIdentity as Operation>::SCHEMA.unsigned);
    assert!(<estiva_api_ecs::RunTask as Operation>::SCHEMA.errors.contains(&"ClusterNotFoundException"));
}
