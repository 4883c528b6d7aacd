"""One installation of Estiva of the tests' own, driven as users would: the binary, the AWS CLI, boto3."""

import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import boto3
import shapes
from botocore.config import Config

ROOT = Path(__file__).parent.parent
BINARY = Path(os.environ.get("ESTIVA_BIN", ROOT / "target/debug/estiva"))
AWS = Path(sys.executable).parent / "aws"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(check, timeout=60.0, interval=0.02):
    """What `check` gives once it is neither None nor False; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value is not None and value is not False:
            return value
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(interval)


def files(directory):
    """Path and size of each regular file below; what is renamed or removed meanwhile is not there."""
    for path in Path(directory).rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield path, status.st_size


def files_that_contain(directory, texts):
    """The regular files below that have one of `texts` (bytes) in them."""
    found = []
    for path, _ in files(directory):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if any(text in content for text in texts):
            found.append(path)
    return found


class Installation:
    def __init__(self, data, binary=None):
        self.data = Path(data)
        self.binary = binary or BINARY
        self.port = free_port()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self):
        """What the kernel's objects of the installation are called by."""
        return hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:12]

    @property
    def run_dir(self):
        return Path("/run/estiva") / self.name

    def estiva(self, *arguments, check=True, **options):
        command = [self.binary, "--data", self.data, "--listen", f"127.0.0.1:{self.port}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}{self.log()}"
        return done

    def up(self, *arguments):
        return self.estiva("up", "--detach", *arguments)

    def down(self, *arguments):
        return self.estiva("down", *arguments)

    def log(self):
        file = self.data / "estiva.log"
        return file.read_text()[-4000:] if file.exists() else ""

    @functools.cached_property
    def environment(self):
        printed = json.loads(self.estiva("env", "--json").stdout)
        return {**os.environ, **printed, "AWS_PAGER": "", "AWS_CONFIG_FILE": "/dev/null"}

    def aws(self, *arguments, check=True):
        """The AWS CLI's output, parsed; with check=False the finished process."""
        done = subprocess.run(
            [AWS, *map(str, arguments)], env=self.environment, capture_output=True, text=True, timeout=120
        )
        if not check:
            return done
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else done.stdout.strip()

    def client(self, service, key="owner", **config):
        credentials = json.loads((self.data / "credentials.json").read_text())
        client = boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=credentials["region"],
            aws_access_key_id=credentials[key]["access_key_id"],
            aws_secret_access_key=credentials[key]["secret_access_key"],
            config=Config(retries={"max_attempts": 1}, **config),
        )
        return shapes.watch(client)

    @functools.cached_property
    def ecs(self):
        return self.client("ecs")

    @functools.cached_property
    def logs(self):
        return self.client("logs")

    def images(self):
        return json.loads(self.estiva("image", "list", "--json").stdout)

    def processes(self, command):
        """Ids of this installation's processes of a command: server, agent, shim or up."""
        marker = str(self.data)
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if command in arguments and any(marker in argument for argument in arguments):
                found.append(int(entry.name))
        return found

    def kill(self, command):
        killed = self.processes(command)
        assert killed, f"no {command} runs"
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        return killed

    # What most tests do.

    def register(self, family, containers, **more):
        return self.ecs.register_task_definition(family=family, containerDefinitions=containers, **more)[
            "taskDefinition"
        ]

    def run(self, family, **more):
        answer = self.ecs.run_task(taskDefinition=family, **more)
        assert not answer["failures"], answer["failures"]
        return [task["taskArn"] for task in answer["tasks"]]

    def task(self, arn, cluster="default"):
        return self.ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]

    def wait(self, status, arn, cluster="default", timeout=60.0):
        def reached():
            task = self.task(arn, cluster)
            if task["lastStatus"] == "STOPPED" and status != "STOPPED":
                raise AssertionError(f"stopped: {task.get('stoppedReason')} {task['containers']}")
            return task if task["lastStatus"] == status else None

        return eventually(reached, timeout)

    def run_to_end(self, family, **more):
        [arn] = self.run(family, **more)
        return self.wait("STOPPED", arn, more.get("cluster", "default"))

    def running_tasks(self):
        """ARNs of the tasks of the default cluster that are to run, whether they do yet or not."""
        pages = self.ecs.get_paginator("list_tasks").paginate()
        return [arn for page in pages for arn in page["taskArns"]]

    def stop(self, arn, cluster="default", **more):
        self.ecs.stop_task(cluster=cluster, task=arn, **more)
        return self.wait("STOPPED", arn, cluster)

    def messages(self, group, stream):
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=[stream])
        return [event["message"] for page in pages for event in page["events"]]

    def node_environment(self):
        """For an agent elsewhere: the environment with the node's key."""
        key = json.loads((self.data / "credentials.json").read_text())["node"]
        named = {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
        return {**os.environ, **named, "AWS_REGION": "us-east-1"}

    def remove(self):
        shutil.rmtree(self.data)


def container(name="main", image="busybox", **more):
    return {"name": name, "image": image, "memory": 64, **more}


def shell(script, **more):
    return container(command=["sh", "-c", script], **more)


def logged(estiva, family, script, **more):
    """Runs a script to its end, with `run` as RunTask has it; the task and what it wrote."""
    definition = shell(script, **more.pop("container", {}))
    definition["logConfiguration"] = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "/containers", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"},
    }
    run = more.pop("run", {})
    estiva.register(family, [definition], **more)
    task = estiva.run_to_end(family, **run)
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}"
    return task, estiva.messages("/containers", stream)
