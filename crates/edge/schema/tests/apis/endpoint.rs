//! One call from its body to its answer's body, through the generated endpoints.

use std::sync::Arc;

use async_trait::async_trait;
use estiva_api_ecs::types::{self, LaunchType};
use estiva_api_ecs::{Ecs, Error};
use estiva_api_sts::Sts;
use estiva_model::{AccountId, Caller, Principal, Region};
use estiva_schema::{ApiError, RawRequest, Request, Service, codec};
use futures_util::FutureExt;
use serde_json::json;

fn caller() -> Caller {
    Caller {
        account: AccountId::default(),
        region: Region::default(),
        principal: Principal::Root,
        access_key_id: "AKIDEXAMPLE".to_owned(),
    }
}

pub fn request<Input>(input: Input) -> Request<Input> {
    Request { input, caller: caller(), request_id: "id-1".to_owned() }
}

fn call(service: &dyn Service, operation: &str, body: &str) -> Result<String, ApiError> {
    let schema = service.schema();
    let request = RawRequest { body: body.as_bytes(), caller: caller(), request_id: "id-1".to_owned() };
    let operation = schema.operation(operation).unwrap();
    let answer = service.call(operation, codec::of(schema.protocol), request).now_or_never().unwrap()?;
    Ok(String::from_utf8(answer).unwrap())
}

struct Fake;

#[async_trait]
impl Ecs for Fake {
    async fn run_task(&self, request: Request<types::RunTaskRequest>) -> Result<types::RunTaskResponse, Error> {
        let Request { input, caller, .. } = request;
        if input.cluster.is_some() {
            return Err(Error::cluster_not_found_exception("Cluster not found."));
        }
        if input.launch_type == Some(LaunchType::External) {
            let resource_ids = Some(vec!["a".to_owned()]);
            return Err(Error::ConflictException(types::ConflictException { resource_ids, message: None }));
        }
        let task = types::Task {
            task_definition_arn: Some(input.task_definition),
            started_by: Some(caller.arn()),
            launch_type: input.launch_type,
            ..types::Task::default()
        };
        Ok(types::RunTaskResponse { tasks: Some(vec![task]), failures: Some(vec![]) })
    }
}

#[async_trait]
impl Sts for Fake {
    async fn get_caller_identity(
        &self,
        request: Request<estiva_api_sts::types::GetCallerIdentityRequest>,
    ) -> Result<estiva_api_sts::types::GetCallerIdentityResponse, estiva_api_sts::Error> {
        Ok(estiva_api_sts::types::GetCallerIdentityResponse { arn: Some(request.caller.arn()), ..Default::default() })
    }
}

fn ecs() -> estiva_api_ecs::Endpoint {
    estiva_api_ecs::Endpoint(Arc::new(Fake))
}

#[test]
fn a_call_that_succeeds() {
    let answer = call(&ecs(), "RunTask", r#"{"taskDefinition":"web:1","launchType":"FARGATE","later":1}"#);
    let expected = json!({
        "failures": [],
        "tasks": [{
            "launchType": "FARGATE",
            "startedBy": "arn:aws:iam::000000000000:root",
            "taskDefinitionArn": "web:1",
        }],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.unwrap()).unwrap(), expected);
}

#[test]
fn a_call_that_is_refused() {
    let refuse = |body| call(&ecs(), "RunTask", body).unwrap_err();
    let error = refuse(r#"{"taskDefinition":"web","cluster":"none"}"#);
    assert_eq!(error, ApiError::new("ClusterNotFoundException", "Cluster not found.", 400));
    assert_eq!(Error::from(error), Error::cluster_not_found_exception("Cluster not found."));
    let error = refuse(r#"{"taskDefinition":"web","launchType":"EXTERNAL"}"#);
    assert_eq!((&*error.code, &error.members["resourceIds"]), ("ConflictException", &json!(["a"])));
    assert!(matches!(Error::from(error), Error::ConflictException(conflict) if conflict.resource_ids.is_some()));
}

#[test]
fn a_call_that_does_not_reach_the_handler() {
    let error = call(&ecs(), "RunTask", r#"{"count":1}"#).unwrap_err();
    assert_eq!((&*error.code, error.status), ("ClientException", 400));
    assert_eq!(
        error.message,
        "1 validation error detected: Value null at 'taskDefinition' failed to satisfy constraint: Member must not be null"
    );
    let error = call(&ecs(), "RunTask", r#"{"launchType":"EC3"}"#).unwrap_err();
    assert_eq!((&*error.code, error.status), ("InvalidParameterException", 400));
    assert_eq!(error.message, "launch type should be one of [EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES]");
    assert_eq!(call(&ecs(), "RunTask", "{").unwrap_err().code, "SerializationException");
    assert_eq!(call(&ecs(), "ListTasks", "{}").unwrap_err().status, 501);
}

#[test]
fn a_call_of_the_query_protocol() {
    let sts = estiva_api_sts::Endpoint(Arc::new(Fake));
    assert_eq!(
        call(&sts, "GetCallerIdentity", "Action=GetCallerIdentity&Version=2011-06-15").unwrap(),
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::000000000000:root</Arn></GetCallerIdentityResult><ResponseMetadata>\
         <RequestId>id-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
    let error = call(&sts, "AssumeRole", "RoleArn=short&RoleSessionName=a").unwrap_err();
    assert_eq!(error.code, "ValidationError");
    assert_eq!(
        error.message,
        "2 validation errors detected: Value 'short' at 'roleArn' failed to satisfy constraint: \
         Member must have length greater than or equal to 20; \
         Value 'a' at 'roleSessionName' failed to satisfy constraint: \
         Member must have length greater than or equal to 2"
    );
}

#[test]
fn logs_names_the_pattern() {
    struct Nothing;
    impl estiva_api_logs::Logs for Nothing {}

    let logs = estiva_api_logs::Endpoint(Arc::new(Nothing));
    let error = call(&logs, "CreateLogGroup", r#"{"logGroupName":"a b"}"#).unwrap_err();
    assert_eq!(error.code, "InvalidParameterException");
    assert_eq!(
        error.message,
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
    );
}
