"""Faults of the node: its agent dies, its disk is full, its memory and its processors are used up, it is restarted."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from installation import Installation, container, eventually, shell
from test_crashes import answers, connected
from test_leftovers import traces

UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers").exists()
MIB = 1 << 20


def logged_to(group, definition):
    options = {"awslogs-group": group, "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}
    return {**definition, "logConfiguration": {"logDriver": "awslogs", "options": options}}


def lines_of(here, group, arn):
    return here.messages(group, f"t/main/{arn.rsplit('/', 1)[-1]}")


def numbers(lines):
    """The numbers that were written. A crash may have a line shipped twice, but never one that was not written."""
    return sorted({int(line) for line in lines})


def cgroup_of(here, arn, controller):
    root = Path("/sys/fs/cgroup") if UNIFIED else Path("/sys/fs/cgroup") / controller
    return root / f"estiva-{here.name}" / arn.rsplit("/", 1)[-1]


def run(here, definition):
    family = f"fault-{uuid.uuid4().hex[:8]}"
    here.register(family, [definition])
    return here.run_to_end(family)


def steady(here):
    """A task that runs on, and what must not change of it."""
    here.register("steady", [container(command=["sleep", "1000"], memory=16, stopTimeout=2)])
    [arn] = here.run("steady")
    return arn, here.wait("RUNNING", arn)


def assert_untroubled(here, arn, before):
    after = here.wait("RUNNING", arn)
    assert after["containers"][0]["runtimeId"] == before["containers"][0]["runtimeId"]
    assert after["startedAt"] == before["startedAt"]


# The agent.


def test_thirty_tasks_outlive_agents_that_are_killed_and_replaced(new_installation):
    here = new_installation()
    counting = shell("i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done", memory=16, stopTimeout=2)
    here.register("counting", [logged_to("/fault", counting)])
    arns = here.run("counting", count=10) + here.run("counting", count=5)
    ending = {}
    for code in range(1, 16):
        script = f"for i in $(seq 0 {code * 20}); do echo $i; sleep 0.01; done; sleep {code * 0.3}; exit {code}"
        here.register(f"ending{code}", [logged_to("/fault", shell(script, memory=16))])
        [ending[code]] = here.run(f"ending{code}")
    before = {arn: here.wait("RUNNING", arn) for arn in arns}
    shims = here.processes("shim")
    for pause in (0.1, 0.5, 0.9):
        time.sleep(pause)
        here.kill("agent")
        eventually(lambda: here.processes("agent"))
    # A new version is put in place of the old one.
    here.down("--keep-tasks")
    time.sleep(0.5)
    here.up()
    for code, arn in ending.items():
        task = here.wait("STOPPED", arn)
        assert task["containers"][0].get("exitCode") == code, task
        assert numbers(lines_of(here, "/fault", arn)) == list(range(code * 20 + 1))
    assert set(here.processes("shim")) <= set(shims), "none was started anew"
    for arn in arns:
        assert_untroubled(here, arn, before[arn])
        here.ecs.stop_task(task=arn)
    for arn in arns:
        here.wait("STOPPED", arn)
        found = numbers(lines_of(here, "/fault", arn))
        assert len(found) > 40 and found == list(range(len(found))), "a line is lost"
    eventually(lambda: not here.processes("shim"))


# The disk.


class Small:
    """A file system of the test's own below an installation, which can be filled."""

    def __init__(self, place, options):
        self.place = place
        self.filler = place / "filler"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", place], check=True)

    def fill(self):
        self.filler.mkdir(exist_ok=True)
        with (self.filler / "bytes").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 12))
            except OSError:
                pass

    def use_up_inodes(self):
        self.filler.mkdir(exist_ok=True)
        try:
            for number in range(10**6):
                (self.filler / str(number)).touch()
        except OSError:
            pass

    def free(self):
        shutil.rmtree(self.filler)

    def mount(self, access):
        subprocess.run(["mount", "-o", f"remount,{access}", self.place], check=True)


@pytest.fixture
def small_node(tmp_path, image_files):
    """Makes installations whose node has a small file system; each with that file system."""
    made = []

    def make():
        here = Installation(tmp_path / f"data{len(made)}")
        here.data.mkdir(mode=0o700)
        small = Small(here.data / "node", "size=64m,nr_inodes=4000")
        made.append((here, small))
        here.estiva("image", "import", str(image_files["busybox"]))
        here.up()
        return here, small

    yield make
    for here, small in made:
        here.down()
        subprocess.run(["umount", small.place], check=True)


