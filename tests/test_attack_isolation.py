"""What a container with CAP_SYS_PTRACE, and every other capability that ECS grants, finds in the processes that it can see."""

import re
import shutil
import subprocess
import uuid
from pathlib import Path

import oci_image
import pytest
from conftest import APPLETS
from hostile import Canary
from installation import BINARY, container, eventually

PROGRAMS = Path(__file__).parent / "programs"
SECRET = "the-neighbours-password-4711"
# What Docker gives, in the order of <linux/capability.h>; SYS_PTRACE is number 19.
DEFAULT = 0xA80425FB
SYS_PTRACE = 1 << 19
ALL = (1 << 41) - 1


@pytest.fixture
def canary(tmp_path):
    return Canary(tmp_path / "canary")


@pytest.fixture(scope="session")
def auditor(estiva, tmp_path_factory):
    """An image with busybox and the program that looks into processes."""
    directory = tmp_path_factory.mktemp("auditor")
    program = directory / "audit"
    subprocess.run(["cc", "-O1", "-static", "-o", program, PROGRAMS / "audit.c"], check=True)
    links = [(f"/bin/{applet}", "busybox") for applet in APPLETS]
    files = [(shutil.which("busybox"), "/bin/busybox"), (program, "/audit/audit")]
    oci_image.write_image(directory / "auditor.tar", "auditor", files, links, Cmd=["sh"])
    estiva.estiva("image", "import", str(directory / "auditor.tar"))
    return "auditor"


class Audit:
    """A task whose first container looks into what it can see, and what it found."""

    def __init__(self, here, image, canary, capabilities, allowed, **more):
        self.here, self.group = here, f"/audit/{uuid.uuid4().hex[:8]}"
        words = [str(here.data), *more.pop("words", [])]
        command = ["/audit/audit", str(canary.file), f"{allowed:x}", *[word[::-1] for word in words]]
        added = {"linuxParameters": {"capabilities": {"add": capabilities}}} if capabilities else {}
        self.first = container(
            name="auditor", image=image, command=command, stopTimeout=2, logConfiguration=self.log(), **added, **more
        )

    def log(self):
        options = {"awslogs-group": self.group, "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}
        return {"logDriver": "awslogs", "options": options}

    def run(self, containers=(), definition=None, run=None):
        family = f"audit-{uuid.uuid4().hex[:8]}"
        self.here.register(family, [self.first, *containers], **(definition or {}))
        [self.arn] = self.here.run(family, enableExecuteCommand=True, **(run or {}))
        self.here.wait("RUNNING", self.arn)
        return self

    def exec(self, *command, container="auditor"):
        arguments = [BINARY, "--data", self.here.data, "--listen", f"127.0.0.1:{self.here.port}", "exec", "--container", container]
        return subprocess.run([*arguments, self.arn, *command], capture_output=True, text=True, timeout=60)

    def healthy(self):
        return all(it["healthStatus"] == "HEALTHY" for it in self.here.task(self.arn)["containers"] if it["name"] != "quiet")

    def findings(self):
        """Ends it; what it found, and how many of Estiva's own processes it saw."""
        stopped = self.exec("touch", "/audit/stop")
        assert stopped.returncode == 0, stopped.stderr
        self.here.wait("STOPPED", self.arn)
        lines = self.here.messages(self.group, f"t/auditor/{self.arn.rsplit('/', 1)[-1]}")
        seen = re.search(r"saw (\d+) of Estiva's own", lines[-1])
        assert lines[0] == "auditing" and seen, lines[-5:]
        return [line for line in lines if line.startswith("FOUND")], int(seen[1])


def neighbours(count, **more):
    """Containers that start one after the other, each while the ones before run."""
    waits = lambda number: [{"containerName": "auditor" if number == 0 else f"n{number - 1}", "condition": "START"}]  # noqa: E731
    environment = [{"name": "PASSWORD", "value": SECRET}]
    return [
        container(name=f"n{number}", command=["sleep", "1000"], stopTimeout=2, dependsOn=waits(number), environment=environment, **more)
        for number in range(count)
    ]


FARGATE = {
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "arn:aws:iam::000000000000:role/ecsTaskExecutionRole",
}
ON_FARGATE = {
    "launchType": "FARGATE",
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-12345678"]}},
}


@pytest.mark.parametrize("launch_type", ["EC2", "FARGATE"])
@pytest.mark.parametrize("neighbours_init", [False, True])
def test_a_shared_pid_namespace_shows_nothing_of_the_host(estiva, auditor, canary, launch_type, neighbours_init):
    """The process that holds the namespace, and containers that are set up while the auditor looks on."""
    audit = Audit(estiva, auditor, canary, ["SYS_PTRACE"], DEFAULT | SYS_PTRACE)
    more = {"linuxParameters": {"initProcessEnabled": True}} if neighbours_init else {}
    # A container that may do more than the auditor would show that, rightly.
    definition = {"pidMode": "task"} | (FARGATE if launch_type == "FARGATE" else {})
    audit.run(neighbours(6, **more), definition, ON_FARGATE if launch_type == "FARGATE" else None)
    for number in range(6):
        assert audit.exec("true", container=f"n{number}").returncode == 0
    found, own = audit.findings()
    assert found == []
    assert own > 0, "the process that holds the namespace was to be seen"


@pytest.mark.parametrize("launch_type", ["EC2", "FARGATE"])
def test_an_init_process_has_nothing_of_the_host(estiva, auditor, canary, launch_type):
    audit = Audit(estiva, auditor, canary, [], DEFAULT | SYS_PTRACE, words=[SECRET])
    audit.first["linuxParameters"] = {"initProcessEnabled": True, "capabilities": {"add": ["SYS_PTRACE"]}}
    # The neighbour, made first, has a secret that the shim knows.
    first = container(name="quiet", command=["sleep", "1000"], stopTimeout=2, environment=[{"name": "PASSWORD", "value": SECRET}])
    audit.first["dependsOn"] = [{"containerName": "quiet", "condition": "START"}]
    fargate = launch_type == "FARGATE"
    audit.run([first], FARGATE if fargate else None, ON_FARGATE if fargate else None)
    found, own = audit.findings()
    assert found == []
    assert own > 0, "the init process was to be seen"


@pytest.mark.parametrize("capabilities, allowed", [(["SYS_PTRACE"], DEFAULT | SYS_PTRACE), (["ALL"], ALL)])
def test_what_comes_into_a_container_brings_nothing_along(estiva, auditor, canary, capabilities, allowed):
    """Health checks and ExecuteCommand, with a terminal and without: their processes at every moment of their way in."""
    check = {"command": ["CMD-SHELL", "true"], "interval": 5, "timeout": 5, "retries": 3}
    audit = Audit(estiva, auditor, canary, capabilities, allowed, words=[SECRET], healthCheck=check)
    secret = container(name="quiet", command=["sleep", "1000"], stopTimeout=2, environment=[{"name": "PASSWORD", "value": SECRET}])
    audit.run([secret])
    for _ in range(25):
        done = audit.exec("echo", "inside")
        assert (done.returncode, done.stdout) == (0, "inside\n"), done.stderr
    eventually(audit.healthy)
    found, _ = audit.findings()
    assert found == []
