"""Who else is on the host's network: nobody takes the control plane's place there or reads along, and its parts come back
whatever becomes of them or of the program's file."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from installation import BINARY, Installation, container, eventually, free_port, logged, shell

# Prints, when its input ends, what every program with CAP_NET_RAW sees on the loopback of its network namespace.
SNIFFER = """
import select, socket, sys
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniffer.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
sniffer.bind(("lo", 0))
print("listening", flush=True)
while True:
    readable = select.select([sniffer, sys.stdin], [], [])[0]
    if sniffer in readable:
        packet = sniffer.recv(1 << 17)
        sys.stdout.buffer.write(len(packet).to_bytes(4, "big") + packet)
    elif readable:
        break
"""


class Sniffer:
    def __init__(self, *enter):
        command = [*enter, sys.executable, "-c", SNIFFER]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"listening\n"
        self.seen = b""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        self.seen = self.process.stdout.read()

    def stop(self, port):
        """Everything, and what was said to or by one port, which is one installation's."""
        self.process.stdin.close()
        self.reader.join()
        self.process.wait(timeout=60)
        everything, at_port = bytearray(), bytearray()
        packets = memoryview(self.seen)
        while packets:
            length = int.from_bytes(packets[:4], "big")
            packet, packets = packets[4 : 4 + length], packets[4 + length :]
            everything += packet
            ports = packet[(packet[0] & 15) * 4 :][:4] if packet[0] >> 4 == 4 else packet[40:44]
            if port.to_bytes(2, "big") in (ports[:2], ports[2:]):
                at_port += packet
        return bytes(everything), bytes(at_port)