def test_what_a_nodes_disk_lacks_is_named_and_passes(small_node):
    """Tasks that the node cannot keep end and say why, give back what they held, and others run once the fault has passed."""
    faults = []
    for exhaust, reason, heal in (
        (Small.fill, "No space left on device", Small.free),
        (Small.use_up_inodes, "No space left on device", Small.free),
        (lambda small: small.mount("ro"), "Read-only file system", lambda small: small.mount("rw")),
    ):
        here, small = small_node()
        free = resources(here)
        # What runs writes to the disk: nothing does where it is to become one that can only be read.
        before = steady(here) if heal is Small.free else None
        exhaust(small)
        here.register("refused", [shell("exit 5")])
        faults.append((here, small, reason, heal, before, free, here.run("refused", count=3)))
    for here, small, reason, heal, before, free, arns in faults:
        for arn in arns:
            task = here.wait("STOPPED", arn)
            assert task["stopCode"] == "TaskFailedToStart"
            assert task["stoppedReason"].startswith("ResourceInitializationError: the node cannot record the task: "), task
            assert reason in task["stoppedReason"]
            assert "exitCode" not in task["containers"][0]
        assert reason in here.log()
        assert connected(here)
        if before:
            assert_untroubled(here, *before)
            here.stop(before[0])
        eventually(lambda here=here, free=free: resources(here) == free)
        heal(small)
    for here, *_ in faults:
        assert run(here, shell("exit 6"))["containers"][0].get("exitCode") == 6
        eventually(lambda here=here: not traces(here)["tasks"])


def resources(here):
    """What tasks may still take of the node."""
    [arn] = here.ecs.list_container_instances()["containerInstanceArns"]
    [instance] = here.ecs.describe_container_instances(containerInstances=[arn])["containerInstances"]
    return instance["remainingResources"]


def test_a_full_disk_while_containers_write_is_their_own_failure(small_node):
    here, small = small_node()
    arn, before = steady(here)
    task = run(here, shell("dd if=/dev/zero of=/large bs=65536; echo x >> /large || exit 9"))
    assert task["containers"][0].get("exitCode") == 9, task
    assert run(here, shell("echo x > /x"))["containers"][0].get("exitCode") == 0, "what it wrote is gone with it"
    assert_untroubled(here, arn, before)
    here.stop(arn)


def test_a_disk_that_log_lines_have_filled_gets_its_room_back(small_node):
    """Nobody takes them while the control plane stands still; what has been taken then is freed on a disk without a byte of room."""
    here, small = small_node()
    room = lambda: os.statvfs(small.place).f_bavail * os.statvfs(small.place).f_frsize
    here.register("loud", [logged_to("/loud", shell(f"sleep 1; yes {'x' * 1000} | head -n 100000; sleep 1000", memory=16, stopTimeout=2))])
    [arn] = here.run("loud")
    here.wait("RUNNING", arn)
    before = room()
    [server] = here.processes("server")
    os.kill(server, signal.SIGSTOP)
    try:
        eventually(lambda: room() < 1 << 14)
    finally:
        os.kill(server, signal.SIGCONT)
    eventually(lambda: room() > before - 10 * MIB)
    here.stop(arn)
    assert {line for line in lines_of(here, "/loud", arn) if "lines were dropped" not in line} == {"x" * 1000}


def test_a_task_ends_and_is_reported_although_the_disk_is_full(small_node):
    here, small = small_node()
    here.register("ending", [shell("while [ ! -e /dev/shm/end ]; do sleep 0.1; done; exit 7", stopTimeout=2)])
    [stopped] = here.run("ending")
    here.wait("RUNNING", stopped)
    here.register("short", [shell("sleep 3; exit 7")])
    [short] = here.run("short")
    here.wait("RUNNING", short)
    small.fill()
    small.use_up_inodes()
    assert here.wait("STOPPED", short)["containers"][0].get("exitCode") == 7
    here.ecs.stop_task(task=stopped)
    assert here.wait("STOPPED", stopped)["containers"][0].get("exitCode") == 137
    small.free()
    eventually(lambda: not here.processes("shim"))
    eventually(lambda: not traces(here)["tasks"])


def test_a_task_is_stopped_although_that_cannot_be_kept(small_node):
    """It may be the very one that has filled the disk."""
    here, small = small_node()
    arn, _ = steady(here)
    small.fill()
    small.use_up_inodes()
    here.ecs.stop_task(task=arn)
    assert here.wait("STOPPED", arn)["containers"][0].get("exitCode") == 137
    small.free()
    eventually(lambda: not traces(here)["tasks"])


