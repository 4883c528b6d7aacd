"""500 tasks of one container on one node: how fast they start, what the engine takes for them, how soon an agent has them back."""

import os
import signal
import time
from pathlib import Path

TASKS = 500
IDLE_SECONDS = 40


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def running(here):
    return len(here.ecs.list_tasks(desiredStatus="RUNNING", maxResults=100)["taskArns"])


def density(here, tools):
    client = tools.RawClient(here)
    here.register("dense", [{"name": "web", "image": "hello", "memory": 8, "portMappings": [{"containerPort": 8080}]}])
    begun = time.monotonic()
    arns = []
    for _ in range(TASKS // 10):
        arns += [task["taskArn"] for task in client.call("RunTask", taskDefinition="dense", count=10)["tasks"]]
    assert len(arns) == TASKS, len(arns)
    for page in range(0, TASKS, 100):
        tools.until_running(client, arns[page : page + 100])
    started = time.monotonic() - begun
    time.sleep(5)
    parts = {part: tools.memory(here.processes(part))["pss"] for part in ("server", "agent", "up", "shim")}
    [agent] = here.processes("agent")
    before = cpu_seconds(agent)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(agent) - before) / IDLE_SECONDS * 100
    # The server has closed the former connection by now.
    client = tools.RawClient(here)
    os.kill(agent, signal.SIGKILL)
    begun = time.monotonic()
    log = here.data / "estiva.log"
    seen = log.stat().st_size
    while b"connected to the control plane" not in log.read_bytes()[seen:]:
        time.sleep(0.005)
    readopted = time.monotonic() - begun
    client.call("StopTask", task=arns[-1])
    begun = time.monotonic()
    while client.call("DescribeTasks", tasks=[arns[-1]])["tasks"][0]["lastStatus"] != "STOPPED":
        time.sleep(0.005)
    stopped = time.monotonic() - begun
    begun = time.monotonic()
    for arn in arns[:-1]:
        client.call("StopTask", task=arn)
    while here.processes("shim"):
        time.sleep(0.05)
    return [
        (f"{TASKS} tasks, all RUNNING", f"{started:.1f} s"),
        ("tasks started a second", f"{TASKS / started:.0f}"),
        ("engine memory a task: PSS", f"{sum(parts.values()) / TASKS:.2f} MB"),
        ("… of it the shim's", f"{parts['shim'] / TASKS:.2f} MB"),
        ("agent with all of them: PSS", f"{parts['agent']:.1f} MB"),
        ("agent with all of them, idle: CPU of a core", f"{idle:.2f} %"),
        ("agent killed: until the next one has all back", f"{readopted:.2f} s"),
        ("… and has stopped one of them", f"{stopped:.2f} s"),
        ("all stopped and cleaned up", f"{time.monotonic() - begun:.1f} s"),
    ]
