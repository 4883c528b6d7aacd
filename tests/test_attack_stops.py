"""A task always ends when it is told to, whatever its containers hold up; and no tasks use up the machine's process ids."""

import fcntl
import os
import signal
from pathlib import Path

import pytest
from installation import eventually, shell

VOLUMES = {
    "task": {"name": "data", "host": {}},
    "shared": {"name": "attacked", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True, "driver": "local"}},
}


def groups(name, task):
    """The cgroups of a task, on v1 one in each hierarchy."""
    return [group for group in (*Path("/sys/fs/cgroup").glob(f"estiva-{name}/{task}"), *Path("/sys/fs/cgroup").glob(f"*/estiva-{name}/{task}")) if group.is_dir()]


def pids_max(name, *below):
    found = [*Path("/sys/fs/cgroup").glob(f"estiva-{name}/pids.max"), *Path("/sys/fs/cgroup").glob(f"pids/estiva-{name}/pids.max")]
    [group] = [file.parent for file in found]
    return int(group.joinpath(*below, "pids.max").read_text())


def shim_of(estiva, task):
    [pid] = [pid for pid in estiva.processes("shim") if task in Path(f"/proc/{pid}/cmdline").read_text()]
    return pid


@pytest.mark.parametrize("kind", VOLUMES)
def test_a_lock_on_a_volume_holds_nobody_up(estiva, kind):
    """The test locks the directory, as any container that mounts it can."""
    volume = VOLUMES[kind]
    mount = [{"sourceVolume": volume["name"], "containerPath": "/data"}]
    held = {"command": ["CMD-SHELL", "test -e /data/held"], "interval": 5, "retries": 10}
    first = shell("exec sleep 100000", name="first", mountPoints=mount, healthCheck=held, stopTimeout=2)
    second = shell("exec sleep 100000", mountPoints=mount, stopTimeout=2, dependsOn=[{"containerName": "first", "condition": "HEALTHY"}])
    estiva.register(f"lock-{kind}", [first, second], volumes=[volume])
    [arn] = estiva.run(f"lock-{kind}")
    own = estiva.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "volumes/data"
    directory = own if kind == "task" else estiva.data / "node/volumes/attacked"
    eventually(directory.is_dir)
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (directory / "held").touch()
        estiva.wait("RUNNING", arn)
        estiva.stop(arn)
    finally:
        os.close(lock)


@pytest.mark.parametrize("agent", ["the same agent", "a new agent"])
def test_a_task_whose_shim_hangs_ends(estiva, agent):
    estiva.register("hung", [shell("exec sleep 100000", stopTimeout=2)])
    [arn] = estiva.run("hung")
    estiva.wait("RUNNING", arn)
    task = arn.rsplit("/", 1)[-1]
    os.kill(shim_of(estiva, task), signal.SIGSTOP)
    if agent == "a new agent":
        estiva.kill("agent")
    ended = estiva.stop(arn)
    assert "did not answer" in ended["containers"][0]["reason"], ended
    assert not groups(estiva.name, task)
    assert not [pid for pid in estiva.processes("shim") if task in Path(f"/proc/{pid}/cmdline").read_text()]
    resources = estiva.ecs.describe_container_instances(containerInstances=[ended["containerInstanceArn"]])["containerInstances"][0]
    assert arn not in estiva.running_tasks() and resources["runningTasksCount"] == len(estiva.running_tasks())


def test_tasks_leave_process_ids_to_the_machine(estiva):
    """All nodes together have no more than three quarters, and a task no more than a quarter of that."""
    estiva.register("pids", [shell("exec sleep 100000", stopTimeout=2)])
    [arn] = estiva.run("pids")
    estiva.wait("RUNNING", arn)
    machine = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    assert pids_max(estiva.name, arn.rsplit("/", 1)[-1]) <= machine * 3 // 16
    files = [*Path("/sys/fs/cgroup").glob("estiva-*/pids.max"), *Path("/sys/fs/cgroup").glob("pids/estiva-*/pids.max")]
    ours = pids_max(estiva.name)
    assert ours <= machine * 3 // 4 and len(files) * ours <= machine
    estiva.stop(arn)


def test_a_mount_over_a_process_is_refused(estiva, tmp_path):
    mount = [{"sourceVolume": "data", "containerPath": "/proc/1"}]
    estiva.register("proc", [shell("true", mountPoints=mount)], volumes=[{"name": "data", "host": {"sourcePath": str(tmp_path)}}])
    ended = estiva.run_to_end("proc")
    assert "inside /proc" in ended["stoppedReason"] + str(ended["containers"]), ended