def test_an_agent_comes_back_to_a_full_disk(small_node):
    here, small = small_node()
    arn, before = steady(here)
    small.fill()
    small.use_up_inodes()
    [agent] = here.processes("agent")
    os.kill(agent, signal.SIGKILL)
    eventually(lambda: here.processes("agent") not in ([], [agent]))
    eventually(lambda: here.task(arn)["connectivity"] == "CONNECTED" and connected(here))
    assert_untroubled(here, arn, before)
    here.ecs.stop_task(task=arn)
    assert here.wait("STOPPED", arn)["containers"][0].get("exitCode") == 137


@pytest.fixture
def frozen_node(tmp_path, image_files):
    """An installation whose node's file system can be made to keep every write waiting, and what does and undoes that."""
    here = Installation(tmp_path / "data")
    here.data.mkdir(mode=0o700)
    place, image = here.data / "node", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    here.estiva("image", "import", str(image_files["busybox"]))
    here.up()
    yield here, lambda way: subprocess.run(["fsfreeze", way, place], check=True)
    subprocess.run(["fsfreeze", "--unfreeze", place], capture_output=True)
    here.down()
    subprocess.run(["umount", place], check=True)


def test_a_node_whose_disk_is_slow_is_not_taken_for_dead(frozen_node):
    here, freeze = frozen_node
    arn, before = steady(here)
    here.register("patient", [shell("exit 6")])
    freeze("--freeze")
    [waiting] = here.run("patient")
    # Longer than a node may be silent.
    end = time.monotonic() + 15
    while time.monotonic() < end:
        assert connected(here)
        time.sleep(0.2)
    assert here.task(waiting)["lastStatus"] in ("PROVISIONING", "PENDING")
    freeze("--unfreeze")
    assert here.wait("STOPPED", waiting)["containers"][0].get("exitCode") == 6
    assert_untroubled(here, arn, before)
    here.stop(arn)


@pytest.fixture
def small_installation(tmp_path, image_files):
    """An installation whose control plane has a small file system, and that file system."""
    here = Installation(tmp_path / "data")
    here.data.mkdir(mode=0o700)
    small = Small(here.data / "server", "size=16m")
    here.estiva("image", "import", str(image_files["busybox"]))
    here.up()
    yield here, small
    here.down()
    subprocess.run(["umount", small.place], check=True)


def test_a_full_disk_of_the_control_plane_loses_nothing_and_passes(small_installation):
    here, small = small_installation
    arn, before = steady(here)
    here.register("acknowledged", [shell("exit 0")])
    small.fill()
    refused = None
    for number in range(200):
        try:
            here.register("bulk", [shell("exit 0", environment=[{"name": "A", "value": "x" * 20_000}])])
        except Exception as error:  # noqa: BLE001 - looked at below
            refused = error
            break
    assert refused is not None and getattr(refused, "response", {}).get("Error", {}).get("Code") == "ServerException", refused
    revisions = here.ecs.list_task_definitions(familyPrefix="bulk")["taskDefinitionArns"]
    assert len(revisions) == number, "what was acknowledged, and nothing else"
    assert here.ecs.list_clusters()["clusterArns"]
    small.free()
    eventually(lambda: answers(here))
    assert eventually(lambda: run_or_none(here, "acknowledged"))["containers"][0].get("exitCode") == 0, "it heals by itself"
    eventually(lambda: connected(here))
    assert_untroubled(here, arn, before)
    assert here.ecs.list_task_definitions(familyPrefix="bulk")["taskDefinitionArns"] == revisions
    # What is on the disk is whole.
    [pid] = here.processes("server")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: here.processes("server") not in ([], [pid]) and answers(here))
    assert here.ecs.list_task_definitions(familyPrefix="bulk")["taskDefinitionArns"] == revisions
    assert_untroubled(here, arn, before)
    here.stop(arn)


def run_or_none(here, family):
    try:
        return here.run_to_end(family)
    except Exception:  # noqa: BLE001 - until it has healed
        return None


# Memory, processes, processors.


