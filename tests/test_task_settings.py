"""Settings of a task definition that are the whole task's, looked at from inside its containers and from the kernel's side."""

from pathlib import Path

import pytest
from installation import eventually, logged, shell

MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = (CGROUPS / "cgroup.controllers").exists()
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}


def of_task(arn, controller, file, name=""):
    """The text of a file of a task's control group, or of one of its containers'."""
    root = CGROUPS if UNIFIED else CGROUPS / controller
    [group] = root.glob(f"estiva-*/{arn.rsplit('/', 1)[-1]}")
    return (group / name / file).read_text().strip()


def quota(arn):
    """Microseconds of CPU time, and of what period."""
    if UNIFIED:
        return of_task(arn, "cpu", "cpu.max").split()
    return [of_task(arn, "cpu", f"cpu.cfs_{file}_us") for file in ("quota", "period")]


def throttled(arn):
    fields = dict(line.split() for line in of_task(arn, "cpu", "cpu.stat").splitlines())
    return int(fields["nr_throttled"])


def test_cpu_of_the_task(estiva):
    busy = "timeout 1 sh -c 'while :; do :; done'; sleep 1000"
    estiva.register("task-cpu", [shell(busy, stopTimeout=2)], cpu="128", memory="128")
    estiva.register("no-cpu", [shell("sleep 1000", stopTimeout=2)])
    [limited], [free] = estiva.run("task-cpu"), estiva.run("no-cpu")
    for arn in (limited, free):
        estiva.wait("RUNNING", arn)
    assert quota(limited) == ["12500", "100000"]
    assert quota(free)[0] in ("-1", "max")
    assert eventually(lambda: throttled(limited) > 0)
    estiva.stop(limited)
    [larger] = estiva.run("task-cpu", overrides={"cpu": "512"})
    estiva.wait("RUNNING", larger)
    assert quota(larger) == ["50000", "100000"]
    for arn in (larger, free):
        estiva.stop(arn)


def eater(name, mib):
    """Holds so much memory as process 1."""
    script = f"mkfifo /full; (head -c {mib * MIB} /dev/zero; sleep 1000) > /full & exec tail -c {mib * MIB} < /full"
    return shell(script, name=name, memory=48, stopTimeout=2)


def usage(arn, name):
    return int(of_task(arn, "memory", "memory.current" if UNIFIED else "memory.usage_in_bytes", name))


def test_memory_of_the_task_is_shared_by_its_containers(estiva):
    estiva.register("modest", [eater("one", 20), eater("two", 20)], memory="64")
    estiva.register("greedy", [eater("one", 40), eater("two", 40)], memory="64")
    [modest] = estiva.run("modest")
    estiva.wait("RUNNING", modest)
    assert int(of_task(modest, "memory", "memory.max" if UNIFIED else "memory.limit_in_bytes")) == 64 * MIB
    eventually(lambda: usage(modest, "one") > 20 * MIB and usage(modest, "two") > 20 * MIB)
    # Neither is above its own limit; both together are above the task's.
    task = estiva.run_to_end("greedy")
    killed = [it for it in task["containers"] if it.get("reason", "").startswith("OutOfMemoryError")]
    assert killed and all(it["exitCode"] == 137 for it in killed), task["containers"]
    assert estiva.task(modest)["lastStatus"] == "RUNNING"
    estiva.stop(modest)


FARGATE = {
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "arn:aws:iam::000000000000:role/ecsTaskExecutionRole",
}
ON_FARGATE = {"launchType": "FARGATE", "networkConfiguration": NETWORK}


