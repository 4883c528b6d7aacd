//! Every operation of every API, asked for by a node and by the session of a task's role.

use std::collections::BTreeSet;

use estiva_model::{AccountId, Region};
use estiva_schema::ServiceSchema;
use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "ffffffffffffffffffffffffffffffff";
const ECS: &str = "arn:aws:ecs:us-east-1:000000000000";
const LOGS: &str = "arn:aws:logs:us-east-1:000000000000";

/// One task, `web`'s, behind the session that has its id.
struct OneTask;

impl SessionTasks for OneTask {
    fn of(&self, caller: &Caller) -> Option<SessionTask> {
        let own = Principal::AssumedRole { role: "web".into(), session: ID.into() };
        (caller.principal == own).then(|| SessionTask {
            task: format!("{ECS}:task/default/{ID}"),
            id: ID.into(),
            definition: format!("{ECS}:task-definition/web:3"),
            log_groups: vec![format!("{LOGS}:log-group:/web")],
        })
    }
}

fn policies() -> RolePolicies {
    RolePolicies::new(Arc::new(OneTask))
}

fn caller(principal: Principal) -> Caller {
    Caller { account: AccountId::default(), region: Region::default(), principal, access_key_id: "AKIA".into() }
}

fn session(role: &str, session: &str) -> Caller {
    caller(Principal::AssumedRole { role: role.into(), session: session.into() })
}

/// The operations of all APIs that the server has, as actions.
fn actions() -> Vec<String> {
    let services: [&ServiceSchema; 5] = [
        &estiva_api_ecs::SERVICE,
        &estiva_api_estiva::SERVICE,
        &estiva_api_logs::SERVICE,
        &estiva_api_secretsmanager::SERVICE,
        &estiva_api_sts::SERVICE,
    ];
    let of = |service: &&'static ServiceSchema| {
        let name = service.signing_name;
        service.operations.iter().map(move |operation| format!("{name}:{}", operation.name))
    };
    services.iter().flat_map(of).collect()
}

fn allowed(caller: &Caller) -> BTreeSet<String> {
    actions().into_iter().filter(|action| policies().authorize(caller, action).is_ok()).collect()
}

#[test]
fn a_node_may_do_what_nodes_need_and_no_more() {
    let expected = [
        "ecs:CreateCluster",
        "ecs:DeregisterContainerInstance",
        "ecs:DiscoverPollEndpoint",
        "ecs:ListTagsForResource",
        "ecs:RegisterContainerInstance",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
        "ecs:UpdateContainerInstancesState",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sts:GetCallerIdentity",
    ];
    assert_eq!(allowed(&session(NODE_ROLE, "local")), expected.map(str::to_owned).into());
}

#[test]
fn a_tasks_role_may_ask_for_what_concerns_a_task_and_for_nothing_else() {
    let expected = [
        "ecs:DescribeTaskDefinition",
        "ecs:DescribeTasks",
        "ecs:GetTaskProtection",
        "ecs:UpdateTaskProtection",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sts:GetCallerIdentity",
    ];
    assert_eq!(allowed(&session("web", ID)), expected.map(str::to_owned).into());
}

#[test]
fn the_owner_may_do_everything() {
    assert_eq!(allowed(&caller(Principal::Root)).len(), actions().len());
}

#[test]
fn the_refusal_is_worded_as_aws_does() {
    let refused = policies().authorize(&session("web", ID), "ecs:RunTask").unwrap_err();
    assert_eq!((&*refused.code, refused.status), ("AccessDeniedException", 400));
    let user = format!("User: arn:aws:sts::000000000000:assumed-role/web/{ID} is not authorized to perform: ");
    let because = |action: &str| format!("because no identity-based policy allows the {action} action");
    assert_eq!(refused.message, format!("{user}ecs:RunTask {}", because("ecs:RunTask")));
    let other = format!("{ECS}:task/default/{OTHER}");
    let refused = policies().authorize_on(&session("web", ID), "ecs:UpdateTaskProtection", &other).unwrap_err();
    let action = "ecs:UpdateTaskProtection";
    assert_eq!(refused.message, format!("{user}{action} on resource: {other} {}", because(action)));
}