def test_only_the_container_that_takes_too_much_memory_dies(estiva):
    hungry = shell("x=a; while :; do x=$x$x; done", name="hungry", memory=16, essential=False)
    modest = shell("sleep 1000", name="modest", memory=16, stopTimeout=2)
    estiva.register("meals", [hungry, modest])
    [arn] = estiva.run("meals")
    other, before = steady(estiva)

    def ended():
        containers = {it["name"]: it for it in estiva.task(arn)["containers"]}
        return containers if containers["hungry"]["lastStatus"] == "STOPPED" else None

    containers = eventually(ended)
    assert containers["hungry"]["exitCode"] == 137
    assert containers["hungry"]["reason"].startswith("OutOfMemoryError")
    assert containers["modest"]["lastStatus"] == "RUNNING"
    assert estiva.wait("RUNNING", arn)["containers"]
    assert_untroubled(estiva, other, before)
    stopped = {it["name"]: it for it in estiva.stop(arn)["containers"]}
    assert "OutOfMemoryError" not in stopped["modest"].get("reason", "")
    estiva.stop(other)


def test_no_task_can_take_the_epoll_watches_of_the_machines_services(estiva):
    """The kernel counts them by user, and containers have root's; each is paid for with the memory of its task."""
    assert estiva.processes("agent")
    assert int(Path("/proc/sys/fs/epoll/max_user_watches").read_text()) == 2**63 - 1


def test_a_fork_bomb_is_bounded_and_can_be_stopped(estiva):
    # The first process only waits; what it has started doubles itself for as long as it can.
    bomb = "bomb() { bomb & bomb & sleep 1000; }; bomb & exec sleep 1000"
    other, before = steady(estiva)
    agent = estiva.processes("agent")
    estiva.register("bomb", [shell(bomb, memory=1024, stopTimeout=2)])
    [arn] = estiva.run("bomb")
    estiva.wait("RUNNING", arn)
    pids = cgroup_of(estiva, arn, "pids") / "main"
    assert int((pids / "pids.max").read_text()) <= 4096
    eventually(lambda: int((pids / "pids.current").read_text()) > 1000)
    # Another starts and works beside it.
    assert run(estiva, shell("for i in $(seq 20); do true; done; exit 3"))["containers"][0].get("exitCode") == 3
    assert int((pids / "pids.current").read_text()) <= 4096
    assert_untroubled(estiva, other, before)
    estiva.stop(arn)
    assert estiva.processes("agent") == agent
    eventually(lambda: not cgroup_of(estiva, arn, "pids").exists())
    estiva.stop(other)


def test_a_node_under_load_is_not_taken_for_dead(new_installation):
    here = new_installation()
    arn, before = steady(here)
    spin = "i=0; while [ $i -lt 25 ]; do (while :; do :; done) & i=$((i+1)); done; wait"
    here.register("spinning", [shell(spin, cpu=128, memory=64, stopTimeout=2)])
    # 250 processes that would each have a processor.
    arns = here.run("spinning", count=10)
    for spinning in arns:
        here.wait("RUNNING", spinning)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        assert connected(here)
        assert_untroubled(here, arn, before)
        time.sleep(0.2)
    assert run(here, shell("exit 0"))["containers"][0].get("exitCode") == 0
    for spinning in arns:
        here.ecs.stop_task(task=spinning)
    for spinning in arns:
        assert here.wait("STOPPED", spinning)["containers"][0]["exitCode"] == 137
    assert_untroubled(here, arn, before)


# Processes that do not go, and restarts of the machine.


def test_a_process_that_does_not_die_holds_nobody_up(new_installation):
    """A frozen one is deaf to SIGKILL where cgroups are of version 1, as one that waits for a broken disk is everywhere."""
    here = new_installation()
    arn, _ = steady(here)
    other, before = steady(here)
    group = cgroup_of(here, arn, "freezer") / "main"
    stuck = group / "stuck"
    stuck.mkdir()
    for pid in (group / "cgroup.procs").read_text().split():
        (stuck / "cgroup.procs").write_text(pid)
    state, frozen, thawed = ("cgroup.freeze", "1", "0") if UNIFIED else ("freezer.state", "FROZEN", "THAWED")
    (stuck / state).write_text(frozen)
    try:
        here.ecs.stop_task(task=arn)
        for _ in range(5):
            assert run(here, shell("sleep 0.5; exit 3"))["containers"][0].get("exitCode") == 3
        here.kill("agent")
        here.register("beside", [shell("exit 3")])
        assert eventually(lambda: run_or_none(here, "beside"))["containers"][0].get("exitCode") == 3
        assert_untroubled(here, other, before)
    finally:
        if stuck.exists():
            (stuck / state).write_text(thawed)
    assert here.wait("STOPPED", arn)["containers"][0].get("exitCode") == 137
    eventually(lambda: not cgroup_of(here, arn, "freezer").exists())
    here.stop(other)
    eventually(lambda: not here.processes("shim"))