def test_ephemeral_storage_has_its_size_and_ends_with_its_task(new_installation):
    here = new_installation()
    script = """
        df -m / | tail -n 1
        df -m /scratch | tail -n 1
        fallocate -l 12G /less && echo less
        fallocate -l 12G /scratch/more 2>&1 || echo refused
        rm /less /scratch/more
        fallocate -l 20G /scratch/most && echo most
    """
    mount = {"mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}], "stopTimeout": 2}
    size = {"ephemeralStorage": {"sizeInGiB": 21}}
    task, lines = logged(here, "ephemeral", script, container=mount, volumes=[{"name": "scratch"}], run=ON_FARGATE, **FARGATE, **size)
    assert task["ephemeralStorage"]["sizeInGiB"] == 21
    assert task["stopCode"] == "EssentialContainerExited", task["stoppedReason"]
    for line in lines[:2]:
        # What a file system says of itself lacks what it keeps for itself.
        assert 20 * 1024 < int(line.split()[1]) <= 21 * 1024, line
    assert lines[2] == "less"
    assert "No space left" in lines[3] and lines[4:] == ["refused", "most"]

    here.register("ephemeral-end", [shell("sleep 1000", stopTimeout=2)], **FARGATE, **size)
    [arn] = here.run("ephemeral-end", **ON_FARGATE)
    here.wait("RUNNING", arn)
    image = here.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "storage.img"
    assert image.stat().st_size == 21 << 30
    # It takes what is written to it, and little more.
    assert image.stat().st_blocks * 512 < 1 << 30
    here.stop(arn)
    eventually(lambda: not image.exists())
    assert str(here.data) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(("more", "code"), [({"pidMode": "task"}, 0), ({}, 1)], ids=["task", "own"])
def test_processes_are_seen_if_the_task_shares_them(estiva, more, code):
    started = [{"containerName": "other", "condition": "START"}]
    other = shell("exec sh -c 'while :; do sleep 0.1; done' anchor-chain", name="other", essential=False, stopTimeout=2)
    # An expression that does not find itself.
    main = shell("grep -l 'anchor-chai[n]' /proc/[0-9]*/cmdline 2> /dev/null | grep -q .", dependsOn=started)
    estiva.register("pid-mode", [main, other], **more)
    [ended, _] = estiva.run_to_end("pid-mode")["containers"]
    assert ended["exitCode"] == code


def test_a_shared_process_namespace_has_a_first_process_that_is_nobodys(estiva):
    script = "echo $$; cat /proc/1/comm; readlink /proc/self/ns/pid"
    _, [own, comm, _] = logged(estiva, "pid-one", script, pidMode="task")
    assert own != "1" and comm == "estiva-pause"


@pytest.mark.parametrize(("more", "code"), [({"ipcMode": "task"}, 0), ({"ipcMode": "none"}, 1), ({}, 1)], ids=["task", "none", "own"])
def test_shared_memory_is_shared_if_the_task_says_so(estiva, more, code):
    over = [{"containerName": "other", "condition": "SUCCESS"}]
    other = shell("echo moored > /dev/shm/line", name="other", essential=False)
    estiva.register("ipc-mode", [shell("[ \"$(cat /dev/shm/line)\" = moored ]", dependsOn=over), other], **more)
    [ended, _] = estiva.run_to_end("ipc-mode")["containers"]
    assert ended["exitCode"] == code


def test_containers_of_a_task_share_an_ipc_namespace_of_their_own(estiva):
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/ipc", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}}
    script, look = "readlink /proc/self/ns/ipc; sleep 1", {"logConfiguration": log, "stopTimeout": 2}

    def namespaces(**more):
        # Both at one time: a number is free again once nobody has it.
        estiva.register("ipc-namespaces", [shell(script, **look), shell(script, name="other", **look)], **more)
        task = estiva.run_to_end("ipc-namespaces")["taskArn"].rsplit("/", 1)[-1]
        return [estiva.messages("/ipc", f"t/{name}/{task}")[0] for name in ("main", "other")]

    own, shared = namespaces(), namespaces(ipcMode="task")
    host = str(Path("/proc/self/ns/ipc").readlink())
    assert own[0] != own[1] and host not in own
    assert shared[0] == shared[1] and host not in shared