/// What the session reaches, by action.
fn own() -> Vec<(&'static str, Vec<String>)> {
    let task = vec![format!("{ECS}:task/default/{ID}")];
    let stream = |name: &str| format!("{LOGS}:log-group:/web:log-stream:{name}");
    let streams =
        vec![stream(ID), stream(&format!("p/app/{ID}")), stream(&format!("from-fluent-bit-app-firelens-{ID}"))];
    vec![
        ("ecs:DescribeTaskDefinition", vec![format!("{ECS}:task-definition/web:3")]),
        ("ecs:DescribeTasks", task.clone()),
        ("ecs:GetTaskProtection", task.clone()),
        ("ecs:UpdateTaskProtection", task),
        ("logs:CreateLogGroup", vec![format!("{LOGS}:log-group:/web")]),
        ("logs:CreateLogStream", streams.clone()),
        ("logs:PutLogEvents", streams),
    ]
}

/// What is near to what the session reaches, and is not its own.
fn foreign() -> Vec<String> {
    let stream = |group: &str, name: &str| format!("{LOGS}:log-group:{group}:log-stream:{name}");
    vec![
        String::new(),
        "*".to_owned(),
        ID.to_owned(),
        format!("{ECS}:task/default/{OTHER}"),
        format!("{ECS}:task/other/{ID}"),
        format!("{ECS}:task/{ID}"),
        format!("{ECS}:task/default/{}", ID.to_uppercase()),
        format!("{ECS}:task/default/{ID}/"),
        format!("arn:aws:ecs:eu-west-1:000000000000:task/default/{ID}"),
        format!("arn:aws:ecs:us-east-1:111111111111:task/default/{ID}"),
        format!("{ECS}:task-definition/web:2"),
        format!("{ECS}:task-definition/web:30"),
        format!("{ECS}:task-definition/web"),
        format!("{ECS}:task-definition/other:3"),
        format!("{LOGS}:log-group:/web2"),
        format!("{LOGS}:log-group:/we"),
        stream("/web", OTHER),
        stream("/web", &format!("p/app/{OTHER}")),
        stream("/web", &format!("p/{ID}/app")),
        stream("/web", &format!("{OTHER}{ID}")),
        stream("/web", &format!("{ID}{OTHER}")),
        stream("/web2", ID),
        stream("/web/x", ID),
        stream("/web", &format!("x:log-stream:{ID}")),
        stream("/other", &format!("p/app/{ID}")),
        format!("arn:aws:logs:eu-west-1:000000000000:log-group:/web:log-stream:{ID}"),
    ]
}

#[test]
fn a_session_reaches_its_own_task_and_streams_alone() {
    let web = session("web", ID);
    for (action, resources) in own() {
        for resource in &resources {
            policies().authorize_on(&web, action, resource).unwrap();
        }
        let of_other_actions = own().into_iter().flat_map(|(_, resources)| resources);
        let others = of_other_actions.chain(foreign()).filter(|resource| !resources.contains(resource));
        for resource in others {
            assert!(policies().authorize_on(&web, action, &resource).is_err(), "{action} on {resource}");
        }
    }
}

#[test]
fn an_action_without_a_rule_reaches_nothing() {
    let known: BTreeSet<_> = own().into_iter().map(|(action, _)| action.to_owned()).collect();
    let resources: Vec<_> = own().into_iter().flat_map(|(_, resources)| resources).collect();
    for action in actions().into_iter().filter(|action| !known.contains(action)) {
        for resource in &resources {
            assert!(policies().authorize_on(&session("web", ID), &action, resource).is_err(), "{action} on {resource}");
        }
    }
}

#[test]
fn a_session_without_a_live_task_reaches_nothing() {
    for stranger in [session("web", OTHER), session("other", ID), session("web", "local"), session("web", "")] {
        for (action, resources) in own() {
            for resource in resources {
                assert!(policies().authorize_on(&stranger, action, &resource).is_err(), "{action} on {resource}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_other_resource_is_reached(action in 0..own().len(), prefix in "[a-z:/]{0,3}", suffix in "[a-z0-9:/-]{0,3}") {
        let (action, resources) = own().swap_remove(action);
        for resource in &resources {
            let changed = format!("{prefix}{resource}{suffix}");
            let is_same = resources.contains(&changed);
            prop_assert_eq!(policies().authorize_on(&session("web", ID), action, &changed).is_ok(), is_same);
        }
    }
}