def down_with_everything(here):
    """What a machine's end leaves of an installation: its data, and nothing that the kernel has."""
    here.down("--keep-tasks")
    for path in (here.run_dir / "network/netns").glob("*"):
        subprocess.run(["umount", "-l", path], check=True)
    for pid in here.processes("shim"):
        os.kill(pid, signal.SIGKILL)
    roots = [path for path in Path("/sys/fs/cgroup").glob(f"**/estiva-{here.name}") if path.is_dir()]

    def emptied():
        groups = [group for root in roots for group in (*root.rglob("*/"), root) if (group / "cgroup.procs").exists()]
        pids = {int(pid) for group in groups for pid in (group / "cgroup.procs").read_text().split()}
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    eventually(emptied)
    for root in roots:
        for directory in sorted((path for path in (*root.rglob("*"), root) if path.is_dir()), reverse=True):
            eventually(lambda directory=directory: gone(directory))
    shutil.rmtree(here.run_dir)


def gone(directory):
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def take_away_the_network(here):
    name = hashlib.sha256(here.name.encode()).hexdigest()[:6]
    subprocess.run(["ip", "link", "delete", f"est{name}0"], check=True)
    for family in ("ip", "bridge"):
        subprocess.run(["nft", "delete", "table", family, f"estiva_{name}"], check=True)


@pytest.mark.parametrize("network", ["left", "gone"])
def test_a_restarted_machine_reports_its_tasks_and_takes_new_ones(new_installation, network):
    here = new_installation()
    port = [{"containerPort": 8080}]
    here.register("before", [container(image="hello", portMappings=port, stopTimeout=2)])
    here.register("after", [container(image="hello", portMappings=port, stopTimeout=2)])
    arns = here.run("before", count=5)
    for arn in arns:
        here.wait("RUNNING", arn)
    down_with_everything(here)
    if network == "gone":
        take_away_the_network(here)
    here.up()
    for arn in arns:
        task = here.wait("STOPPED", arn)
        assert "exitCode" not in task["containers"][0], "nobody knows how it ended"
        assert "machine was restarted" in str(task), task
    [arn] = here.run("after")
    task = here.wait("RUNNING", arn)
    assert task["containers"][0]["networkBindings"]
    here.stop(arn)
    eventually(lambda: not traces(here)["tasks"])
    found = traces(here)
    assert [found[kind] for kind in ("shims", "namespaces", "sockets", "mounts", "cgroups", "leases", "unfinished")] == [[]] * 7


def test_tasks_whose_sockets_are_gone_end_and_leave_nothing(new_installation):
    """Somebody cleans /run while the installation is down and its tasks run on."""
    here = new_installation()
    arn, _ = steady(here)
    here.down("--keep-tasks")
    for path in (here.run_dir / "network/netns").glob("*"):
        subprocess.run(["umount", "-l", path], check=True)
    shutil.rmtree(here.run_dir)
    here.up()
    assert connected(here)
    here.ecs.stop_task(task=arn)
    here.wait("STOPPED", arn)
    assert run(here, shell("exit 4"))["containers"][0].get("exitCode") == 4
    eventually(lambda: not traces(here)["tasks"])
    found = traces(here)
    assert [found[kind] for kind in ("shims", "namespaces", "sockets", "mounts", "cgroups", "leases")] == [[]] * 6


def test_what_is_left_of_broken_records_is_in_nobodys_way(new_installation):
    """A machine that lost power may have half of what was being written."""
    here = new_installation()
    arn, _ = steady(here)
    here.down("--keep-tasks")
    tasks = here.data / "node/tasks"
    task = arn.rsplit("/", 1)[-1]
    for name, content in (("a" * 32, None), ("b" * 32, b""), ("c" * 32, b"{"), ("d" * 32, bytes(100)), ("e" * 32, random.randbytes(1000))):
        (tasks / name).mkdir()
        if content is not None:
            (tasks / name / "record.json").write_bytes(content)
    (tasks / task / ".record.json.new").write_bytes(b'{"task":')
    (here.data / "node/images/tmp/123-4").mkdir()
    here.up()
    assert here.wait("RUNNING", arn)["taskArn"] == arn
    assert run(here, shell("exit 0"))["containers"][0].get("exitCode") == 0
    here.stop(arn)
    assert list((here.data / "node/images/tmp").iterdir()) == []
    assert not (tasks / ("a" * 32)).exists()
