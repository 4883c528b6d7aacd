//! What a principal may do.

use estiva_model::{Caller, Principal};
use estiva_schema::{ApiError, Authorizer};

use crate::NODE_ROLE;

/// The owner may do everything, a node what nodes need, and a task's role what can do no harm.
#[derive(Debug, Clone, Copy)]
pub struct RolePolicies;

/// What AWS's managed policy AmazonEC2ContainerServiceforEC2Role allows, less what concerns ECR and EC2, which do not
/// exist here yet; `ecs:Poll` and `ecs:StartTelemetrySession` stand for the two sessions.
const NODE_ACTIONS: [&str; 15] = [
    "ecs:CreateCluster",
    "ecs:DeregisterContainerInstance",
    "ecs:DiscoverPollEndpoint",
    "ecs:ListTagsForResource",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
    "ecs:UpdateContainerInstancesState",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sts:GetCallerIdentity",
];

/// What a task's role may do until it has policies of its own: see what there is, protect its task, write logs.
fn is_for_tasks(action: &str) -> bool {
    const ACTIONS: [&str; 6] = [
        "ecs:GetTaskProtection",
        "ecs:UpdateTaskProtection",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sts:GetCallerIdentity",
    ];
    ACTIONS.contains(&action) || action.starts_with("ecs:Describe") || action.starts_with("ecs:List")
}

impl Authorizer for RolePolicies {
    fn authorize(&self, caller: &Caller, action: &str) -> Result<(), ApiError> {
        let allowed = match &caller.principal {
            Principal::Root => true,
            Principal::AssumedRole { role, .. } if role == NODE_ROLE => NODE_ACTIONS.contains(&action),
            Principal::AssumedRole { .. } => is_for_tasks(action),
        };
        if allowed {
            return Ok(());
        }
        let message = format!(
            "User: {} is not authorized to perform: {action} because no identity-based policy allows the {action} action",
            caller.arn()
        );
        Err(ApiError::new("AccessDeniedException", message, 400))
    }
}

#[cfg(test)]
mod tests {
    use estiva_model::{AccountId, Region};

    use super::*;

    fn caller(principal: Principal) -> Caller {
        Caller { account: AccountId::default(), region: Region::default(), principal, access_key_id: "AKIA".into() }
    }

    #[test]
    fn a_node_may_do_what_nodes_need_and_no_more() {
        let node = caller(Principal::AssumedRole { role: NODE_ROLE.into(), session: "local".into() });
        assert!(RolePolicies.authorize(&node, "ecs:SubmitTaskStateChange").is_ok());
        assert!(RolePolicies.authorize(&node, "ecs:UpdateContainerInstancesState").is_ok());
        let denied = RolePolicies.authorize(&node, "ecs:RunTask").unwrap_err();
        assert_eq!(denied.code, "AccessDeniedException");
        assert!(RolePolicies.authorize(&caller(Principal::Root), "ecs:RunTask").is_ok());
        let stranger = caller(Principal::AssumedRole { role: "other".into(), session: "x".into() });
        assert!(RolePolicies.authorize(&stranger, "ecs:DescribeTasks").is_ok());
        assert!(RolePolicies.authorize(&stranger, "ecs:RunTask").is_err());
        assert!(RolePolicies.authorize(&stranger, "ecs:ExecuteCommand").is_err());
        assert!(RolePolicies.authorize(&stranger, "ecs:SubmitTaskStateChange").is_err());
        assert!(RolePolicies.authorize(&stranger, "ecs:UpdateContainerInstancesState").is_err());
    }
}
