"""Services through the AWS CLI and boto3: as many tasks as are wanted, of the revision that is wanted."""

import concurrent.futures
import http.client
import threading
import uuid

import pytest
from installation import container, eventually
from services import PATIENCE, Service, define, quiet, refused, revision_of, unique


def port_of(task):
    return task["containers"][0]["networkBindings"][0]["hostPort"]


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def answering(service):
    return sum(answers(port_of(task)) for task in service.running())


class Client(threading.Thread):
    """Sends requests to every running task, again and again. A task may go between a look and a request: fewer than `least`
    are a fault only if several looks in a row find them."""

    LOOKS = 5

    def __init__(self, service, least):
        super().__init__()
        self.service, self.least = service, least
        self.rounds, self.faults, self.ends = 0, [], threading.Event()

    def run(self):
        while not self.ends.is_set():
            found = []
            while len(found) < self.LOOKS and (not found or found[-1] < self.least):
                found.append(answering(self.service))
            if found[-1] < self.least:
                self.faults.append(found)
            self.rounds += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()


def test_a_service_from_its_making_to_its_end_with_the_cli(estiva):
    name, family = unique("web"), unique("web")
    web = container(image="hello", memory=16, portMappings=[{"containerPort": 8080}])
    first, second = define(estiva, family, web), define(estiva, family, web)
    made = estiva.aws(
        "ecs", "create-service", "--service-name", name, "--task-definition", first, "--desired-count", "4",
        "--deployment-configuration", "minimumHealthyPercent=75,maximumPercent=150",
    )["service"]
    assert made["status"] == "ACTIVE" and made["desiredCount"] == 4 and made["schedulingStrategy"] == "REPLICA"
    assert made["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    again = estiva.aws("ecs", "create-service", "--service-name", name, "--task-definition", first, "--desired-count", "4", check=False)
    assert "InvalidParameterException" in again.stderr and "Creation of service was not idempotent." in again.stderr
    estiva.aws("ecs", "wait", "services-stable", "--services", name)
    [shown] = estiva.aws("ecs", "describe-services", "--services", name, "nowhere", "--include", "TAGS")["services"]
    assert (shown["runningCount"], shown["pendingCount"], shown["desiredCount"]) == (4, 0, 4)
    assert made["serviceArn"] in estiva.aws("ecs", "list-services")["serviceArns"]

    service = Service.__new__(Service)
    service.here, service.name, service.cluster = estiva, name, "default"
    eventually(lambda: answering(service) == 4)
    with Client(service, 3) as client:
        estiva.aws("ecs", "update-service", "--service", name, "--task-definition", second)
        service.stable()
    assert not client.faults and client.rounds > 0
    assert {revision_of(task) for task in service.running()} == {2}
    assert answering(service) == 4

    refuses = estiva.aws("ecs", "delete-service", "--service", name, check=False)
    assert "The service cannot be stopped while it is scaled above 0." in refuses.stderr
    tasks = service.arns()
    gone = estiva.aws("ecs", "delete-service", "--service", name, "--force")["service"]
    assert gone["status"] == "DRAINING"
    estiva.aws("ecs", "wait", "services-inactive", "--services", name)
    assert service.show()["status"] == "INACTIVE" and service.arns() == set()
    assert {estiva.task(arn)["lastStatus"] for arn in tasks} == {"STOPPED"}
    assert made["serviceArn"] not in estiva.ecs.list_services(maxResults=100)["serviceArns"]
    afresh = Service(estiva, first, 1, name=name)
    afresh.stable()
    assert [event for event in afresh.events() if "steady" in event] == ["has reached a steady state."]
    afresh.delete()


def test_a_service_that_is_draining_is_in_the_way_of_its_name(estiva):
    stubborn = define(estiva, unique("stubborn"), container(memory=16, command=["sleep", "100000"], stopTimeout=5))
    service = Service(estiva, stubborn, 1)
    service.stable()
    estiva.ecs.delete_service(service=service.name, force=True)
    assert service.show()["status"] == "DRAINING"
    refused(lambda: Service(estiva, stubborn, 1, name=service.name), "InvalidParameterException", "still Draining")
    refused(lambda: service.update(desiredCount=2), "ServiceNotActiveException", "Service was not ACTIVE.")
    assert service.arn not in estiva.ecs.list_services(maxResults=100)["serviceArns"]
    eventually(lambda: service.show()["status"] == "INACTIVE")


def test_a_service_grows_to_fifty_and_shrinks_to_three_and_spares_protected_tasks(new_service, estiva):
    service = new_service(define(estiva, unique("many")), 1)
    service.stable()
    service.update(desiredCount=50)
    assert len({task["taskArn"] for task in service.stable() and service.running()}) == 50
    protected = sorted(service.arns())[:5]
    answer = estiva.ecs.update_task_protection(cluster="default", tasks=protected, protectionEnabled=True, expiresInMinutes=5)
    assert not answer["failures"] and all(it["protectionEnabled"] for it in answer["protectedTasks"])
    service.update(desiredCount=3)
    eventually(lambda: service.arns() == set(protected), PATIENCE)
    assert {task["lastStatus"] for task in service.tasks()} == {"RUNNING"}
    estiva.ecs.update_task_protection(cluster="default", tasks=protected, protectionEnabled=False)
    service.stable()
    assert len(service.arns()) == 3 and service.arns() < set(protected)


def test_tasks_are_where_a_services_tasks_are_looked_for(new_service, estiva):
    tags = [{"key": "team", "value": "blue"}]
    of_definition = [{"key": "from", "value": "definition"}]
    definition = define(estiva, unique("tagged"), tags=of_definition)
    before = estiva.ecs.describe_clusters(clusters=["default"])["clusters"][0]["activeServicesCount"]
    by_service = new_service(definition, 2, tags=tags, propagateTags="SERVICE", enableECSManagedTags=True)
    by_definition = new_service(definition, 1, tags=tags, propagateTags="TASK_DEFINITION")
    cluster = estiva.ecs.describe_clusters(clusters=["default"])["clusters"][0]
    assert cluster["activeServicesCount"] == before + 2
    for service in (by_service, by_definition):
        service.stable()
        for task in service.tasks():
            assert task["group"] == f"service:{service.name}"
            assert task["startedBy"] == service.primary()["id"]
    managed = [{"key": "aws:ecs:serviceName", "value": by_service.name}, {"key": "aws:ecs:clusterName", "value": "default"}]
    for task in by_service.tasks():
        assert sorted(map(str, task["tags"])) == sorted(map(str, tags + managed))
    assert [task["tags"] for task in by_definition.tasks()] == [of_definition]
    estiva.ecs.tag_resource(resourceArn=by_service.arn, tags=[{"key": "a", "value": "1"}])
    estiva.ecs.untag_resource(resourceArn=by_service.arn, tagKeys=["team"])
    assert by_service.show(include=["TAGS"])["tags"] == [{"key": "a", "value": "1"}]
    assert estiva.ecs.list_tags_for_resource(resourceArn=by_service.arn)["tags"] == [{"key": "a", "value": "1"}]


def test_a_cluster_with_services_stays(estiva):
    cluster = unique("cluster")
    estiva.ecs.create_cluster(clusterName=cluster)
    service = Service(estiva, define(estiva, unique("alone")), 0, cluster=cluster)
    refused(lambda: estiva.ecs.delete_cluster(cluster=cluster), "ClusterContainsServicesException")
    estiva.ecs.delete_service(cluster=cluster, service=service.name)
    eventually(lambda: service.show()["status"] == "INACTIVE")
    assert estiva.ecs.delete_cluster(cluster=cluster)["cluster"]["status"] == "INACTIVE"


FARGATE = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}


