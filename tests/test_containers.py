"""What containers get, and how they end."""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from installation import container, eventually, free_port, logged, shell


def test_the_task_definition_decides_what_runs(estiva):
    script = 'echo "$COLOUR $(pwd) $(id -u):$(id -g)"'
    definition = {"environment": [{"name": "COLOUR", "value": "blue"}], "workingDirectory": "/srv/x", "user": "nobody"}
    task, lines = logged(estiva, "decides", script, container=definition)
    assert lines == ["blue /srv/x 65534:65534"]
    assert task["containers"][0]["exitCode"] == 0


def test_an_override_wins_over_the_task_definition(estiva):
    estiva.register("override", [shell("exit 1", environment=[{"name": "CODE", "value": "2"}])])
    overrides = {"containerOverrides": [{"name": "main", "command": ["sh", "-c", "exit $CODE"], "environment": [{"name": "CODE", "value": "7"}]}]}
    task = estiva.run_to_end("override", overrides=overrides)
    assert task["containers"][0]["exitCode"] == 7
    assert task["overrides"]["containerOverrides"][0]["name"] == "main"


def test_exit_codes_and_reasons(estiva):
    estiva.register("exits", [shell("exit 42")])
    task = estiva.run_to_end("exits")
    assert task["containers"][0]["exitCode"] == 42
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"


def test_the_end_of_an_essential_container_ends_the_task(estiva):
    estiva.register(
        "essential",
        [shell("sleep 1000", name="helper", essential=False, stopTimeout=2), shell("sleep 0.2; exit 3", name="main")],
    )
    task = estiva.run_to_end("essential")
    codes = {it["name"]: it["exitCode"] for it in task["containers"]}
    assert codes == {"main": 3, "helper": 137}


def test_the_end_of_another_container_does_not(estiva):
    estiva.register("optional", [shell("sleep 1000", stopTimeout=2), shell("exit 5", name="helper", essential=False)])
    [arn] = estiva.run("optional")

    def helper_ended():
        containers = {it["name"]: it for it in estiva.task(arn)["containers"]}
        return containers["helper"].get("exitCode")

    assert eventually(helper_ended) == 5
    assert estiva.task(arn)["lastStatus"] == "RUNNING"
    estiva.stop(arn)


def test_sigterm_then_sigkill(estiva):
    estiva.register("polite", [shell("trap 'exit 9' TERM; while :; do sleep 0.05; done")])
    estiva.register("stubborn", [shell("trap '' TERM; while :; do sleep 0.05; done", stopTimeout=2)])
    [polite] = estiva.run("polite")
    [stubborn] = estiva.run("stubborn")
    for arn in (polite, stubborn):
        estiva.wait("RUNNING", arn)
    assert estiva.stop(polite)["containers"][0]["exitCode"] == 9
    assert estiva.stop(stubborn)["containers"][0]["exitCode"] == 137


def test_out_of_memory(estiva):
    eat = "x=a; while :; do x=$x$x; done"
    estiva.register("hungry", [shell(eat, memory=16)])
    [ended] = estiva.run_to_end("hungry")["containers"]
    assert ended["exitCode"] == 137
    assert ended["reason"].startswith("OutOfMemoryError")


def test_an_image_that_does_not_exist(estiva):
    estiva.register("no-image", [container(image="127.0.0.1:1/nothing:here")])
    task = estiva.run_to_end("no-image")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "CannotPullContainerError" in task["stoppedReason"]
    assert "127.0.0.1:1/nothing:here" in task["stoppedReason"]


def test_a_program_that_does_not_exist(estiva):
    estiva.register("no-program", [container(command=["/no/such/program"])])
    task = estiva.run_to_end("no-program")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "/no/such/program" in task["containers"][0]["reason"]


