"""What ECS does and says where a client can tell the difference: on a node, with containers."""

import resource
from pathlib import Path

import pytest
from installation import container, eventually, shell
from services import QUIET, define, quiet, refused, unique

SUBNETS = {"awsvpcConfiguration": {"subnets": ["subnet-12345678"]}}


def containers(task):
    return {it["name"]: it for it in task["containers"]}


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        ({"command": ["/nope"]}, "CannotStartContainerError"),
        ({"image": "127.0.0.1:1/nowhere:1"}, "CannotPullContainerError"),
        ({"user": "nobody-knows-me"}, "Cannot"),
        ({"dependsOn": [{"containerName": "first", "condition": "SUCCESS"}]}, "waits for SUCCESS of container first"),
    ],
    ids=["program", "image", "user", "dependency"],
)
def test_a_task_goes_on_without_a_container_that_is_not_essential(estiva, side, reason):
    family = unique("without")
    web = shell(QUIET, name="web", memory=32, stopTimeout=2)
    first = shell("exit 3", name="first", memory=16, essential=False)
    estiva.register(family, [web, first, container(**{"name": "side", "essential": False, "memory": 32, **side})])
    [arn] = estiva.run(family)
    task = estiva.wait("RUNNING", arn)
    shown = containers(task)
    assert shown["side"]["lastStatus"] == "STOPPED" and reason in shown["side"]["reason"], shown["side"]
    assert "exitCode" not in shown["side"] and not shown["side"]["networkBindings"]
    assert shown["web"]["lastStatus"] == "RUNNING" and task["startedAt"]
    assert estiva.stop(arn)["stopCode"] == "UserInitiated"


def test_a_container_that_failed_stays_so_when_the_agent_starts_again(new_installation):
    here = new_installation()
    web = shell(QUIET, name="web", memory=32, stopTimeout=2)
    here.register("without", [web, container(name="side", essential=False, command=["/nope"])])
    [arn] = here.run("without")
    before = containers(here.wait("RUNNING", arn))
    [killed] = here.kill("agent")
    eventually(lambda: [pid for pid in here.processes("agent") if pid != killed], 60)
    task = here.stop(arn)
    side = containers(task)["side"]
    assert task["stopCode"] == "UserInitiated" and "exitCode" not in side
    assert side["reason"] == before["side"]["reason"]


def test_the_end_of_the_essential_container_is_the_tasks(estiva):
    family = unique("ends")
    estiva.register(family, [shell("exit 4", name="web"), container(name="side", essential=False, command=["/nope"])])
    task = estiva.run_to_end(family)
    assert (task["stopCode"], containers(task)["web"]["exitCode"]) == ("EssentialContainerExited", 4)


def fargates_limit():
    """65535, or what the node has if it may not raise it."""
    [effective] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")]
    may_raise = int(effective, 16) >> 24 & 1
    return 65535 if may_raise else min(65535, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def test_a_fargate_task_fails_with_any_image_and_has_fargates_limit_of_files(estiva):
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    run = {"launchType": "FARGATE", "networkConfiguration": SUBNETS}
    family = unique("files")
    most = fargates_limit()
    limits = f"[ $(ulimit -n) = {most} ] && [ $(ulimit -Hn) = {most} ]"
    own = [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}]
    of_others = "[ $(ulimit -n) = 1024 ] && [ $(ulimit -Hn) = 2048 ]"
    estiva.register(family, [shell(limits), shell(f"{of_others} && sleep 1000", name="own", ulimits=own, stopTimeout=2)], **fargate)
    task = estiva.run_to_end(family, **run)
    assert containers(task)["main"].get("exitCode") == 0, task
    assert task["fargateEphemeralStorage"] == {"sizeInGiB": 20}
    family = unique("pulls")
    estiva.register(family, [quiet(), container(name="side", essential=False, image="127.0.0.1:1/nowhere:1")], **fargate)
    task = estiva.run_to_end(family, **run)
    assert (task["stopCode"], task["stoppedReason"][:24]) == ("TaskFailedToStart", "CannotPullContainerError"), task


def test_a_revision_that_exits_at_once_has_failed_however_long_its_sidecar_takes(new_installation):
    here = new_installation("--healthy-after", "1s")
    side = shell("trap '' TERM; sleep 600 & wait; sleep 600", name="side", memory=16, essential=False, stopTimeout=3)
    good = define(here, "sided", quiet(), side)
    breaker = {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 2}}
    here.ecs.create_service(
        serviceName="web", taskDefinition=good, desiredCount=1, deploymentConfiguration={"deploymentCircuitBreaker": breaker}
    )

    def show():
        return here.ecs.describe_services(services=["web"])["services"][0]

    eventually(lambda: show()["deployments"][0]["rolloutState"] == "COMPLETED", 60)
    bad = define(here, "sided", container(command=["false"], memory=16), side)
    here.ecs.update_service(service="web", taskDefinition=bad)

    def newest():
        [listed, *_] = here.ecs.list_service_deployments(service="web")["serviceDeployments"]
        assert listed["status"] != "SUCCESSFUL", listed
        return listed["status"] == "ROLLBACK_SUCCESSFUL"

    eventually(newest, 90)
    assert show()["taskDefinition"].endswith(good)


def test_the_sessions_agent_says_since_when(estiva):
    family = unique("session")
    estiva.register(family, [quiet()])
    [arn] = estiva.run(family, enableExecuteCommand=True)
    [agent] = estiva.wait("RUNNING", arn)["containers"][0]["managedAgents"]
    assert agent["lastStatus"] == "RUNNING" and agent["lastStartedAt"]
    estiva.stop(arn)


def test_a_value_that_is_none_of_an_enumeration_is_refused_in_ecs_words(estiva):
    client = estiva.client("ecs", parameter_validation=False)
    text = "include should be one of [ATTACHMENTS,CONFIGURATIONS,SETTINGS,STATISTICS,TAGS]"
    refused(lambda: client.describe_clusters(include=["FOO"]), "InvalidParameterException", text)
    refused(lambda: client.run_task(taskDefinition="x", launchType="FOO"), "InvalidParameterException", "launch type should be one of [EC2,")
