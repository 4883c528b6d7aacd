//! Which of ECS's token buckets an operation takes from (Amazon ECS Developer Guide, "Request throttling for the Amazon ECS API").

use estiva_schema::Bucket;

const fn bucket(name: &'static str, burst: u32, per_second: u32) -> Bucket {
    Bucket { name, burst, per_second }
}

const AGENT_MODIFY: Bucket = bucket("agent modify", 200, 120);
const CAPACITY_PROVIDER_MODIFY: Bucket = bucket("capacity provider modify", 10, 1);
const CAPACITY_PROVIDER_READ: Bucket = bucket("capacity provider read", 50, 20);
const CLUSTER_MODIFY: Bucket = bucket("cluster modify", 20, 1);
const CLUSTER_READ: Bucket = bucket("cluster read", 50, 20);
const CLUSTER_RESOURCE_MODIFY: Bucket = bucket("cluster resource modify", 100, 40);
const CLUSTER_RESOURCE_READ: Bucket = bucket("cluster resource read", 100, 20);
const SERVICE_DEPLOYMENT_READ: Bucket = bucket("service deployment read", 50, 20);
const SERVICE_MODIFY: Bucket = bucket("service modify", 50, 5);
const SERVICE_READ: Bucket = bucket("service read", 100, 20);
const SERVICE_REVISION_READ: Bucket = bucket("service revision read", 50, 20);
const SERVICES_BY_NAMESPACE: Bucket = bucket("services by namespace", 10, 1);
const SETTING_MODIFY: Bucket = bucket("setting modify", 10, 1);
const SETTING_READ: Bucket = bucket("setting read", 50, 20);
const TAG_MODIFY: Bucket = bucket("tag modify", 20, 10);
const TAG_READ: Bucket = bucket("tag read", 50, 20);
const TASK_DEFINITION_DELETE: Bucket = bucket("task definition delete", 5, 1);
const TASK_DEFINITION_MODIFY: Bucket = bucket("task definition modify", 20, 1);
const TASK_DEFINITION_READ: Bucket = bucket("task definition read", 50, 20);
const TASK_PROTECTION: Bucket = bucket("task protection", 200, 80);

/// The bucket of an action, such as `ecs:RunTask`.
pub fn bucket_of(action: &str) -> Option<Bucket> {
    Some(match action.strip_prefix("ecs:")? {
        "CreateCluster"
        | "DeleteCluster"
        | "PutClusterCapacityProviders"
        | "UpdateCluster"
        | "UpdateClusterSettings" => CLUSTER_MODIFY,
        "DescribeClusters" | "ListClusters" => CLUSTER_READ,
        "DeregisterTaskDefinition" | "RegisterTaskDefinition" => TASK_DEFINITION_MODIFY,
        "DescribeTaskDefinition" | "ListTaskDefinitionFamilies" | "ListTaskDefinitions" => TASK_DEFINITION_READ,
        "DeleteTaskDefinitions" => TASK_DEFINITION_DELETE,
        "CreateCapacityProvider" | "DeleteCapacityProvider" | "UpdateCapacityProvider" => CAPACITY_PROVIDER_MODIFY,
        "DescribeCapacityProviders" => CAPACITY_PROVIDER_READ,
        "TagResource" | "UntagResource" => TAG_MODIFY,
        "ListTagsForResource" => TAG_READ,
        "DeleteAccountSetting" | "PutAccountSetting" | "PutAccountSettingDefault" => SETTING_MODIFY,
        "ListAccountSettings" => SETTING_READ,
        "DeleteAttributes"
        | "ExecuteCommand"
        | "PutAttributes"
        | "RunTask"
        | "StartTask"
        | "StopTask"
        | "UpdateContainerAgent"
        | "UpdateContainerInstancesState" => CLUSTER_RESOURCE_MODIFY,
        "DescribeContainerInstances" | "DescribeTasks" | "ListAttributes" | "ListContainerInstances" | "ListTasks" => {
            CLUSTER_RESOURCE_READ
        }
        "DeregisterContainerInstance"
        | "DiscoverPollEndpoint"
        | "RegisterContainerInstance"
        | "SubmitAttachmentStateChanges"
        | "SubmitContainerStateChange"
        | "SubmitTaskStateChange" => AGENT_MODIFY,
        "ContinueServiceDeployment"
        | "CreateService"
        | "CreateTaskSet"
        | "DeleteService"
        | "DeleteTaskSet"
        | "StopServiceDeployment"
        | "UpdateService"
        | "UpdateServicePrimaryTaskSet"
        | "UpdateTaskSet" => SERVICE_MODIFY,
        "DescribeServices" | "DescribeTaskSets" | "ListServices" => SERVICE_READ,
        "DescribeServiceDeployments" | "ListServiceDeployments" => SERVICE_DEPLOYMENT_READ,
        "DescribeServiceRevisions" => SERVICE_REVISION_READ,
        "GetTaskProtection" | "UpdateTaskProtection" => TASK_PROTECTION,
        "ListServicesByNamespace" => SERVICES_BY_NAMESPACE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_is_there_has_a_bucket() {
        let service = include_str!("ecs_api.rs");
        for operation in estiva_api_ecs::SERVICE.operations {
            let snake = operation.name.chars().fold(String::new(), |mut name, char| {
                if char.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(char.to_ascii_lowercase());
                name
            });
            if service.contains(&format!("async fn {snake}(")) {
                assert!(bucket_of(&format!("ecs:{}", operation.name)).is_some(), "{}", operation.name);
            }
        }
        assert_eq!(bucket_of("logs:PutLogEvents"), None);
    }
}
