"""AWS's own agent as a node, beside Estiva's."""

import json
import shutil

import pytest
from aws_agent import AwsAgent
from installation import container, eventually
from services import Service, define, quiet, refused, unique

CHECK = {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 2}
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"


@pytest.fixture
def new_agent(estiva, tmp_path):
    """Makes nodes with AWS's agent, each in a cluster of its own of the shared installation."""
    made = []

    def make(**more):
        cluster = unique("aws")
        estiva.ecs.create_cluster(clusterName=cluster)
        made.append(AwsAgent(estiva, tmp_path / cluster, cluster=cluster, **more).start())
        eventually(lambda: instance(made[-1])["agentConnected"])
        return made[-1]

    yield make
    for agent in made:
        for service in estiva.ecs.list_services(cluster=agent.cluster)["serviceArns"]:
            estiva.ecs.delete_service(cluster=agent.cluster, service=service, force=True)
        estiva.ecs.deregister_container_instance(cluster=agent.cluster, containerInstance=agent.arn, force=True)
        agent.kill()
        estiva.ecs.delete_cluster(cluster=agent.cluster)
        assert not agent.errors, agent.errors
        assert not agent.ignored, f"the agent does not know {agent.ignored}"


def instance(agent):
    found = agent.here.ecs.describe_container_instances(cluster=agent.cluster, containerInstances=[agent.arn])
    return found["containerInstances"][0]


def attributes(agent):
    return {it["name"]: it.get("value") for it in instance(agent)["attributes"]}


def run(agent, family, status="RUNNING", **more):
    [arn] = agent.here.run(family, cluster=agent.cluster, **more)
    return agent.here.wait(status, arn, agent.cluster)


def log(**options):
    return {"logDriver": "awslogs", "options": options}


def test_it_joins_and_says_what_it_is(estiva, new_agent):
    document = {"instanceId": "i-0123456789abcdef0", "availabilityZone": "us-east-1b", "instanceType": "t3.large",
                "architecture": "x86_64", "imageId": "ami-0123456789abcdef0", "region": "us-east-1"}
    agent = new_agent(document=document, attributes=[{"name": "rack", "value": "7"}])
    expected = {"agentVersion": "1.105.1", "agentHash": "*fd4a1de2", "dockerVersion": "DockerVersion: 20.10.24+dfsg1"}
    assert instance(agent)["versionInfo"] == expected
    assert instance(agent)["ec2InstanceId"] == document["instanceId"]
    found = attributes(agent)
    assert [found[f"ecs.{name}"] for name in ["availability-zone", "instance-type", "cpu-architecture", "ami-id"]] == [
        document[name] for name in ["availabilityZone", "instanceType", "architecture", "imageId"]
    ]
    for filter, instances in [("agentVersion >= 1.100.0", [agent.arn]), ("agentVersion < 1.100.0", [])]:
        listed = estiva.ecs.list_container_instances(cluster=agent.cluster, filter=filter)
        assert listed["containerInstanceArns"] == instances, filter
    estiva.register("intel", [container()], runtimePlatform={"cpuArchitecture": "X86_64"})
    assert run(agent, "intel")["availabilityZone"] == "us-east-1b"
    # Its disk outlives it; of what its owner wrote into its configuration it says nothing any more.
    before = agent.arn
    agent.kill()
    agent.start()
    assert agent.arn == before and attributes(agent)["rack"] == "7"
    assert instance(agent)["versionInfo"] == expected
    agent.publish_status()


def test_a_service_with_a_health_check_is_deployed(estiva, new_agent):
    agent = new_agent()
    first, second = (define(estiva, unique("checked"), container(memory=50, healthCheck=CHECK)) for _ in range(2))
    service = Service(estiva, first, 2, cluster=agent.cluster)

    def healthy(but=None):
        agent.publish_health({arn: "HEALTHY" for arn in list(agent.tasks) if arn != but})
        return service.primary()["rolloutState"] == "COMPLETED" and len(service.arns()) == 2

    eventually(lambda: len(agent.tasks) == 2)
    assert service.primary()["rolloutState"] == "IN_PROGRESS"
    eventually(healthy)
    former = service.arns()
    assert {task["healthStatus"] for task in service.tasks()} == {"HEALTHY"}
    service.update(taskDefinition=second)
    eventually(healthy)
    eventually(lambda: service.arns().isdisjoint(former) and len(agent.tasks) == 2)
    # One that is not well is replaced.
    [ill, _] = sorted(service.arns())
    agent.publish_health({ill: "UNHEALTHY"})
    eventually(lambda: healthy(but=ill) and ill not in service.arns())
    assert estiva.task(ill, agent.cluster)["stoppedReason"].endswith("failed container health checks")


