"""Installations: several on one machine, more than one node, and who may look inside."""

import os
import shutil
import signal
import stat
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from installation import BINARY, Installation, container, eventually, free_port


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_two_installations_do_not_meet(new_installation):
    one, other = new_installation(), new_installation()
    arns = {}
    for here in (one, other):
        here.register("same", [container(command=["sleep", "1000"], stopTimeout=2)])
        [arns[here]] = here.run("same")
        here.wait("RUNNING", arns[here])
    one.down()
    assert other.task(arns[other])["lastStatus"] == "RUNNING"
    assert not one.processes("shim") and len(other.processes("shim")) == 1


def test_only_the_owner_looks_inside(new_installation):
    here = new_installation()
    assert mode(here.data) == 0o700
    assert mode(here.data / "credentials.json") == 0o600
    for name in ("server", "node", "node/images", "node/tasks"):
        assert mode(here.data / name) & 0o077 == 0, name


def test_signatures_are_verified_unless_asked_not_to(new_installation):
    def stranger(here):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("ecs", endpoint_url=here.endpoint, region_name="us-east-1", **keys)

    with pytest.raises(ClientError) as error:
        stranger(new_installation()).list_clusters()
    assert error.value.response["Error"]["Code"] == "UnrecognizedClientException"
    open_to_all = new_installation("--accept-any-credentials")
    assert stranger(open_to_all).list_clusters()["clusterArns"]
    assert "SIGNATURES ARE NOT VERIFIED" in open_to_all.log()


def test_a_second_node_shares_the_work(new_installation, tmp_path, image_files):
    here = new_installation()
    node = Installation(tmp_path / "node")
    node.estiva("image", "import", str(image_files["busybox"]))
    environment = here.node_environment()
    agent = subprocess.Popen([BINARY, "--data", node.data, "agent", "--server", here.endpoint], env=environment, stderr=subprocess.DEVNULL)
    try:

        def connected():
            arns = here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"]
            return len(arns) == 2

        eventually(connected)
        here.register("spread", [container(command=["sleep", "1000"], stopTimeout=2)])
        arns = here.run("spread", count=4)
        instances = [here.wait("RUNNING", arn)["containerInstanceArn"] for arn in arns]
        assert sorted(instances.count(instance) for instance in set(instances)) == [2, 2]
        for arn in arns:
            here.stop(arn)
    finally:
        agent.terminate()
        assert agent.wait(timeout=60) == 0
        node.down()
    eventually(lambda: len(here.ecs.list_container_instances(filter="agentConnected == false")["containerInstanceArns"]) == 1)


def test_a_cluster_of_another_name(new_installation):
    here = new_installation("--cluster", "ships")
    assert [arn.rsplit("/", 1)[-1] for arn in here.ecs.list_clusters()["clusterArns"]] == ["ships"]
    here.register("aboard", [container(command=["true"])])
    [arn] = here.run("aboard", cluster="ships")
    assert here.wait("STOPPED", arn, "ships")["containers"][0]["exitCode"] == 0


def test_a_deregistered_node_registers_anew(new_installation):
    here = new_installation()
    [arn] = here.ecs.list_container_instances()["containerInstanceArns"]
    port = [{"containerPort": 80, "hostPort": free_port()}]
    here.register("held", [container(command=["sleep", "1000"], portMappings=port, stopTimeout=2)])
    [task] = here.run("held")
    here.wait("RUNNING", task)
    with pytest.raises(ClientError) as error:
        here.ecs.deregister_container_instance(containerInstance=arn)
    assert "running tasks" in error.value.response["Error"]["Message"]
    assert here.ecs.deregister_container_instance(containerInstance=arn, force=True)["containerInstance"]["status"] == "INACTIVE"
    stopped = here.task(task)
    assert stopped["lastStatus"] == "STOPPED" and "deregistration" in stopped["stoppedReason"]
    here.down("--keep-tasks")
    here.up()
    [again] = here.ecs.list_container_instances()["containerInstanceArns"]
    assert again != arn
    # What ran of the former registration is none of the new one's, and does not hold what that offers.
    [task] = here.run("held")
    here.wait("RUNNING", task)
    eventually(lambda: len(here.processes("shim")) == 1)
    here.stop(task)


def test_a_node_that_is_deregistered_while_it_is_away_registers_anew(new_installation):
    here = new_installation()
    [arn] = here.ecs.list_container_instances()["containerInstanceArns"]
    here.register("held", [container(command=["sleep", "1000"], stopTimeout=2)])
    [task] = here.run("held")
    here.wait("RUNNING", task)
    [agent] = here.processes("agent")
    os.kill(agent, signal.SIGSTOP)
    try:
        away = lambda: here.ecs.list_container_instances(filter="agentConnected == false")["containerInstanceArns"]
        eventually(lambda: away() == [arn])
        here.ecs.deregister_container_instance(containerInstance=arn, force=True)
    finally:
        os.kill(agent, signal.SIGCONT)
    # It waits a minute: somebody wanted it away.
    [again] = eventually(lambda: here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"] or None, timeout=120)
    assert again != arn and here.processes("agent") == [agent]
    eventually(lambda: not here.processes("shim"))


def test_a_copy_of_a_node_does_not_speak_for_it(new_installation, tmp_path, image_files):
    """A machine that was cloned has the node's directory, and nothing that its tasks run in."""
    here = new_installation()
    node, clone = Installation(tmp_path / "node"), Installation(tmp_path / "clone")
    node.estiva("image", "import", str(image_files["busybox"]))
    environment = here.node_environment()
    log = tmp_path / "log"

    def agent(of, stderr):
        return subprocess.Popen([BINARY, "--data", of.data, "agent", "--server", here.endpoint, "--external"], env=environment, stderr=stderr)

    agents = [agent(node, subprocess.DEVNULL)]
    try:
        eventually(lambda: len(here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"]) == 2)
        here.register("original", [container(command=["sleep", "1000"], stopTimeout=2)], requiresCompatibilities=["EXTERNAL"])
        [arn] = here.run("original", launchType="EXTERNAL")
        here.wait("RUNNING", arn)
        # What names the containers that run stays behind, as processes do.
        # Its network is not: a machine that was cloned may be where that is taken.
        original = here.task(arn)["containerInstanceArn"]
        attributes = lambda: here.ecs.describe_container_instances(containerInstances=[original])["containerInstances"][0]["attributes"]
        before = attributes()
        left = shutil.ignore_patterns("images", "network", "task.json", "shim.json", "containers")
        shutil.copytree(node.data, clone.data, ignore=left, symlinks=True)
        with log.open("w") as stderr:
            agents.append(agent(clone, stderr))
        eventually(lambda: log.read_text().count("The container instance has a session") >= 3)
        assert "the task's shim is gone" in log.read_text()
        assert attributes() == before
        assert here.task(arn)["lastStatus"] == "RUNNING"
        assert len(node.processes("shim")) == 1
        here.stop(arn)
    finally:
        for running in agents:
            running.terminate()
        assert [running.wait(timeout=60) for running in agents] == [0, 0]
        clone.down()
        node.down()


def test_help_teaches(new_installation):
    text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("estiva up", "estiva env", "status", "image", "--data", "--listen"):
        assert word in text
    refused = subprocess.run([BINARY, "nonsense"], capture_output=True, text=True)
    assert refused.returncode == 2 and "nonsense" in refused.stderr