class Squatter:
    """Does what a task with the host's network may, which is root: tries to bind, by all means, again and again."""

    def __init__(self, port, addresses=("127.0.0.1", "0.0.0.0", "::1", "::")):
        self.port, self.addresses = port, addresses
        self.taken, self.rounds, self.ended = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            for address in self.addresses:
                for options in ([], [socket.SO_REUSEADDR], [socket.SO_REUSEPORT], [socket.SO_REUSEADDR, socket.SO_REUSEPORT]):
                    self.bind(address, options)
            self.rounds += 1

    def bind(self, address, options):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as thief:
            for option in options:
                thief.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                thief.bind((address, self.port))
                thief.listen()
            except OSError:
                return
            self.taken.append((address, options))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def answer(port, address="127.0.0.1"):
    """What an HTTP server says to somebody who comes now; refused, it fails."""
    with socket.create_connection((address, port), timeout=60) as caller:
        caller.sendall(b"GET /?Action=GetCallerIdentity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: caller.recv(4096), b"")).decode()


def is_there(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def killed(here, part):
    gone = here.kill(part)
    eventually(lambda: not any(is_there(pid) for pid in gone))


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_server_that_dies_refuses_nobody_and_nobody_takes_its_place(new_installation):
    here = new_installation()
    families = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
    here.ecs.register_task_definition(family="kept", containerDefinitions=[container()])
    with Squatter(here.port) as squatter:
        for _ in range(2):
            killed(here, "server")
            for address in families:
                assert "x-amzn-requestid" in answer(here.port, address)
            killed(here, "server")
            # Its owner, by the socket.
            here.estiva("status")
        eventually(lambda: squatter.rounds > 20)
    assert squatter.taken == []
    assert here.client("ecs").list_task_definitions(familyPrefix="kept")["taskDefinitionArns"]
    log = (here.data / "estiva.log").read_text()
    waits = re.findall(r"ended unexpectedly; it is started again in (\S+)", log)
    assert waits == ["200ms", "400ms", "800ms", "1.6s"], waits


def test_nobody_takes_the_place_of_an_agent_that_died(new_installation):
    """It would be asked for credentials, and could answer with others."""
    here = new_installation()
    port = int((here.data / "node/endpoint-port").read_text())
    with Squatter(port, ["127.0.0.1", "0.0.0.0", "::"]) as squatter:
        for _ in range(3):
            killed(here, "agent")
            assert "403" in answer(port) or "404" in answer(port)
        eventually(lambda: squatter.rounds > 20)
    assert squatter.taken == []
    assert int((here.data / "node/endpoint-port").read_text()) == port


def test_what_hangs_goes_with_its_supervisor_and_gives_the_port_back(new_installation):
    here = new_installation()
    [server], [supervisor] = here.processes("server"), here.processes("up")
    os.kill(server, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not here.processes("up"))
    here.up()
    assert here.processes("server") != [server]
    assert "x-amzn-requestid" in answer(here.port)


def test_a_part_that_does_not_end_does_not_hold_up_the_end(new_installation):
    here = new_installation()
    [server] = here.processes("server")
    os.kill(server, signal.SIGSTOP)
    here.down()
    assert not here.processes("server") and not here.processes("up")


def test_a_part_that_cannot_be_started_is_tried_again(new_installation):
    here = new_installation()
    [supervisor] = here.processes("up")
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
    killed(here, "server")
    eventually(lambda: "cannot be started; the next try is in" in here.log())
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    assert "x-amzn-requestid" in answer(here.port)
    assert here.processes("up") == [supervisor]


def test_the_loopback_shows_nothing_of_what_agents_and_owner_say(new_installation):
    here = new_installation()
    here.estiva("node", "add")
    [_, further] = json.loads(here.estiva("node", "list", "--json").stdout)
    environment, in_log, in_session = (f"{os.urandom(8).hex()}-secret" for _ in range(3))
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/g", "awslogs-stream-prefix": "s", "awslogs-create-group": "true"}}
    variables = [{"name": "PASSWORD", "value": environment}]
    main = shell(f"echo {in_log}; exec sleep 1000", environment=variables, logConfiguration=log, stopTimeout=1)
    role = "arn:aws:iam::000000000000:role/navigator"
    here.register("whispers", [main], taskRoleArn=role)
    control = Sniffer()
    inner = Sniffer("nsenter", f"--net={here.run_dir}/nodes/{further['name']}")
    arns = here.run("whispers", count=2, enableExecuteCommand=True, placementConstraints=[{"type": "distinctInstance"}])
    for arn in arns:
        eventually(lambda: "RUNNING" in here.estiva("task", arn).stdout)
        assert here.estiva("exec", arn, "echo", in_session).stdout == f"{in_session}\n"
    # Agents that come back begin all over: discovery, registration, both sessions, credentials, log lines that were not shipped.
    killed(here, "agent")
    eventually(lambda: [it["state"] for it in json.loads(here.estiva("node", "list", "--json").stdout)] == ["ACTIVE"] * 2)
    here.estiva("top"), here.estiva("status"), here.estiva("task", arns[0])
    (everything, outside), (everything_inside, inside) = control.stop(here.port), inner.stop(here.port)
    keys = json.loads((here.data / "credentials.json").read_text())
    for secret in [environment, in_log, in_session, keys["node"]["access_key_id"]]:
        assert secret.encode() not in everything + everything_inside, secret
    for said in ["/acs/ws", "/tcs/ws", "PutLogEvents", "SubmitTaskStateChange", "estiva-pipe", "secretAccessKey", "ListClusters"]:
        assert said.encode() not in outside + inside, said
    assert keys["owner"]["access_key_id"].encode() in outside and b"RunTask" in outside, "the sniffer hears nothing at all"
    for arn in arns:
        stream = f"s/main/{arn.rsplit('/', 1)[-1]}"
        eventually(lambda: here.messages("/g", stream) == [in_log])


def test_the_socket_is_its_owners_and_wants_signatures_too(estiva):
    path = estiva.run_dir / "api.sock"
    assert path.stat().st_mode & 0o777 == 0o600 and estiva.run_dir.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        head = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\n"
        caller.sendall(f"{head}Content-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        said = b"".join(iter(lambda: caller.recv(4096), b"")).decode()
    assert said.startswith("HTTP/1.1 400") and "MissingAuthenticationToken" in said, said
    # Abstract sockets are open to all who share the network, whatever files they see.
    assert not [line for line in Path("/proc/net/unix").read_text().splitlines() if "@" in line and "estiva" in line]


def test_a_task_with_the_hosts_network_finds_no_socket_of_ours(estiva):
    script = "grep -o '/run/estiva.*' /proc/net/unix | while read path; do test -e $path && echo $path; done; ls -d /run/estiva; echo done"
    _, said = logged(estiva, "finder", f"({script}) 2>/dev/null", networkMode="host")
    assert said == ["done"]


# In /proc/self/status; 13 is CAP_NET_RAW. arping opens a packet socket, traceroute and ping would a raw one.
RAW = "busybox arping -c 1 -I lo 127.0.0.1 2>&1 | head -n 1; c=$(grep CapBnd /proc/self/status | cut -c8- | tr -d '\\t'); echo $((0x$c >> 13 & 1))"


@pytest.mark.parametrize(
    ("mode", "more", "may"),
    [
        ("host", {}, False),
        ("host", {"user": "1000"}, False),
        ("host", {"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}, False),
        ("host", {"linuxParameters": {"capabilities": {"add": ["NET_RAW"]}}}, True),
        ("host", {"linuxParameters": {"capabilities": {"add": ["ALL"], "drop": ["KILL"]}}}, True),
        ("host", {"privileged": True}, True),
        ("bridge", {}, True),
        ("awsvpc", {}, True),
        ("none", {}, True),
    ],
    ids=["host", "host user", "host other", "host added", "host all", "host privileged", "bridge", "awsvpc", "none"],
)
def test_raw_sockets_in_the_hosts_network_are_for_who_asks(estiva, mode, more, may):
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    run = {"networkConfiguration": network} if mode == "awsvpc" else {}
    _, said = logged(estiva, "raw", RAW, networkMode=mode, container=more, run=run)
    assert said[-1] == ("1" if may else "0"), said
    if not may:
        assert re.search("not permitted|Permission denied", said[0]), said


def replace(program, new):
    shutil.copy(new, program.with_suffix(".new"))
    program.with_suffix(".new").rename(program)


@pytest.mark.parametrize(
    "upgrade",
    [
        lambda program: replace(program, BINARY),
        lambda program: replace(program, "/bin/false"),
        lambda program: program.unlink(),
        lambda program: program.rename(program.with_suffix(".old")),
    ],
    ids=["replaced", "replaced by what does not work", "removed", "moved"],
)
def test_what_becomes_of_the_programs_file_does_nothing_to_who_is_up(tmp_path, image_files, upgrade):
    program = tmp_path / "estiva"
    shutil.copy(BINARY, program)
    here = Installation(tmp_path / "data", program)
    here.estiva("image", "import", str(image_files["busybox"]))
    here.up()
    try:
        here.register("short", [shell("exit 7")])
        [arn] = here.run("short")
        here.wait("STOPPED", arn)
        supervisor = here.processes("up")
        upgrade(program)
        here.binary = BINARY
        here.estiva("node", "add")
        for part in ("server", "agent"):
            killed(here, part)
        nodes = lambda: json.loads(here.estiva("node", "list", "--json").stdout)  # noqa: E731
        eventually(lambda: [node["state"] for node in nodes()] == ["ACTIVE", "ACTIVE"])
        for instance in [node["containerInstanceArn"] for node in nodes()]:
            started = here.ecs.start_task(taskDefinition="short", containerInstances=[instance])["tasks"][0]["taskArn"]
            assert here.wait("STOPPED", started)["containers"][0]["exitCode"] == 7
        assert here.processes("up") == supervisor
        for pid in here.processes("server"):
            assert Path(f"/proc/{pid}/comm").read_text() == "estiva\n"
    finally:
        here.binary = BINARY
        here.down()


def test_a_service_manager_can_hold_the_socket(tmp_path):
    """systemd's convention: from descriptor 3 on, and for the process alone that is named."""
    here = Installation(tmp_path / "data")
    elsewhere = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def activate():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)

        script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        command = ["sh", "-c", script, "sh", BINARY, "--data", here.data, "--listen", f"127.0.0.1:{elsewhere}", "server"]
        server = subprocess.Popen(command, preexec_fn=activate, pass_fds=[3], stderr=subprocess.DEVNULL)
        try:
            assert "x-amzn-requestid" in answer(port)
            with pytest.raises(ConnectionRefusedError):
                answer(elsewhere)
            here.estiva("status")
        finally:
            server.terminate()
            server.wait()
    assert not (here.run_dir / "api.sock").exists()
    shutil.rmtree(here.run_dir)


def test_an_agent_that_is_told_to_end_while_tasks_begin_does_not_panic(new_installation):
    here = new_installation()
    here.register("brief", [shell("exit 0")])
    arns = []
    for _ in range(4):
        # It takes tasks again once it is connected.
        arns += eventually(lambda: [it["taskArn"] for it in here.ecs.run_task(taskDefinition="brief", count=6)["tasks"]] or None)
        [agent] = here.processes("agent")
        os.kill(agent, signal.SIGTERM)
        eventually(lambda: not is_there(agent))
    for arn in arns:
        assert here.wait("STOPPED", arn)["containers"][0]["exitCode"] == 0
    assert "panicked" not in (here.data / "estiva.log").read_text()