def test_a_fargate_service_with_addresses_of_its_own(new_service, estiva):
    definition = define(estiva, unique("fargate"), **FARGATE)
    refused(lambda: new_service(definition, 1, launchType="FARGATE"), "InvalidParameterException", "Network Configuration")
    service = new_service(definition, 2, launchType="FARGATE", networkConfiguration=NETWORK)
    shown = service.stable()
    assert shown["platformVersion"] and shown["launchType"] == "FARGATE"
    addresses = {task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for task in service.running()}
    assert len(addresses) == 2
    assert {task["launchType"] for task in service.running()} == {"FARGATE"}


def test_capacity_providers_share_a_services_tasks(estiva):
    cluster = unique("provided")
    estiva.ecs.create_cluster(clusterName=cluster, capacityProviders=["FARGATE", "FARGATE_SPOT"])
    strategy = [{"capacityProvider": "FARGATE", "base": 1, "weight": 1}, {"capacityProvider": "FARGATE_SPOT", "weight": 3}]
    definition = define(estiva, unique("shared"), **FARGATE)
    service = Service(estiva, definition, 5, cluster=cluster, capacityProviderStrategy=strategy, networkConfiguration=NETWORK)
    service.stable()

    def shares():
        providers = [task["capacityProviderName"] for task in service.running()]
        return providers.count("FARGATE"), providers.count("FARGATE_SPOT")

    assert shares() == (2, 3)
    service.update(desiredCount=1)
    service.stable()
    service.delete()
    estiva.ecs.delete_cluster(cluster=cluster)


