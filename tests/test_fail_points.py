"""The agent dies at each step of a task's start and stop: nothing is lost, nothing leaks, and the task ends with a true reason."""

import pytest
from installation import eventually, shell
from test_leftovers import traces

STARTING = [
    "task-kept",
    "images-pulled",
    "network-made",
    "network-noted",
    "shim-spawned",
    "storage-made",
    "container-created",
    "container-started",
    "container-end-kept",
    "running-kept",
    "running-reported",
]
STOPPING = [
    "stop-kept",
    "container-told-to-stop",
    "containers-deleted",
    "shim-shut-down",
    "network-released",
    "images-released",
    "volumes-released",
    "all-released",
    "end-kept",
    "end-reported",
]


@pytest.mark.parametrize("point", STARTING + STOPPING)
def test_an_agent_that_dies_is_no_tasks_end(new_installation, monkeypatch, tmp_path, point):
    marker = tmp_path / "reached"
    monkeypatch.setenv("ESTIVA_FAIL_POINT", f"{point}={marker}")
    here = new_installation()
    before = traces(here)
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/f", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"}}
    first = shell("echo once >> /shared/starts", name="first", essential=False, mountPoints=mount)
    main = shell(
        "trap 'echo bye; exit 7' TERM; cat /shared/starts; while :; do sleep 0.05; done",
        mountPoints=mount,
        dependsOn=[{"containerName": "first", "condition": "SUCCESS"}],
        logConfiguration=log,
        portMappings=[{"containerPort": 80}],
    )
    here.register("steps", [main, first], volumes=[{"name": "shared"}], networkMode="bridge")
    [arn] = here.run("steps")
    here.wait("RUNNING", arn)
    assert marker.exists() == (point in STARTING)
    # It has its own handler by now.
    stream = f"t/main/{arn.rsplit('/', 1)[-1]}"

    def lines():
        # An agent that was killed ships again what it had not noted as shipped.
        there = here.logs.describe_log_streams(logGroupName="/f")["logStreams"]
        return list(dict.fromkeys(here.messages("/f", stream))) if there else []

    eventually(lambda: lines() == ["once"])
    task = here.stop(arn)
    assert marker.exists()
    assert task["stopCode"] == "UserInitiated"
    assert {it["name"]: it.get("exitCode") for it in task["containers"]} == {"main": 7, "first": 0}
    assert lines() == ["once", "bye"]
    eventually(lambda: not traces(here)["tasks"])
    # The first task makes the bridge and its rules, which all share; interfaces go a moment after their task.
    own = f"est{here.name[:6]}v"
    eventually(lambda: not [name for name in traces(here)["interfaces"] if name.startswith(own)])
    after = traces(here)
    kept = ["shims", "namespaces", "sockets", "mounts", "cgroups", "tasks", "leases", "unfinished"]
    assert [after[kind] for kind in kept] == [before[kind] for kind in kept]
