"""Every ECS operation that Estiva has, through boto3; its errors as ECS words them."""

import uuid

import pytest
from botocore.exceptions import WaiterError
from installation import container, eventually, shell
from services import refused, unique


def test_clusters(estiva):
    ecs = estiva.ecs
    name = unique("cluster")
    tags = [{"key": "team", "value": "blue"}]
    made = ecs.create_cluster(clusterName=name, tags=tags, settings=[{"name": "containerInsights", "value": "enabled"}])
    arn = made["cluster"]["clusterArn"]
    assert arn == f"arn:aws:ecs:us-east-1:000000000000:cluster/{name}"
    assert ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"] == arn, "it is there already"
    include = ["SETTINGS", "TAGS", "STATISTICS", "CONFIGURATIONS", "ATTACHMENTS"]
    answer = ecs.describe_clusters(clusters=[arn, "nowhere"], include=include)
    [cluster] = answer["clusters"]
    assert cluster["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    assert cluster["tags"] == tags and cluster["statistics"]
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    assert "tags" not in ecs.describe_clusters(clusters=[name])["clusters"][0] or not ecs.describe_clusters(clusters=[name])["clusters"][0]["tags"]
    settings = [{"name": "containerInsights", "value": "disabled"}]
    assert ecs.update_cluster_settings(cluster=name, settings=settings)["cluster"]["settings"] == settings
    logging = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    assert ecs.update_cluster(cluster=name, configuration=logging)["cluster"]["configuration"] == logging
    pages = ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1})
    listed = [found for page in pages for found in page["clusterArns"]]
    assert arn in listed and len(listed) == len(set(listed))
    assert ecs.delete_cluster(cluster=name)["cluster"]["status"] == "INACTIVE"
    assert ecs.describe_clusters(clusters=[name])["clusters"][0]["status"] == "INACTIVE"
    refused(lambda: ecs.delete_cluster(cluster=name), "ClusterNotFoundException", "Cluster not found.")
    refused(lambda: ecs.run_task(cluster="nowhere", taskDefinition="x"), "ClusterNotFoundException")
    refused(lambda: ecs.delete_cluster(cluster="default"), "ClusterContainsContainerInstancesException")
    refused(lambda: ecs.create_cluster(clusterName="no spaces"), "InvalidParameterException")


