"""Tasks that use up what many share: each flood is made, and the neighbours, the owner and the nodes go on meanwhile."""

import concurrent.futures
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import threading
from datetime import datetime, timezone
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from flooding import ENDPOINT, Place, resident_mb
from installation import BINARY, Installation, container, eventually

ROLE = "arn:aws:iam::000000000000:role/crew"
AWSVPC = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}}
SLEEPER = container(command=["sleep", "10000"], stopTimeout=2, memory=32)


@pytest.fixture(scope="module")
def here(tmp_path_factory, image_files):
    """An installation of its own, as what is done here would disturb other tests; with a further node."""
    made = Installation(tmp_path_factory.mktemp("pools") / "data")
    for file in image_files.values():
        made.estiva("image", "import", str(file))
    made.up()
    made.estiva("node", "add")
    yield made
    made.down()


@pytest.fixture(scope="module")
def places(here):
    """Tasks by name: on the first node and on the further one, with and without a role, in each network mode."""
    first, second = here.ecs.list_container_instances()["containerInstanceArns"]
    described = here.ecs.describe_container_instances(containerInstances=[first, second])["containerInstances"]
    [further] = [it for it in described if any(at["name"] == "estiva.address" for at in it["attributes"])]
    [own] = [it for it in described if it is not further]
    wanted = {
        "victim": (own, "bridge", ROLE), "bridge": (own, "bridge", None), "awsvpc": (own, "awsvpc", None), "host": (own, "host", None),
        "crew": (own, "bridge", ROLE), "crew-awsvpc": (own, "awsvpc", ROLE),
        "far-victim": (further, "bridge", ROLE), "far-crew": (further, "bridge", ROLE), "far-host": (further, "host", None),
    }
    arns = {}
    for name, (instance, mode, role) in wanted.items():
        here.register(name, [SLEEPER], networkMode=mode, **({"taskRoleArn": role} if role else {}))
        more = AWSVPC if mode == "awsvpc" else {}
        answer = here.ecs.start_task(taskDefinition=name, containerInstances=[instance["containerInstanceArn"]], enableExecuteCommand=True, **more)
        assert not answer["failures"], answer["failures"]
        arns[name] = answer["tasks"][0]["taskArn"]
    for arn in arns.values():
        here.wait("RUNNING", arn)
    return {name: Place(here, arn) for name, arn in arns.items()}


def owner_is_served(here):
    """On new connections; each call may take five seconds."""
    for _ in range(10):
        client = boto3.client(
            "ecs", endpoint_url=here.endpoint, region_name="us-east-1", aws_access_key_id=here.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=here.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=5),
        )
        assert client.list_clusters()["clusterArns"]


def port_of_endpoint(here):
    return int((here.data / "node/endpoint-port").read_text())


@pytest.mark.parametrize("kind", ["silent", "slow-head", "slow-body", "idle", "churn"])
@pytest.mark.parametrize("attacker", ["bridge", "awsvpc", "host"])
def test_neighbours_get_their_credentials_while_one_holds_the_nodes_endpoint(here, places, attacker, kind):
    address = f"127.0.0.1:{port_of_endpoint(here)}" if attacker == "host" else f"{ENDPOINT}:80"
    with places[attacker].flood(address, kind, 1500, 1500):
        assert places["victim"].ask(places["victim"].credentials_url, 20) == ["200"] * 20


def test_tasks_without_a_role_have_no_way_to_the_control_plane(here, places):
    for name in ("bridge", "awsvpc"):
        [status] = places[name].ask(f"http://{ENDPOINT}:{here.port}/")
        assert not status.isdigit(), f"{name}: {status}"
        # What is the node's own is there for them all the same.
        assert places[name].ask(f"http://{ENDPOINT}/v2/metadata") == ["200"]
    for name in ("victim", "crew-awsvpc", "far-victim"):
        [status] = places[name].ask(f"http://{ENDPOINT}:{here.port}/")
        assert status.isdigit(), f"{name}: {status}"


@pytest.mark.parametrize("kind", ["silent", "slow-head", "slow-body", "preface", "websocket"])
def test_the_owner_is_served_while_a_task_with_the_hosts_network_holds_every_place(here, places, kind):
    path = "/v1/data-channel/x" if kind == "websocket" else "/"
    with places["host"].flood(f"127.0.0.1:{here.port}", kind, 3000, 3000, path):
        owner_is_served(here)


@pytest.mark.parametrize("attacker", ["crew", "crew-awsvpc"])
def test_roles_have_a_share_of_the_control_plane(here, places, attacker):
    with places[attacker].flood(f"{ENDPOINT}:{here.port}", "silent", 1500, 1500):
        owner_is_served(here)
        statuses = places["victim"].ask(f"http://{ENDPOINT}:{here.port}/", 10)
        assert all(status.isdigit() for status in statuses), statuses