@pytest.fixture
def instance(estiva):
    """The one container instance; ACTIVE again afterwards."""
    [arn] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    yield arn
    estiva.ecs.update_container_instances_state(containerInstances=[arn], status="ACTIVE")


def test_a_daemon_has_one_task_on_each_instance(new_service, estiva, instance):
    family = unique("daemon")
    first, second = define(estiva, family), define(estiva, family)
    service = new_service(first, schedulingStrategy="DAEMON")
    service.stable()
    [task] = service.running()
    assert service.show()["desiredCount"] == 1
    refused(lambda: service.update(desiredCount=2), "InvalidParameterException", "daemon")
    service.update(taskDefinition=second)
    service.stable()
    [updated] = service.running()
    assert revision_of(updated) == 2 and estiva.task(task["taskArn"])["lastStatus"] == "STOPPED"
    estiva.ecs.update_container_instances_state(containerInstances=[instance], status="DRAINING")
    eventually(lambda: not service.arns(), PATIENCE)
    eventually(lambda: service.show()["runningCount"] == 0)
    estiva.ecs.update_container_instances_state(containerInstances=[instance], status="ACTIVE")
    service.stable()
    [back] = service.runs(1)
    assert back["taskArn"] != updated["taskArn"]


def test_the_tasks_of_an_instance_that_takes_leave_wait_for_their_successors(new_service, estiva, instance):
    """There is nowhere else to go: running tasks stay, for a minimum of 100 percent of them is promised."""
    service = new_service(define(estiva, unique("stays")), 2)
    service.stable()
    before = service.arns()
    estiva.ecs.update_container_instances_state(containerInstances=[instance], status="DRAINING")
    service.tells("was unable to place a task")
    assert service.arns() == before
    estiva.ecs.update_container_instances_state(containerInstances=[instance], status="ACTIVE")
    service.stable()
    assert service.arns() == before


def test_updates_that_race_end_with_one_revision(new_service, estiva):
    family = unique("racing")
    definitions = [define(estiva, family) for _ in range(20)]
    service = new_service(definitions[0], 2)

    def update(definition):
        return estiva.client("ecs").update_service(service=service.name, taskDefinition=definition)["service"]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(update, definitions))
    shown = service.stable()
    wanted = int(shown["taskDefinition"].rsplit(":", 1)[1])
    assert [revision_of(task) for task in service.running()] == [wanted, wanted]
    service.update(taskDefinition=definitions[7])
    service.stable()
    assert [revision_of(task) for task in service.running()] == [8, 8]
    statuses = [it["status"] for it in service.deployments(maxResults=100)]
    assert statuses[0] == "SUCCESSFUL" and set(statuses[1:]) <= {"STOPPED", "SUCCESSFUL"}


def test_a_service_is_deleted_in_the_midst_of_a_deployment(new_service, estiva):
    family = unique("deleted")
    first, second = define(estiva, family), define(estiva, family)
    service = new_service(first, 5)
    service.stable()
    service.update(taskDefinition=second)
    service.delete()
    assert service.deployment()["status"] == "STOPPED"
    assert service.arns() == set() and service.show()["deployments"] == []