def test_task_definitions(estiva):
    ecs = estiva.ecs
    family = unique("family")
    for revision in (1, 2, 3):
        registered = ecs.register_task_definition(family=family, containerDefinitions=[container()], tags=[{"key": "n", "value": str(revision)}])
        assert registered["taskDefinition"]["revision"] == revision
    definition = ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
    assert definition["taskDefinition"]["revision"] == 3 and definition["tags"] == [{"key": "n", "value": "3"}]
    [shown] = definition["taskDefinition"]["containerDefinitions"]
    assert shown["essential"] is True and shown["cpu"] == 0 and shown["environment"] == []
    assert definition["taskDefinition"]["compatibilities"] == ["EXTERNAL", "EC2"]
    listed = ecs.list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"]
    assert [arn.rsplit(":", 1)[-1] for arn in listed] == ["3", "2", "1"]
    pages = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, PaginationConfig={"PageSize": 1})
    assert [arn for page in pages for arn in page["taskDefinitionArns"]] == listed[::-1]
    assert family in ecs.list_task_definition_families(familyPrefix=family)["families"]
    gone = ecs.deregister_task_definition(taskDefinition=f"{family}:3")["taskDefinition"]
    assert gone["status"] == "INACTIVE" and gone["deregisteredAt"]
    assert ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]["revision"] == 2
    assert ecs.list_task_definitions(familyPrefix=family, status="INACTIVE")["taskDefinitionArns"] == [listed[0]]
    refused(lambda: ecs.run_task(taskDefinition=f"{family}:3"), "ClientException", "inactive")
    refused(lambda: ecs.run_task(taskDefinition=unique("none")), "ClientException", "not found")
    refused(lambda: ecs.describe_task_definition(taskDefinition=unique("none")), "ClientException", "Unable to describe")
    deleted = ecs.delete_task_definitions(taskDefinitions=[f"{family}:3", f"{family}:2"])
    assert [it["status"] for it in deleted["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert "ACTIVE" in deleted["failures"][0]["reason"]
    assert ecs.register_task_definition(family=family, containerDefinitions=[container()])["taskDefinition"]["revision"] == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"containerDefinitions": []}, "Container list cannot be empty"),
        ({"containerDefinitions": [container(name="a b")]}, "name"),
        ({"containerDefinitions": [container(), container()]}, "Container names must be unique"),
        ({"containerDefinitions": [container(image="")]}, "image"),
        ({"containerDefinitions": [{"name": "x", "image": "busybox"}]}, "memory"),
        ({"containerDefinitions": [container(memoryReservation=128)]}, "memoryReservation"),
        ({"containerDefinitions": [container(essential=False)]}, "essential"),
        ({"containerDefinitions": [container(portMappings=[{"containerPort": 70000}])]}, "containerPort"),
        ({"containerDefinitions": [container(portMappings=[{"containerPort": 80, "hostPort": 81}])], "networkMode": "host"}, "must match"),
        ({"containerDefinitions": [container(logConfiguration={"logDriver": "awslogs"})]}, "awslogs-group"),
        ({"containerDefinitions": [container(secrets=[{"name": "X", "valueFrom": "y"}])]}, "executionRoleArn"),
        ({"containerDefinitions": [container(healthCheck={"command": ["CMD", "true"], "interval": 1})]}, "Health check interval"),
        ({"requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}, "awsvpc"),
        ({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}, "cpu"),
        ({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "4096"}, "No Fargate configuration"),
        ({"cpu": "lots"}, "cpu"),
        ({"volumes": [{"name": "x", "host": {"sourcePath": "relative"}}]}, "sourcePath"),
    ],
)
def test_a_task_definition_that_cannot_be_is_refused_by_field(estiva, change, text):
    request = {"family": "refused", "containerDefinitions": [container()], **change}
    refused(lambda: estiva.ecs.register_task_definition(**request), "ClientException", text)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"volumes": [{"name": "x", "efsVolumeConfiguration": {"fileSystemId": "fs-0a"}}]}, "volumes[0].efsVolumeConfiguration"),
        ({"enableFaultInjection": True}, "enableFaultInjection"),
        ({"containerDefinitions": [container(resourceRequirements=[{"type": "GPU", "value": "1"}])]}, "containerDefinitions[0].resourceRequirements"),
        ({"containerDefinitions": [container(credentialSpecs=["credentialspec:arn:aws:ssm:::parameter/x"])]}, "containerDefinitions[0].credentialSpecs"),
    ],
)
def test_what_nodes_do_not_honour_is_kept_and_refused_by_name_when_it_is_to_run(estiva, change, field):
    request = {"family": unique("kept"), "containerDefinitions": [container()], **change}
    kept = estiva.ecs.register_task_definition(**request)["taskDefinition"]
    refused(lambda: estiva.ecs.run_task(taskDefinition=kept["taskDefinitionArn"]), "InvalidParameterException", field)


