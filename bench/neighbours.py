"""What a task's neighbours, the owner and a session's caller notice while one task floods each pool that they share."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUESTS, SESSIONS, STARTS = 200, 10, 3
ROLE = "arn:aws:iam::000000000000:role/crew"
LOG = {"logDriver": "awslogs", "options": {"awslogs-group": "/neighbours", "awslogs-stream-prefix": "n", "awslogs-create-group": "true"}}
SLEEPER = {"name": "main", "image": "busybox", "memory": 32, "command": ["sleep", "10000"], "stopTimeout": 2}
INOTIFY = """
import ctypes, sys
libc = ctypes.CDLL(None)
made = 0
while libc.inotify_init() >= 0:
    made += 1
print("ready", made, flush=True)
sys.stdin.read()
"""


def neighbours(here, _, tools):
    from conftest import write_busybox
    from flooding import ENDPOINT, Place

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "busybox.tar"
        write_busybox(file, "busybox", Cmd=["sh"])
        here.estiva("image", "import", str(file))

    def task(name, command=SLEEPER["command"], **more):
        role = {"taskRoleArn": ROLE} if more.pop("role", False) else {}
        mode = {"networkMode": more.pop("mode", "bridge")}
        here.register(name, [{**SLEEPER, "command": command, **more}], **role, **mode)
        [arn] = here.run(name, enableExecuteCommand=True)
        here.wait("RUNNING", arn)
        return arn

    victim, crew, host = (Place(here, task(name, role=name != "host", mode=mode)) for name, mode in (("victim", "bridge"), ("crew", "bridge"), ("host", "host")))

    @contextlib.contextmanager
    def within(command):
        """A task that does its harm by running."""
        arn = task("flood", ["sh", "-c", command], logConfiguration=LOG)
        try:
            yield
        finally:
            here.stop(arn)

    @contextlib.contextmanager
    def inotify():
        command = ["nsenter", "-t", str(host.pid), "-n", sys.executable, "-c", INOTIFY]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        program.stdout.readline()
        try:
            yield
        finally:
            program.communicate()

    api = f"127.0.0.1:{here.port}"
    session = here.ecs.execute_command(task=victim.arn, container="main", interactive=True, command="true")["session"]["sessionId"]
    floods = {
        "idle": contextlib.nullcontext,
        "endpoint: 1,500 connections": lambda: crew.flood(f"{ENDPOINT}:80", "silent", 1500, 1500),
        "API: 18,000 connections": lambda: host.flood(api, "slow-head", 18_000, 18_000),
        "API by a role: 1,500 connections": lambda: crew.flood(f"{ENDPOINT}:{here.port}", "silent", 1500, 1500),
        "exec callers: 1,200": lambda: host.flood(api, "websocket", 1200, 1200, f"/v1/data-channel/{session}"),
        "bodies: 1,500 that never end": lambda: host.flood(api, "slow-body", 1500, 1500),
        "log volume": lambda: within("yes $(seq 100)"),
        "inotify": inotify,
        "processes": lambda: within("while :; do sleep 1000 & done 2> /dev/null"),
    }
    here.register("fresh", [{**SLEEPER, "logConfiguration": LOG}])
    rows = []
    for name, flood in floods.items():
        with flood():
            rows += [(f"{name}: {what}", value) for what, value in measure(here, victim, tools)]
    far = on_further_node(here, Place)
    for name, flood in {
        "idle": contextlib.nullcontext,
        "1,500 connections": lambda: far["crew"].flood(f"{ENDPOINT}:{here.port}", "silent", 1500, 1500),
    }.items():
        with flood():
            printed, _ = far["victim"].within("ask.py", f"http://{ENDPOINT}:{here.port}/", REQUESTS).communicate()
            rows.append((f"relay, {name}: a neighbour's way to the API", shown([float(line.split()[1]) for line in printed.splitlines()])))
    for arn in here.running_tasks():
        here.stop(arn)
    return rows


def on_further_node(here, place):
    [arn] = here.estiva("node", "add").stdout.split()
    tasks = {}
    for name in ("victim", "crew"):
        [started] = here.ecs.start_task(taskDefinition=name, containerInstances=[arn])["tasks"]
        here.wait("RUNNING", started["taskArn"])
        tasks[name] = place(here, started["taskArn"])
    return tasks


def shown(milliseconds):
    ordered = sorted(milliseconds)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]  # noqa: E731
    return f"{at(0.5):.1f} / {at(0.99):.1f} ms"


def measure(here, victim, tools):
    """p50 and p99 of each; what fails is said so instead."""
    return [(what, attempted(work)) for what, work in (
        ("a neighbour's credentials", lambda: credentials(victim)),
        ("the owner's DescribeTasks", lambda: [tools.milliseconds(lambda: tools.RawClient(here).call("DescribeTasks", tasks=[victim.arn])) for _ in range(REQUESTS)]),
        ("execute-command to its first byte", lambda: [tools.milliseconds(lambda: execute(here, victim.arn)) for _ in range(SESSIONS)]),
        ("a task with awslogs, start to RUNNING", lambda: [tools.milliseconds(lambda: start(here, tools)) for _ in range(STARTS)]),
    )]


def attempted(work):
    try:
        return shown(work())
    except Exception as error:  # noqa: BLE001 - that is what is measured
        return f"failed: {type(error).__name__}"


def credentials(victim):
    # As often as a task may ask.
    values = []
    for _ in range(REQUESTS // 40):
        printed, _ = victim.within("ask.py", victim.credentials_url, 40).communicate()
        lines = [line.split() for line in printed.splitlines()]
        assert all(status == "200" for status, _ in lines), lines
        values += [float(taken) for _, taken in lines]
        time.sleep(1)
    return values


def execute(here, arn):
    command = [here.binary, "--data", here.data, "exec", arn, "echo", "here"]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first = program.stdout.read(1)
    threading.Thread(target=program.communicate, daemon=True).start()
    assert first == b"h"


def start(here, tools):
    client = tools.RawClient(here)
    arn = client.call("RunTask", taskDefinition="fresh")["tasks"][0]["taskArn"]
    tools.until_running(client, [arn])
    client.call("StopTask", task=arn)