BAD = [
    ({"taskDefinition": "nothing-such"}, "ClientException", "TaskDefinition not found."),
    ({"taskDefinition": ""}, "InvalidParameterException", "TaskDefinition can not be blank."),
    ({"serviceName": "not a name"}, "InvalidParameterException", "ServiceName must match"),
    ({"cluster": "nowhere"}, "ClusterNotFoundException", "Cluster not found."),
    ({"desiredCount": -1}, "InvalidParameterException", "desiredCount"),
    ({"desiredCount": 5001}, "InvalidParameterException", "desiredCount"),
    ({"schedulingStrategy": "DAEMON"}, "InvalidParameterException", "does not support a desired count"),
    ({"launchType": "EC2", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, "InvalidParameterException", "both a launch type"),
    ({"placementConstraints": [{"type": "memberOf", "expression": "nonsense"}]}, "InvalidParameterException", "nonsense"),
    ({"placementStrategy": [{"type": "binpack", "field": "colour"}]}, "InvalidParameterException", "colour"),
    ({"deploymentConfiguration": {"maximumPercent": 50}}, "InvalidParameterException", "maximumPercent"),
    ({"deploymentConfiguration": {"minimumHealthyPercent": 150, "maximumPercent": 120}}, "InvalidParameterException", "minimumHealthyPercent"),
    ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "InvalidParameterException", "strategy"),
    ({"deploymentConfiguration": {"bakeTimeInMinutes": 1441}}, "InvalidParameterException", "bakeTimeInMinutes"),
    ({"deploymentConfiguration": {"earlySuccessCriteria": {"enable": True, "healthyPercent": 0}}}, "InvalidParameterException", "healthyPercent"),
    ({"deploymentController": {"type": "CODE_DEPLOY"}}, "InvalidParameterException", "CODE_DEPLOY"),
    ({"healthCheckGracePeriodSeconds": -1}, "InvalidParameterException", "healthCheckGracePeriodSeconds"),
    ({"platformVersion": "1.4.0"}, "InvalidParameterException", "platform version"),
    ({"loadBalancers": [{"targetGroupArn": "x", "containerName": "main", "containerPort": 80}]}, "InvalidParameterException", "loadBalancers"),
    ({"tags": [{"key": "aws:mine", "value": ""}]}, "InvalidParameterException", "aws:"),
    ({"clientToken": "t" * 37}, "InvalidParameterException", "clientToken"),
    ({"deploymentController": {"type": "EXTERNAL"}, "desiredCount": 0}, "InvalidParameterException", "TaskDefinition must be blank"),
    ({"deploymentConfiguration": {"canaryConfiguration": {"canaryPercent": 5.0}}}, "InvalidParameterException", "canaryConfiguration"),
]