@pytest.mark.parametrize(("attacker", "kind"), [("far-crew", "silent"), ("far-host", "slow-head")])
def test_a_further_node_works_while_a_task_holds_its_way_to_the_control_plane(here, places, attacker, kind):
    address = f"127.0.0.1:{here.port}" if attacker == "far-host" else f"{ENDPOINT}:{here.port}"
    far = here.task(places["far-victim"].arn)["containerInstanceArn"]
    started = here.ecs.start_task(taskDefinition="bridge", containerInstances=[far])["tasks"][0]["taskArn"]
    here.wait("RUNNING", started)
    with places[attacker].flood(address, kind, 1500, 1500):
        statuses = places["far-victim"].ask(f"http://{ENDPOINT}:{here.port}/", 10)
        assert all(status.isdigit() for status in statuses), statuses
        here.stop(started)
        # An agent that comes back finds its way as well.
        name = next(path.name for path in (here.data / "nodes").iterdir() if path.is_dir())
        [agent] = [pid for pid in here.processes("agent") if f"--node={name}" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: agent not in here.processes("agent") and len(here.processes("agent")) == 2)
        answer = eventually(lambda: here.ecs.start_task(taskDefinition="bridge", containerInstances=[far])["tasks"] or None)
        here.wait("RUNNING", answer[0]["taskArn"])
        here.stop(answer[0]["taskArn"])


def test_programs_are_run_in_containers_while_strangers_hold_the_callers_places(here, places):
    session = here.ecs.execute_command(task=places["victim"].arn, container="main", interactive=True, command="true")["session"]

    def runs():
        arguments = [BINARY, "--data", here.data, "exec", places["victim"].arn, "echo", "here"]
        done = subprocess.run(arguments, input="", capture_output=True, text=True, timeout=30)
        return done.stdout or done.stderr

    # One that exists, whoever has told it, and ones that do not.
    for id in (session["sessionId"], "ecs-execute-command-00000000000000000", "A" * 20_000):
        with places["host"].flood(f"127.0.0.1:{here.port}", "websocket", 1200, 1200, f"/v1/data-channel/{id}"):
            assert [runs() for _ in range(3)] == ["here\n"] * 3


def handshake(here, path):
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as stream:
        head = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        with contextlib.suppress(ConnectionError):
            stream.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        return stream.recv(65536).decode()


@pytest.mark.parametrize("id", ["", "x", "A" * 20_000, "A" * 60_000, "ecs-execute-command-00000000000000000", "..%2f", "\x1b[31m"])
def test_a_session_that_does_not_exist_is_refused_before_the_handshake_and_not_logged(here, id):
    log = here.data / "estiva.log"
    before = log.stat().st_size
    for _ in range(20):
        assert re.match(r"HTTP/1\.1 4\d\d ", handshake(here, f"/v1/data-channel/{id}"))
    assert "data-channel" not in log.read_text()[before:] and log.stat().st_size - before < 20_000


def signed(here, credentials, target, service, length):
    """The head of a request that is signed for another body."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/us-east-1/{service}/aws4_request"
    key = ("AWS4" + credentials["SecretAccessKey"]).encode()
    for part in (now[:8], "us-east-1", service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    names, digest = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target", hashlib.sha256(b"another").hexdigest()
    headers = {"host": f"127.0.0.1:{here.port}", "x-amz-content-sha256": digest, "x-amz-date": now, "x-amz-security-token": credentials["Token"], "x-amz-target": target}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"POST\n/\n\n{lines}\n{names}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credentials['AccessKeyId']}/{scope}, SignedHeaders={names}, Signature={signature}"
    headers["content-length"] = str(length)
    return "POST / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"


LARGE = 6_000_000


@pytest.mark.parametrize(("target", "service"), [("AmazonEC2ContainerServiceV20141113.ListClusters", "ecs"), ("Logs_20140328.PutLogEvents", "logs")])
def test_large_bodies_of_a_role_take_a_bounded_part_of_the_memory(here, places, target, service):
    credentials = places["crew"].credentials()
    before, most, done = resident_mb(here), 0.0, threading.Event()

    def one(_):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", here.port), timeout=30) as stream:
            stream.sendall(signed(here, credentials, target, service, LARGE).encode())
            # Nearly all, and the rest when everybody has come so far.
            stream.sendall(b"x" * (LARGE - 1))
            done.wait(20)
            stream.sendall(b"x")
            return stream.recv(65536)[:12]
        return b""

    with concurrent.futures.ThreadPoolExecutor(150) as pool:
        answers = [pool.submit(one, number) for number in range(150)]
        for _ in range(3):
            owner_is_served(here)
            most = max(most, resident_mb(here))
        done.set()
        statuses = {answer.result() for answer in answers}
    assert not any(status.startswith(b"HTTP/1.1 2") for status in statuses), statuses
    assert most < before + 150, (before, most)
    eventually(lambda: resident_mb(here) < before + 100)