def fetch(port, host="127.0.0.1"):
    """The status of the answer; None while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return answer.status
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionError):
            return None
        raise


def test_fixed_and_dynamic_host_ports(estiva):
    port = free_port()
    estiva.register("fixed", [container(image="hello", portMappings=[{"containerPort": 8080, "hostPort": port}])])
    [arn] = estiva.run("fixed")
    estiva.wait("RUNNING", arn)
    assert eventually(lambda: fetch(port)) == 200
    refused = estiva.ecs.run_task(taskDefinition="fixed")
    assert [failure["reason"] for failure in refused["failures"]] == ["RESOURCE:PORTS"]
    estiva.stop(arn)


def test_a_port_that_another_process_has(estiva):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        estiva.register("taken", [container(image="hello", portMappings=[{"containerPort": 8080, "hostPort": port}])])
        task = estiva.run_to_end("taken")
    assert task["stopCode"] == "TaskFailedToStart"
    assert str(port) in task["stoppedReason"]


def test_network_mode_host(estiva):
    port = free_port()
    definition = container(image="hello", environment=[{"name": "PORT", "value": str(port)}])
    estiva.register("host-mode", [definition], networkMode="host")
    [arn] = estiva.run("host-mode")
    estiva.wait("RUNNING", arn)
    assert eventually(lambda: fetch(port)) == 200
    estiva.stop(arn)


def test_network_mode_none(estiva):
    _, lines = logged(estiva, "none-mode", "ls /sys/class/net", networkMode="none")
    assert lines == ["lo"]


NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}


@pytest.mark.parametrize("launch_type", ["EC2", "FARGATE"])
def test_network_mode_awsvpc(estiva, launch_type):
    family = f"awsvpc-{launch_type.lower()}"
    more = {"networkMode": "awsvpc"}
    if launch_type == "FARGATE":
        more.update(requiresCompatibilities=["FARGATE"], cpu="256", memory="512")
    estiva.register(family, [container(image="hello", portMappings=[{"containerPort": 8080}])], **more)
    [arn] = estiva.run(family, launchType=launch_type, networkConfiguration=NETWORK)
    task = estiva.wait("RUNNING", arn)
    [attachment] = task["attachments"]
    details = {detail["name"]: detail["value"] for detail in attachment["details"]}
    [interface] = task["containers"][0]["networkInterfaces"]
    assert interface["privateIpv4Address"] == details["privateIPv4Address"]
    assert eventually(lambda: fetch(8080, details["privateIPv4Address"])) == 200
    assert ("containerInstanceArn" in task) == (launch_type == "EC2")
    estiva.stop(arn)


def test_a_burst_of_lines_loses_none(estiva):
    _, lines = logged(estiva, "burst", "seq 1 100000", container={"memory": 128})
    assert len(lines) == 100_000
    assert lines == [str(number) for number in range(1, 100_001)]


def test_logs_are_followed_as_they_come(estiva):
    definition = shell("i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done", stopTimeout=2)
    definition["logConfiguration"] = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "/followed", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"},
    }
    estiva.register("followed", [definition])
    [arn] = estiva.run("followed")
    stream = f"t/main/{arn.rsplit('/', 1)[-1]}"
    estiva.wait("RUNNING", arn)
    seen = len(estiva.messages("/followed", stream))
    eventually(lambda: len(estiva.messages("/followed", stream)) > seen + 3)
    estiva.stop(arn)
    lines = estiva.messages("/followed", stream)
    assert lines == [f"line {number}" for number in range(len(lines))]


def test_devices_with_their_permissions(estiva):
    mine = {"hostPath": "/dev/kmsg", "containerPath": "/dev/mine"}
    _, lines = logged(estiva, "device", "echo moored > /dev/mine && ls /dev", container={"linuxParameters": {"devices": [mine]}})
    assert "mine" in lines and "kmsg" not in lines
    only_read = {**mine, "permissions": ["read"]}
    estiva.register("read-only", [shell("echo moored > /dev/mine", linuxParameters={"devices": [only_read]})])
    task = estiva.run_to_end("read-only")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert task["stopCode"] == "TaskFailedToStart" and "permissions r cannot be kept" in task["stoppedReason"]
    else:
        assert task["containers"][0]["exitCode"] == 1


def test_security_options(estiva):
    script = "cat /proc/self/status"
    options = ["no-new-privileges", "seccomp:unconfined"]
    _, lines = logged(estiva, "secure", script, container={"dockerSecurityOptions": options})
    assert "NoNewPrivs:\t1" in lines and "Seccomp:\t0" in lines, lines
    estiva.register("strange", [shell("true", dockerSecurityOptions=["apparmor:mine"])])
    task = estiva.run_to_end("strange")
    assert task["stopCode"] == "TaskFailedToStart" and "apparmor:mine" in task["stoppedReason"]


def test_namespaces_of_the_host(estiva):
    script = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc"
    hosts = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc")]
    _, lines = logged(estiva, "own-namespaces", script)
    assert len(lines) == 2 and not set(lines) & set(hosts)
    _, lines = logged(estiva, "host-namespaces", script, pidMode="host", ipcMode="host")
    assert lines == hosts