def test_awslogs_as_everybody_writes_it(estiva, new_agent):
    agent = new_agent()
    group = f"/{unique('aws')}"
    written = {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
    definitions = [
        container("web", logConfiguration=log(**written, **{"awslogs-stream-prefix": "p"})),
        container("own", logConfiguration=log(**written, **{"awslogs-stream": "mine"})),
        container("file", logConfiguration={"logDriver": "json-file", "options": {"max-size": "1m"}}),
    ]
    family = unique("logged")
    estiva.register(family, definitions)
    arn = run(agent, family)["taskArn"]
    task = agent.tasks[arn]
    stream = f"p/web/{arn.rsplit('/', 1)[-1]}"
    assert agent.log(task, "web", "one", "two") == (group, stream, agent.key["access_key_id"])
    assert estiva.messages(group, stream) == ["one", "two"]
    assert agent.log(task, "own", "three")[:2] == (group, "mine")

    # With an execution role the agent points dockerd at that one's credentials, which are not the task's.
    estiva.register(family, definitions[:1], executionRoleArn=ROLE, taskRoleArn=ROLE.replace("ecsTaskExecution", "web"))
    arn = run(agent, family)["taskArn"]
    task = agent.tasks[arn]
    _, stream, key = agent.log(task, "web", "four")
    assert key not in [agent.key["access_key_id"], task["roleCredentials"]["accessKeyId"]]
    assert task["executionRoleCredentials"]["credentialsId"] != task["roleCredentials"]["credentialsId"]
    assert estiva.messages(group, stream) == ["four"]
    # A loopback address is the container's own there.
    assert "AWS_ENDPOINT_URL" not in task["containers"][0]["environment"]
    # Both come again to an agent that was away.
    agent.kill()
    agent.credentials.clear()
    agent.start()
    eventually(lambda: len(agent.credentials) == 2)
    agent.log(agent.tasks[arn], "web", "five")


def test_a_log_router_gets_the_options_that_were_written(estiva, new_agent):
    agent = new_agent()
    options = {"Name": "stdout", "log-driver-buffer-limit": "1000"}
    estiva.register("routed", [
        container("router", firelensConfiguration={"type": "fluentbit"}),
        container("web", logConfiguration={"logDriver": "awsfirelens", "options": options}),
    ])
    task = agent.tasks[run(agent, "routed")["taskArn"]]
    assert agent.host_config(task["containers"][1])["LogConfig"] == {"Type": "awsfirelens", "Config": options}


def test_an_empty_reason_is_none(estiva, new_agent):
    agent = new_agent()
    estiva.register("ends", [container()])
    task = run(agent, "ends")
    assert task["connectivity"] == "CONNECTED" and "pullStartedAt" not in task
    agent.report(agent.tasks[task["taskArn"]], "STOPPED", exitCode=0)
    ended = estiva.wait("STOPPED", task["taskArn"], agent.cluster)
    assert ended["stoppedReason"] == "Essential container in task exited" and "reason" not in ended["containers"][0]
    why = "CannotStartContainerError: no such program"
    agent.behave = lambda agent, task: agent.report(task, "STOPPED", why=why)
    failed = run(agent, "ends", "STOPPED")
    assert failed["stoppedReason"] == why and failed["stopCode"] == "TaskFailedToStart"


def test_it_is_not_asked_for_what_it_cannot_do(estiva, new_agent):
    agent = new_agent()
    estiva.register("plain", [container()])
    answer = estiva.ecs.run_task(cluster=agent.cluster, taskDefinition="plain", enableExecuteCommand=True)
    assert [it["reason"] for it in answer["failures"]] == ["ATTRIBUTE"]
    service = Service(estiva, "plain", 1, cluster=agent.cluster, enableExecuteCommand=True)
    eventually(lambda: any("unable to place a task" in event for event in service.events()))
    service.delete()
    arn = run(agent, "plain")["taskArn"]
    refused(lambda: estiva.ecs.execute_command(cluster=agent.cluster, task=arn, command="id", interactive=True),
            "InvalidParameterException", "agent isn\u2019t running")
    pull = estiva.estiva("image", "pull", "--json", "busybox", "--cluster", agent.cluster, check=False)
    [node] = json.loads(pull.stdout)["nodes"]
    assert (node["status"], node["reason"]) == ("FAILED", "the node's agent cannot pull ahead")


def test_a_spot_notice_drains_the_node(estiva, new_agent):
    agent, other = new_agent(), new_agent()

    def drain(agent, status="DRAINING", of=None):
        of = of or agent
        return agent.ecs.update_container_instances_state(cluster=of.cluster, containerInstances=[of.arn], status=status)

    [drained] = drain(agent)["containerInstances"]
    assert drained["status"] == "DRAINING"
    refused(lambda: drain(agent, "ACTIVE"), "AccessDeniedException")
    assert instance(other)["status"] == "ACTIVE"


def test_counters_are_no_rates(estiva, new_agent):
    agent = new_agent()
    estiva.register("measured", [container()])
    arn = run(agent, "measured")["taskArn"]

    def total(value, count=15):
        return {"min": value, "max": value, "sum": value * count, "sampleCount": count,
                "overflowMin": 0, "overflowMax": 0, "overflowSum": 0}

    def average(value, count=15):
        return {"min": 0.0, "max": value * count, "sum": value * count, "sampleCount": count}

    def shown(written, restarts):
        agent.publish_metrics({arn: {"main": {
            "cpuStatsSet": average(50.0), "memoryStatsSet": total(7),
            "networkStatsSet": {"rxBytes": total(1016), "txBytes": total(500), "rxBytesPerSecond": average(0.0), "txBytesPerSecond": average(2.0)},
            "storageStatsSet": {"readSizeBytes": total(1 << 30), "writeSizeBytes": total(written)},
            "restartStatsSet": {"restartCount": restarts},
        }}})
        [task] = json.loads(estiva.estiva("top", "--json", "--cluster", agent.cluster).stdout)
        return task["containers"][0]

    first = shown(1 << 20, 1)
    assert (first["cpuPercent"], first["memoryMiB"]) == (50.0, 7.0)
    assert (first["networkReceivedBytesPerSecond"], first["networkSentBytesPerSecond"]) == (0.0, 2.0)
    assert "storageReadBytesPerSecond" not in first and first["restartCount"] == 1
    second = shown(1 << 21, 2)
    assert second["storageReadBytesPerSecond"] == 0.0 and second["storageWrittenBytesPerSecond"] > 0.0
    assert second["restartCount"] == 3


def test_its_own_reconnect_keeps_everything(estiva, new_agent):
    agent = new_agent()
    estiva.register("kept", [container()])
    arn = run(agent, "kept")["taskArn"]
    before = len(agent.manifests)
    agent.reconnect()
    eventually(lambda: len(agent.manifests) > before)
    assert agent.tasks[arn]["desiredStatus"] == "RUNNING" and not agent.discarded
    assert estiva.task(arn, agent.cluster)["lastStatus"] == "RUNNING"
    estiva.stop(arn, agent.cluster)


def test_nodes_of_both_kinds_share_a_cluster(new_installation, tmp_path):
    here = new_installation()
    agent = AwsAgent(here, tmp_path / "node").start()
    here.register("both", [quiet()])
    spread = [{"type": "spread", "field": "instanceId"}]
    tasks = here.ecs.run_task(taskDefinition="both", count=2, placementStrategy=spread)["tasks"]
    nodes = {task["containerInstanceArn"] for task in tasks}
    assert len(nodes) == 2 and agent.arn in nodes
    for task in tasks:
        here.wait("RUNNING", task["taskArn"])
    # What only Estiva's agent can do goes to its node.
    for _ in range(3):
        [task] = here.ecs.run_task(taskDefinition="both", enableExecuteCommand=True)["tasks"]
        assert task["containerInstanceArn"] != agent.arn
        here.wait("RUNNING", task["taskArn"])
    agent.kill()
    assert not agent.errors


def test_what_a_store_from_a_backup_does_not_know_ends(new_installation, tmp_path):
    """Though the node has heard of later manifests than that store ever gave out, and keeps that on its disk."""
    here = new_installation()
    agent = AwsAgent(here, tmp_path / "node").start()
    here.register("both", [quiet()])
    agent.kill()
    here.down()
    store, backup = here.data / "server/store", tmp_path / "backup"
    shutil.copytree(store, backup)
    here.up()
    agent.start()
    started = here.ecs.start_task(taskDefinition="both", containerInstances=[agent.arn])
    [surplus] = [task["taskArn"] for task in started["tasks"]]
    # So much is lost with the store that a restart does not make up for it.
    for turn in range(20):
        here.ecs.put_attributes(attributes=[{"name": "turn", "value": str(turn), "targetId": agent.arn}])
    here.wait("RUNNING", surplus)
    agent.reconnect()
    agent.kill()
    here.down()
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    here.up()
    agent.start()
    eventually(lambda: surplus in agent.stopped_by_manifest)
    assert not agent.discarded and not agent.errors
    agent.kill()