@pytest.mark.parametrize(("change", "code", "text"), BAD, ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_a_service_that_cannot_be_is_refused_by_field(estiva, change, code, text):
    request = {"serviceName": unique("refused"), "taskDefinition": define(estiva, "to-be-refused"), "desiredCount": 1, **change}
    refused(lambda: estiva.ecs.create_service(**request), code, text)


def test_a_token_stands_for_one_request(estiva):
    request = {"serviceName": unique("once"), "taskDefinition": define(estiva, unique("once")), "clientToken": uuid.uuid4().hex}
    made = estiva.ecs.create_service(**request, desiredCount=0)["service"]
    again = estiva.ecs.create_service(**request, desiredCount=0)["service"]
    assert (again["serviceArn"], again["createdAt"]) == (made["serviceArn"], made["createdAt"])
    refused(
        lambda: estiva.ecs.create_service(**request, desiredCount=1),
        "InvalidParameterException",
        "Creation of service was not idempotent.",
    )
    estiva.ecs.delete_service(service=request["serviceName"])


def test_an_arn_of_another_cluster_means_no_service_of_this_one(new_service, estiva):
    cluster, name = unique("other"), unique("twin")
    definition = define(estiva, unique("twin"))
    estiva.ecs.create_cluster(clusterName=cluster)
    here = new_service(definition, 0, name=name)
    there = Service(estiva, definition, 0, name=name, cluster=cluster)
    text = f"Identifier is for cluster {cluster}. Your cluster is default."
    for call in (
        lambda: estiva.ecs.delete_service(service=there.arn),
        lambda: estiva.ecs.update_service(service=there.arn, desiredCount=1),
        lambda: estiva.ecs.describe_services(services=[there.arn]),
    ):
        refused(call, "InvalidParameterException", text)
    assert (here.show()["status"], here.show()["desiredCount"]) == ("ACTIVE", 0)
    there.delete()
    estiva.ecs.delete_cluster(cluster=cluster)


def test_a_daemon_is_waited_for(new_service, estiva):
    service = new_service(define(estiva, unique("daemon")), schedulingStrategy="DAEMON")
    assert (service.made["desiredCount"], service.made["runningCount"]) == (1, 0)
    estiva.aws("ecs", "wait", "services-stable", "--services", service.name)
    assert len(service.running()) == 1


def test_operations_refuse_what_is_not_there(new_service, estiva):
    ecs = estiva.ecs
    service = new_service(define(estiva, unique("there")), 0)
    none = "arn:aws:ecs:us-east-1:000000000000:service-{}/default/none/0"
    for call, code, text in [
        (lambda: ecs.update_service(service="none", desiredCount=1), "ServiceNotFoundException", "Service not found."),
        (lambda: ecs.delete_service(service="none"), "ServiceNotFoundException", "Service not found."),
        (lambda: ecs.describe_services(services=[]), "InvalidParameterException", "Services cannot be empty."),
        (lambda: ecs.describe_services(services=["x"] * 11), "InvalidParameterException", "10"),
        (lambda: service.update(taskDefinition="none"), "ClientException", "TaskDefinition not found."),
        (lambda: service.update(desiredCount=-1), "InvalidParameterException", "desiredCount"),
        (lambda: ecs.list_services(cluster="nowhere"), "ClusterNotFoundException", ""),
        (lambda: ecs.list_services(nextToken="nonsense"), "InvalidParameterException", "token"),
        (lambda: ecs.list_service_deployments(service="none"), "ServiceNotFoundException", "Service not found."),
        (lambda: ecs.describe_service_deployments(serviceDeploymentArns=[]), "InvalidParameterException", "serviceDeploymentArns"),
        (lambda: ecs.describe_service_deployments(serviceDeploymentArns=["x"]), "InvalidParameterException", "Invalid service deployment ARN"),
        (lambda: ecs.describe_service_revisions(serviceRevisionArns=["x"]), "InvalidParameterException", "Invalid service revision ARN"),
        (lambda: ecs.stop_service_deployment(serviceDeploymentArn=none.format("deployment")), "ServiceDeploymentNotFoundException", ""),
        (
            lambda: ecs.continue_service_deployment(serviceDeploymentArn=none.format("deployment"), hookId="x"),
            "ServiceDeploymentNotFoundException",
            "",
        ),
        (lambda: ecs.describe_task_sets(cluster="default", service=service.name), "InvalidParameterException", "EXTERNAL"),
    ]:
        refused(call, code, text)
    for answer in (
        ecs.describe_services(services=["none"]),
        ecs.describe_service_deployments(serviceDeploymentArns=[none.format("deployment")]),
        ecs.describe_service_revisions(serviceRevisionArns=[none.format("revision")]),
    ):
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


def test_services_are_listed_page_by_page(estiva):
    cluster = unique("listed")
    estiva.ecs.create_cluster(clusterName=cluster)
    definition = define(estiva, unique("listed"))
    made = [Service(estiva, definition, 0, cluster=cluster) for _ in range(12)]
    daemon = Service(estiva, definition, cluster=cluster, schedulingStrategy="DAEMON")
    everything = sorted(service.arn for service in [*made, daemon])
    assert len(estiva.ecs.list_services(cluster=cluster)["serviceArns"]) == 10
    pages = estiva.ecs.get_paginator("list_services").paginate(cluster=cluster, PaginationConfig={"PageSize": 5})
    listed = [arn for page in pages for arn in page["serviceArns"]]
    assert sorted(listed) == everything and len(set(listed)) == len(listed)
    assert estiva.ecs.list_services(cluster=cluster, schedulingStrategy="DAEMON")["serviceArns"] == [daemon.arn]
    assert estiva.ecs.list_services(cluster=cluster, launchType="FARGATE")["serviceArns"] == []
    for service in [*made, daemon]:
        service.delete()
    estiva.ecs.delete_cluster(cluster=cluster)