def test_tasks(estiva):
    ecs = estiva.ecs
    family = unique("tasks")
    estiva.register(family, [shell("sleep 1000", stopTimeout=2, cpu=10)], tags=[{"key": "from", "value": "definition"}])
    started_by = unique("me")
    arns = estiva.run(
        family, count=3, startedBy=started_by, group="a-group", tags=[{"key": "own", "value": "1"}], propagateTags="TASK_DEFINITION"
    )
    ecs.get_waiter("tasks_running").wait(tasks=arns, WaiterConfig={"Delay": 1})
    [task] = ecs.describe_tasks(tasks=[arns[0]], include=["TAGS"])["tasks"]
    assert task["group"] == "a-group" and task["startedBy"] == started_by and task["launchType"] == "EC2"
    assert {tag["key"] for tag in task["tags"]} == {"from", "own"}
    assert task["connectivity"] == "CONNECTED" and task["startedAt"] >= task["createdAt"]
    assert task["containers"][0]["imageDigest"].startswith("sha256:")
    answer = ecs.describe_tasks(tasks=["0" * 32])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]

    def listed(**filters):
        pages = ecs.get_paginator("list_tasks").paginate(PaginationConfig={"PageSize": 2}, **filters)
        return sorted(arn for page in pages for arn in page["taskArns"])

    [instance] = ecs.list_container_instances()["containerInstanceArns"]
    for filters in (
        {"family": family},
        {"startedBy": started_by},
        {"family": family, "containerInstance": instance, "launchType": "EC2"},
        {"family": family, "desiredStatus": "RUNNING"},
    ):
        assert listed(**filters) == sorted(arns), filters
    assert listed(family=family, launchType="FARGATE") == [] and listed(family=family, desiredStatus="STOPPED") == []
    for arn in arns:
        ecs.stop_task(task=arn, reason="enough of it")
    ecs.get_waiter("tasks_stopped").wait(tasks=arns, WaiterConfig={"Delay": 1})
    stopped = estiva.task(arns[0])
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough of it")
    assert listed(family=family) == [] and listed(family=family, desiredStatus="STOPPED") == sorted(arns)
    with pytest.raises(WaiterError):
        ecs.get_waiter("tasks_running").wait(tasks=arns, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    refused(lambda: ecs.stop_task(task="0" * 32), "InvalidParameterException", "not found")
    refused(lambda: ecs.describe_tasks(tasks=[]), "InvalidParameterException", "empty")
    refused(lambda: ecs.run_task(taskDefinition=family, count=11), "InvalidParameterException")
    overrides = {"containerOverrides": [{"name": "stranger", "command": ["x"]}]}
    refused(lambda: ecs.run_task(taskDefinition=family, overrides=overrides), "InvalidParameterException", "stranger")
    refused(lambda: ecs.run_task(taskDefinition=family, launchType="FARGATE"), "InvalidParameterException", "FARGATE")


def test_a_client_token_makes_tasks_once(estiva):
    ecs = estiva.ecs
    family = unique("token")
    estiva.register(family, [shell("exit 0")])
    token = uuid.uuid4().hex
    first = ecs.run_task(taskDefinition=family, clientToken=token)["tasks"][0]["taskArn"]
    assert ecs.run_task(taskDefinition=family, clientToken=token)["tasks"][0]["taskArn"] == first
    refused(lambda: ecs.run_task(taskDefinition=family, clientToken=token, count=2), "ConflictException")
    estiva.wait("STOPPED", first)


def test_placement_says_why_not(estiva):
    ecs = estiva.ecs
    estiva.register("huge-memory", [container(memory=10_000_000)])
    estiva.register("huge-cpu", [container(cpu=1_000_000)])
    for family, reason in (("huge-memory", "RESOURCE:MEMORY"), ("huge-cpu", "RESOURCE:CPU")):
        answer = ecs.run_task(taskDefinition=family)
        assert answer["tasks"] == [] and [failure["reason"] for failure in answer["failures"]] == [reason]
    empty = unique("empty")
    ecs.create_cluster(clusterName=empty)
    refused(lambda: ecs.run_task(cluster=empty, taskDefinition="huge-cpu"), "InvalidParameterException", "No Container Instances")
    ecs.delete_cluster(cluster=empty)


def test_start_task_and_container_instances(estiva):
    ecs = estiva.ecs
    [arn] = ecs.list_container_instances(status="ACTIVE", filter="attribute:ecs.os-type == linux")["containerInstanceArns"]
    assert ecs.list_container_instances(filter="agentConnected == false")["containerInstanceArns"] == []
    refused(lambda: ecs.list_container_instances(filter="nonsense"), "InvalidParameterException", "nonsense")
    estiva.register("started", [shell("sleep 1000", stopTimeout=2, memory=32)])

    def instance():
        return ecs.describe_container_instances(containerInstances=[arn], include=["TAGS"])["containerInstances"][0]

    def memory():
        return next(it["integerValue"] for it in instance()["remainingResources"] if it["name"] == "MEMORY")

    eventually(lambda: instance()["runningTasksCount"] == 0)
    before = memory()
    answer = ecs.start_task(taskDefinition="started", containerInstances=[arn, "0" * 32])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    task = answer["tasks"][0]["taskArn"]
    estiva.wait("RUNNING", task)
    assert instance()["runningTasksCount"] == 1 and memory() == before - 32
    estiva.stop(task)
    assert instance()["runningTasksCount"] == 0 and memory() == before
    ecs.update_container_instances_state(containerInstances=[arn], status="DRAINING")
    assert instance()["status"] == "DRAINING"
    assert ecs.list_container_instances(status="DRAINING")["containerInstanceArns"] == [arn]
    refused(lambda: ecs.run_task(taskDefinition="started"), "InvalidParameterException", "No Container Instances")
    ecs.update_container_instances_state(containerInstances=[arn], status="ACTIVE")
    assert instance()["agentConnected"] is True and instance()["versionInfo"]["agentVersion"]
    answer = ecs.describe_container_instances(containerInstances=["0" * 32])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


def test_attributes(estiva):
    ecs = estiva.ecs
    [arn] = ecs.list_container_instances()["containerInstanceArns"]
    ecs.put_attributes(attributes=[{"name": "stack", "value": "production", "targetId": arn}])
    listed = ecs.list_attributes(targetType="container-instance", attributeName="stack", attributeValue="production")
    assert [(it["name"], it["value"], it["targetId"]) for it in listed["attributes"]] == [("stack", "production", arn)]
    assert ecs.list_container_instances(filter="attribute:stack == production")["containerInstanceArns"] == [arn]
    ecs.delete_attributes(attributes=[{"name": "stack", "targetId": arn}])
    assert ecs.list_attributes(targetType="container-instance", attributeName="stack")["attributes"] == []
    refused(lambda: ecs.put_attributes(attributes=[{"name": "x", "targetId": "0" * 32}]), "TargetNotFoundException")
    refused(lambda: ecs.put_attributes(attributes=[{"name": "ecs.os-type", "targetId": arn}]), "InvalidParameterException")


def test_tags(estiva):
    ecs = estiva.ecs
    definition = estiva.register(unique("tagged"), [container()])["taskDefinitionArn"]
    [cluster] = [it["clusterArn"] for it in ecs.describe_clusters()["clusters"]]
    [instance] = ecs.list_container_instances()["containerInstanceArns"]
    for arn in (cluster, definition, instance):
        ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
        ecs.untag_resource(resourceArn=arn, tagKeys=["b"])
    refused(lambda: ecs.tag_resource(resourceArn=f"{cluster}x", tags=[]), "ResourceNotFoundException")
    refused(lambda: ecs.list_tags_for_resource(resourceArn="nonsense"), "InvalidParameterException")
    refused(lambda: ecs.tag_resource(resourceArn=cluster, tags=[{"key": "aws:x", "value": ""}]), "InvalidParameterException")


def test_a_node_does_only_what_nodes_do(estiva):
    node = estiva.client("ecs", key="node")
    refused(node.list_clusters, "AccessDeniedException", "not authorized")
    refused(lambda: node.run_task(taskDefinition="x"), "AccessDeniedException")
    [instance] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    endpoint = node.discover_poll_endpoint(containerInstance=instance)["endpoint"]
    assert endpoint == f"{estiva.endpoint}/acs"
    refused(lambda: node.submit_task_state_change(task="0" * 32, status="STOPPED"), "InvalidParameterException", "Unable to find task")


def test_what_is_not_there_yet_says_so(estiva):
    answer = refused(lambda: estiva.ecs.list_services_by_namespace(namespace="x"), "NotImplemented", "ListServicesByNamespace")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_account_settings(estiva):
    estiva.aws("ecs", "put-account-setting-default", "--name", "containerInsights", "--value", "enhanced")
    settings = estiva.aws("ecs", "list-account-settings", "--effective-settings", "--name", "containerInsights")["settings"]
    assert [(it["value"], it["type"]) for it in settings] == [("enhanced", "user")]
    name = unique("watched")
    created = estiva.ecs.create_cluster(clusterName=name)["cluster"]
    assert created["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    estiva.ecs.delete_cluster(cluster=name)
    estiva.aws("ecs", "delete-account-setting", "--name", "containerInsights")
    assert estiva.ecs.list_account_settings()["settings"] == []
    refused(lambda: estiva.ecs.put_account_setting(name="taskLongArnFormat", value="disabled"), "InvalidParameterException", "taskLongArnFormat")


def test_capacity_providers(estiva):
    ecs, name, cluster = estiva.ecs, unique("provider"), unique("provided")
    group = f"arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/{name}"
    provider = estiva.aws(
        "ecs", "create-capacity-provider", "--name", name, "--auto-scaling-group-provider",
        f"autoScalingGroupArn={group},managedScaling={{status=ENABLED,targetCapacity=80}}",
    )["capacityProvider"]
    assert provider["status"] == "ACTIVE" and provider["autoScalingGroupProvider"]["managedScaling"]["instanceWarmupPeriod"] == 300
    ecs.update_capacity_provider(name=name, autoScalingGroupProvider={"managedScaling": {"targetCapacity": 90}})
    ecs.tag_resource(resourceArn=provider["capacityProviderArn"], tags=[{"key": "a", "value": "b"}])
    [shown] = ecs.describe_capacity_providers(capacityProviders=[name], include=["TAGS"])["capacityProviders"]
    assert shown["tags"] == [{"key": "a", "value": "b"}]
    ecs.create_cluster(clusterName=cluster, capacityProviders=["FARGATE", name])
    refused(lambda: ecs.delete_capacity_provider(capacityProvider=name), "ClientException", cluster)
    estiva.aws(
        "ecs", "put-cluster-capacity-providers", "--cluster", cluster, "--capacity-providers", "FARGATE", "FARGATE_SPOT",
        "--default-capacity-provider-strategy", "capacityProvider=FARGATE_SPOT,weight=1",
    )
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    estiva.register(name, [shell("sleep 1000", stopTimeout=2)], **fargate)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    [arn] = estiva.run(name, cluster=cluster, networkConfiguration=network, enableECSManagedTags=True)
    estiva.wait("RUNNING", arn, cluster)
    [task] = ecs.describe_tasks(cluster=cluster, tasks=[arn], include=["TAGS"])["tasks"]
    assert (task["capacityProviderName"], task["launchType"]) == ("FARGATE_SPOT", "FARGATE")
    assert task["tags"] == [{"key": "aws:ecs:clusterName", "value": cluster}]
    [statistics] = [it["statistics"] for it in ecs.describe_clusters(clusters=[cluster], include=["STATISTICS"])["clusters"]]
    assert {"name": "runningFargateTasksCount", "value": "1"} in statistics
    protection = ecs.get_task_protection(cluster=cluster, tasks=[arn])
    assert protection["protectedTasks"] == [{"taskArn": arn, "protectionEnabled": False}]
    update = ecs.update_task_protection(cluster=cluster, tasks=[arn], protectionEnabled=True)
    assert [failure["reason"] for failure in update["failures"]] == ["TASK_NOT_VALID"]
    ecs.stop_task(cluster=cluster, task=arn)
    estiva.wait("STOPPED", arn, cluster)
    ecs.delete_cluster(cluster=cluster)
    ecs.delete_capacity_provider(capacityProvider=name)


def test_placement_constraints(estiva):
    ecs, family = estiva.ecs, unique("constrained")
    [instance] = ecs.list_container_instances()["containerInstanceArns"]
    ecs.put_attributes(attributes=[{"name": "stack", "value": "a b", "targetId": instance}])
    estiva.register(family, [shell("sleep 1000", stopTimeout=2)], placementConstraints=[{"type": "memberOf", "expression": "attribute:stack == 'a b'"}])
    distinct = [{"type": "distinctInstance"}]
    [arn] = estiva.run(family, placementConstraints=distinct)
    again = ecs.run_task(taskDefinition=family, placementConstraints=distinct)
    assert [failure["reason"] for failure in again["failures"]] == ["DistinctInstance placement constraint unsatisfied."]
    nowhere = ecs.run_task(taskDefinition=family, placementConstraints=[{"type": "memberOf", "expression": "task:group == other"}])
    assert [failure["reason"] for failure in nowhere["failures"]] == ["MemberOf placement constraint unsatisfied."]
    wrong = [{"type": "memberOf", "expression": "attribute:stack == "}]
    refused(lambda: ecs.run_task(taskDefinition=family, placementConstraints=wrong), "InvalidParameterException", "expected a value at position 20")
    estiva.stop(arn)
    ecs.delete_attributes(attributes=[{"name": "stack", "targetId": instance}])
