"""Containers that attack their node: each attack is made, and the harm looked for."""

import ctypes
import os
import re
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import hostile
import oci_image
import pytest
from conftest import APPLETS
from hostile import Canary, directory, entry, layer, link
from installation import BINARY, Installation, container, eventually, shell
from registry import Registry

PROGRAMS = Path(__file__).parent / "programs"
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers").exists()


@pytest.fixture
def canary(tmp_path):
    return Canary(tmp_path / "canary")


@pytest.fixture(scope="session")
def busybox():
    return hostile.base(APPLETS)


@pytest.fixture
def image(busybox):
    """Makes an image of busybox and what else is given, and gives its name."""
    registry = Registry()

    def make(*entries, **config):
        name = f"image-{uuid.uuid4().hex[:8]}"
        hostile.serve(registry, name, [busybox, oci_image.pack(layer(*entries))], **config)
        return f"{registry.host}/{name}"

    yield make
    registry.close()


@pytest.fixture
def host_settings():
    """Settings of the host's kernel that attacks go for; put back should one have worked."""
    paths = ["core_pattern", "shmmni", "modprobe", "hotplug", "panic"]
    files = [path for path in (Path("/proc/sys/kernel") / name for name in paths) if path.exists()]
    before = {path: path.read_text() for path in files}
    yield lambda: {path: path.read_text() for path in files} == before
    for path, value in before.items():
        if path.read_text() != value:
            path.write_text(value)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Builds an attacker's program."""

    def build(source, *flags):
        program = tmp_path_factory.mktemp("programs") / source.removesuffix(".c")
        subprocess.run(["cc", "-O1", *flags, "-o", program, PROGRAMS / source], check=True)
        return program

    return build


def file(path, source):
    return entry(path, Path(source).read_bytes(), mode=0o755)


def family():
    return f"attack-{uuid.uuid4().hex[:8]}"


def run(here, definition, **more):
    name = family()
    here.register(name, [definition], **more)
    return here.run_to_end(name)


def written(here, definition, **more):
    """Runs a container to its end; what it wrote."""
    options = {"awslogs-group": "/attacks", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}
    definition["logConfiguration"] = {"logDriver": "awslogs", "options": options}
    task = run(here, definition, **more)
    return here.messages("/attacks", f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}")


def running(here, definition, **more):
    name = family()
    here.register(name, [definition], **more)
    [arn] = here.run(name)
    here.wait("RUNNING", arn)
    return arn


def stat_of(pid):
    """A process's state and parent; None once it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def children(parents):
    found = {int(it.name): stat_of(it.name) for it in Path("/proc").iterdir() if it.name.isdigit()}
    return {pid: it[0] for pid, it in found.items() if it and it[1] in parents}


def shim_of(here, arn):
    task = arn.rsplit("/", 1)[-1]
    [pid] = [pid for pid in here.processes("shim") if task in Path(f"/proc/{pid}/cmdline").read_text()]
    return pid


def processes_with(text):
    found = []
    for it in Path("/proc").iterdir():
        try:
            if it.name.isdigit() and text in (it / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(it.name))
        except OSError:
            continue
    return found


# Out of the root.


def test_a_working_directory_is_never_outside_of_the_root(estiva, canary, image):
    """CVE-2024-21626: a descriptor that the runtime has open, as the working directory."""
    up = "../" * 20
    script = f"pwd; cat {up}{canary.file}; cat {up}etc/hostname"
    outputs = []
    places = [f"/proc/self/fd/{number}" for number in range(3, 18)]
    places += ["/proc/self/fd/7/../../..", "/proc/self/root", "/proc/self/cwd", "/proc/1/cwd", f"/{up}{canary.directory}"]
    for place in places:
        outputs += written(estiva, shell(script, workingDirectory=place))
    images = [image(WorkingDir="/proc/self/fd/8"), image(link("place", "/proc/self/fd/9"), WorkingDir="/place")]
    for name in images:
        outputs += written(estiva, shell(script, image=name))
    assert Canary.SECRET not in outputs
    assert Path("/etc/hostname").read_text().strip() not in outputs
    canary.assert_untouched()
    # Had one of them run outside, this is what it would have read.
    assert Canary.SECRET in Path(f"/proc/self/cwd/{up}{canary.file}").read_text()


@pytest.mark.parametrize("tty", [False, True])
def test_only_the_standard_streams_come_along(estiva, tty):
    # The last one is the directory that `ls` itself reads.
    names = written(estiva, container(command=["ls", "-1", "/proc/self/fd"], pseudoTerminal=tty))
    assert [name.strip() for name in names] == ["0", "1", "2", "3"]
    script = "for number in 0 1 2; do readlink /proc/self/fd/$number; done"
    inside = r"/dev/pts/\d+|/dev/console" if tty else r"pipe:\[\d+\]|/dev/null"
    lines = [line.strip() for line in written(estiva, shell(script, pseudoTerminal=tty))]
    assert len(lines) == 3 and all(re.fullmatch(inside, line) for line in lines), lines


def test_nothing_of_the_agents_environment_comes_along(estiva):
    lines = written(estiva, container(command=["env"]))
    names = {line.partition("=")[0] for line in lines}
    platform = {"AWS_EXECUTION_ENV", "AWS_REGION", "AWS_DEFAULT_REGION", "ECS_AGENT_URI"}
    metadata = {"ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4"}
    assert names == {"PATH", "HOSTNAME", "HOME"} | platform | metadata


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_in_place_of_a_kernel_directory_is_refused(estiva, canary, image, name):
    """CVE-2025-54867: what the runtime puts there would be put where the link leads, on the host."""
    target = str(canary.directory)
    task = run(estiva, shell("exit 0", image=image(directory(target[1:]), link(name, target))))
    canary.assert_untouched()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "CannotCreateContainerError" in task["stoppedReason"]


def test_links_below_kernel_directories_reach_nothing(estiva, canary, image):
    """CVE-2025-52565 and others: what is mounted over the image hides what the image has there."""
    target = canary.file
    below = ["dev/console", "dev/null", "dev/ptmx", "dev/pts", "dev/shm", "dev/mqueue", "dev/fd", "dev/kcore", "sys/fs", "proc/sys"]
    name = image(directory("dev"), directory("proc"), directory("sys"), *(link(path, target) for path in below))
    for tty in (False, True):
        task = run(estiva, shell("echo x > /dev/console; echo x > /dev/null", image=name, pseudoTerminal=tty))
        assert task["containers"][0].get("exitCode") is not None, task.get("stoppedReason")
        canary.assert_untouched()


def test_what_is_mounted_over_a_link_stays_inside(estiva, canary, image):
    target = canary.directory
    name = image(
        directory("etc"),
        *(link(f"etc/{name}", f"{target}/file") for name in ("hosts", "hostname", "resolv.conf")),
        link("data", target),
        link("work", target),
    )
    write = "for file in /etc/hosts /etc/hostname /etc/resolv.conf /data/x /data/x/y; do echo attacked > $file; done; exit 0"
    tmpfs = {"tmpfs": [{"containerPath": "/data/x", "size": 1}]}
    for more in ({}, {"linuxParameters": tmpfs}, {"workingDirectory": "/work/a/b"}, {"linuxParameters": tmpfs, "readonlyRootFilesystem": True}):
        run(estiva, shell(write, image=name, **more))
        canary.assert_untouched()
    for name in (image(link("etc", target)), image(link("etc", "/proc/sys/kernel"))):
        run(estiva, shell(write, image=name))
        canary.assert_untouched()


def exchange(one, other):
    """Swaps two names at once: renameat2(2) with RENAME_EXCHANGE."""
    ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


def test_a_mount_point_swapped_meanwhile_leads_nowhere(estiva, canary):
    """CVE-2021-30465: who shares a directory with a container makes a link of where something is about to be mounted."""
    shared = Path("/dev/shm") / f"estiva-{uuid.uuid4().hex[:8]}"
    (shared / "place").mkdir(parents=True)
    (shared / "link").symlink_to(canary.directory)
    name = family()
    # The directory is shared by way of the host's IPC namespace; 3 is for a start that the swap has made impossible.
    script = f"grep -c '{canary.directory}' /proc/self/mountinfo; cat {shared}/place/file; exit 3"
    tmpfs = [{"containerPath": f"{shared}/place/{number}", "size": 1} for number in range(8)]
    estiva.register(name, [shell(script, linuxParameters={"tmpfs": tmpfs})], ipcMode="host")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            exchange(shared / "place", shared / "link")

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        ended = []
        for _ in range(10):
            arns = estiva.run(name, count=10)
            ended += [estiva.wait("STOPPED", arn) for arn in arns]
        assert len(ended) == 100
    finally:
        stop.set()
        attacker.join()
        shutil.rmtree(shared)
    canary.assert_untouched()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(canary.directory) not in mounts and str(shared) not in mounts


# The host's kernel.


def test_masks_hold_whatever_the_image_has_in_place_of_devices(estiva, image, host_settings):
    """CVE-2025-31133, CVE-2025-62161, CVE-2025-52565: /dev/null, which masks, and /dev/console are links to settings."""
    setting = "/proc/sys/kernel/core_pattern"
    name = image(directory("dev"), *(link(f"dev/{device}", setting) for device in ("null", "console", "ptmx", "zero", "tty")))
    script = (
        f"for file in {setting} /proc/sys/kernel/modprobe /sys/kernel/uevent_helper; do (echo attacked > $file) 2>/tmp/err && exit 60; done;"
        "for file in /proc/keys /proc/kcore /proc/timer_list; do [ -s $file ] && exit 61; done;"
        # Only prints help, should it get through.
        "(echo h > /proc/sysrq-trigger) 2>/tmp/err && exit 62; exit 0"
    )
    names = []
    for tty in (False, True):
        names.append(family())
        estiva.register(names[-1], [shell(script, image=name, pseudoTerminal=tty, memory=16)])
    for _ in range(5):
        arns = [arn for name in names for arn in estiva.run(name, count=10)]
        tasks = [estiva.wait("STOPPED", arn) for arn in arns]
        assert {task["containers"][0].get("exitCode") for task in tasks} == {0}, tasks[0].get("stoppedReason")
    assert host_settings()


def test_kernel_parameters_are_the_tasks_own(estiva, canary, image, host_settings):
    """CVE-2025-52881: a write to a parameter is led to another file."""
    name = image(
        directory("proc/sys/kernel"), link("proc/sys/kernel/shmmni", canary.file), link("proc/sys/net", canary.directory)
    )
    control = [{"namespace": "kernel.shmmni", "value": "77"}]
    lines = written(estiva, shell("cat /proc/sys/kernel/shmmni", image=name, systemControls=control))
    assert lines == ["77"]
    canary.assert_untouched()
    assert host_settings()


@pytest.mark.parametrize(
    "parameter",
    ["kernel.core_pattern", "kernel/core_pattern", "kernel.shm/../core_pattern", "net/../kernel/core_pattern", "net.../kernel.core_pattern"],
)
def test_a_parameter_of_the_whole_machine_is_never_set(estiva, host_settings, parameter):
    control = [{"namespace": parameter, "value": "attacked"}]
    name = family()
    refused = None
    try:
        estiva.register(name, [shell("exit 0", systemControls=control)])
        task = estiva.run_to_end(name)
    except estiva.ecs.exceptions.ClientException as error:
        refused = error.response["Error"]["Code"]
    assert host_settings()
    assert refused == "ClientException" or task["stopCode"] == "TaskFailedToStart"


def test_release_agents_are_out_of_reach(estiva):
    """CVE-2022-0492 and its like: a program of the container's that the kernel would run on the host."""
    script = """
        for hierarchy in memory rdma pids cpu; do mkdir -p /tmp/$hierarchy; mount -t cgroup -o $hierarchy cgroup /tmp/$hierarchy 2>&1; done
        mkdir -p /tmp/unified; mount -t cgroup2 cgroup /tmp/unified 2>&1
        for file in $(find /sys/fs/cgroup /tmp -name release_agent -o -name notify_on_release -o -name cgroup.procs -o -name 'devices.allow'); do
            (echo 0 >> $file) 2>/dev/null && echo wrote $file; done
        for directory in $(find /sys/fs/cgroup -type d); do mkdir $directory/attack 2>/dev/null && echo made $directory; done
        unshare -m true 2>&1; unshare -r true 2>&1; echo end"""
    lines = written(estiva, shell(script))
    assert lines[-1] == "end"
    assert [line for line in lines if line.startswith(("wrote", "made"))] == []
    refused = [line for line in lines if re.search("not permitted|denied", line)]
    assert len(refused) == 7 == len(lines) - 1, lines


def host_disk():
    device = os.stat("/").st_dev
    return os.major(device), os.minor(device)


def test_the_hosts_disk_and_memory_cannot_be_read(estiva, image):
    major, minor = host_disk()
    script = f"""
        mknod /tmp/disk b {major} {minor}; mknod /tmp/memory c 1 1; mknod /tmp/kmsg c 1 11; mknod /dev/disk b {major} {minor}
        mknod /dev/shm/disk b {major} {minor}
        for file in /tmp/disk /tmp/memory /tmp/kmsg /dev/disk /dev/shm/disk /image/disk /image/memory /image/kmsg; do
            (dd if=$file of=/dev/null bs=512 count=1) 2>/dev/null && echo read $file; done; echo end"""
    node = lambda name, kind, major, minor: entry(  # noqa: E731
        f"image/{name}", kind=kind, mode=0o666, devmajor=major, devminor=minor
    )
    block, character = b"4", b"3"
    nodes = [node("disk", block, major, minor), node("memory", character, 1, 1), node("kmsg", character, 1, 11)]
    lines = written(estiva, shell(script, image=image(directory("image"), *nodes)))
    assert [line for line in lines if "mknod" not in line] == ["end"]


def test_the_privileges_of_an_ordinary_task(estiva, image, compiled):
    program = compiled("calls.c", "-static")
    name = image(file("calls", program), entry("inside-of-a-container"))
    lines = written(estiva, shell("/calls; grep -E 'Cap|Seccomp:' /proc/self/status", image=name))
    calls = dict(line.split() for line in lines if "\t" not in line)
    status = dict(line.split(":\t") for line in lines if "\t" in line)
    # Docker's set; without MKNOD where no device cgroup guards what it makes.
    expected = "00000000a00425fb" if UNIFIED else "00000000a80425fb"
    assert {status["CapBnd"], status["CapEff"], status["CapPrm"]} == {expected}
    assert {status["CapInh"], status["CapAmb"]} == {"0000000000000000"}
    assert status["Seccomp"] == "2"
    assert len(calls) >= 29 and set(calls.values()) == {"EPERM"}, calls


# The agent, and the program that it is.


def test_the_runtimes_own_file_is_never_written_to(tmp_path, image, image_files, compiled):
    """CVE-2019-5736: the runtime is made to execute itself inside, and its file is written to from there."""
    copy = tmp_path / "estiva-copy"
    shutil.copy(BINARY, copy)
    here = Installation(tmp_path / "data", binary=copy)
    before = copy.read_bytes(), copy.stat().st_ino
    attack = compiled("overwrite.c", "-shared", "-fPIC")
    script = b"""for number in 3 4 5 6 7 8 9; do file=/proc/self/fd/$number
        [ -e $file ] && echo reached $(stat -L -c %s $file) && (echo attacked >> $file) && echo wrote $number; done; echo tried"""
    # Everything that the program needs to be executed inside.
    needed = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", copy], capture_output=True, text=True).stdout)
    libraries = [file(path[1:], path) for path in needed]
    entries = [*libraries, entry("attack.sh", script), file("attack.so", attack), entry("again", b"#!/proc/self/exe\n", mode=0o755)]
    name = image(*entries, Env=["PATH=/bin", "LD_PRELOAD=/attack.so"])
    here.estiva("image", "import", str(image_files["busybox"]))
    here.up()
    try:
        outputs = []
        for program in (["/proc/self/exe"], ["/again"], ["/proc/self/exe", "shim", "--dir", "/"]):
            outputs += written(here, container(image=name, entryPoint=program, command=["x"]))
        # From among the host's processes, while others start.
        beside = """end=$(($(date +%s) + 6)); while [ $(date +%s) -lt $end ]; do for process in /proc/[0-9]*; do
            grep -qs $MARK $process/cmdline || continue
            found=$process; (echo attacked >> $process/exe) 2>/dev/null && echo wrote $process; done; done; echo found $found"""
        mark = [{"name": "MARK", "value": str(here.data)}]
        watcher = threading.Thread(target=lambda: outputs.extend(written(here, shell(beside, environment=mark), pidMode="host")))
        watcher.start()
        short = family()
        here.register(short, [container(command=["true"])])
        for _ in range(3):
            for arn in here.run(short, count=10):
                here.wait("STOPPED", arn)
        watcher.join()
        assert not [line for line in outputs if line.startswith("wrote")], outputs
        assert re.fullmatch(r"found /proc/\d+", outputs[-1]), outputs
        assert (copy.read_bytes(), copy.stat().st_ino) == before
    finally:
        here.down()


def test_the_hosts_network_gives_nothing_of_the_agents(estiva, canary):
    """A task in the host's network and among the host's processes, as far as a task definition goes."""
    agent, server = estiva.processes("agent"), estiva.processes("server")
    sockets = list(estiva.run_dir.rglob("*.sock"))
    neighbour = running(estiva, container(command=["sleep", "1000"], stopTimeout=2))
    sockets += estiva.run_dir.rglob("*.sock")
    assert sockets, "there is what could be reached"
    pids = [*agent, *server, *estiva.processes("up"), *estiva.processes("shim")]
    paths = [str(path) for path in (*sockets, estiva.run_dir, estiva.data / "credentials.json", canary.file)]
    script = f"""
        for path in {" ".join(paths)}; do ls -d $path 2>/dev/null && echo reached $path; done
        for pid in {" ".join(map(str, pids))}; do
            for path in {" ".join(paths)}; do ls -d /proc/$pid/root$path 2>/dev/null && echo reached $pid $path; done
            for file in environ mem maps auxv; do (head -c 1 /proc/$pid/$file) 2>/dev/null | grep -q . && echo read $pid $file; done
            for link in exe cwd root fd/0 fd/3; do readlink /proc/$pid/$link && echo link $pid $link; done
            nsenter -t $pid -m true 2>/dev/null && echo entered $pid
        done
        ls /proc | grep -c '^{agent[0]}$'
        api=http://127.0.0.1:{estiva.port}
        for path in / /ws /v1/ /_estiva /api/ecs; do wget -q -O - $api$path 2>/dev/null && echo answered $path; done
        wget -q -O - --header 'X-Amz-Target: AmazonEC2ContainerServiceV20141113.RegisterContainerInstance' \\
            --header 'Content-Type: application/x-amz-json-1.1' --post-data '{{}}' $api/ 2>/dev/null && echo answered registration
        grep -a '@.*estiva' /proc/net/unix
        echo end"""
    lines = written(estiva, shell(script), networkMode="host", pidMode="host")
    # The agent is among the processes that it saw: it could have.
    assert lines == ["1", "end"]
    estiva.stop(neighbour)


def test_an_images_user_files_reach_nothing_and_keep_nobody_waiting(estiva, canary, image):
    """Who a container runs as is looked up in the image's files: links lead nowhere outside, a pipe keeps nobody waiting."""
    outside = canary.directory.parent / "passwd"
    outside.write_text("secret:x:4711:4711::/:/bin/sh\n")
    for target in (str(outside), "/proc/self/environ", "/dev/zero"):
        name = image(directory("etc"), link("etc/passwd", target), link("etc/group", target))
        task = run(estiva, shell("exit 0", image=name, user="secret"))
        assert task["stopCode"] == "TaskFailedToStart", target
        assert "secret" in task["stoppedReason"]
    for kind, more in ((b"6", {}), (b"3", {"devmajor": 1, "devminor": 5})):
        name = image(directory("etc"), entry("etc/passwd", kind=kind, mode=0o666, **more))
        assert run(estiva, shell("exit 0", image=name, user="secret"))["stopCode"] == "TaskFailedToStart"
    assert run(estiva, shell("exit 0", user="nobody"))["containers"][0]["exitCode"] == 0
    canary.assert_untouched()


NO_PROGRAMS = {
    "a link to the first process": link("program", "/proc/1/exe"),
    "a pipe": entry("program", kind=b"6", mode=0o777),
    "a directory": directory("program"),
    "a broken ELF": entry("program", b"\x7fELF" + b"\xff" * 200, mode=0o755),
}


@pytest.mark.parametrize("program", NO_PROGRAMS.values(), ids=NO_PROGRAMS)
def test_what_is_no_program_is_refused_and_harms_nobody(estiva, image, program):
    agent = estiva.processes("agent")
    task = run(estiva, container(image=image(program), command=["/program"]))
    ended = task["containers"][0].get("exitCode")
    assert task["stopCode"] == "TaskFailedToStart" or ended != 0, task
    assert estiva.processes("agent") == agent


# Containers that do not behave.


def test_a_first_process_that_never_reaps(estiva):
    script = """(i=0; while [ $i -lt 500 ]; do (sleep 0.01 &); i=$((i+1)); done) & exec sleep 1000"""
    arn = running(estiva, shell(script, stopTimeout=2))
    shim = shim_of(estiva, arn)
    zombies = lambda: [pid for pid, state in children(set(children({shim}))).items() if state == "Z"]  # noqa: E731
    left = eventually(lambda: zombies() if len(zombies()) > 450 else None)
    assert run(estiva, shell("exit 0"))["containers"][0]["exitCode"] == 0
    assert estiva.stop(arn)["containers"][0]["exitCode"] == 137
    eventually(lambda: not any(stat_of(pid) for pid in left))
    eventually(lambda: stat_of(shim) is None)


def test_a_container_that_ignores_sigterm_ends_although_the_agent_was_killed(new_installation):
    here = new_installation()
    # Its children ignore it too, and one of them is in another session.
    script = "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done"
    arn = running(here, shell(script, stopTimeout=4))
    shim = shim_of(here, arn)
    [first] = children({shim})
    here.ecs.stop_task(task=arn)
    # The signal has come when the shim knows when it will kill.
    eventually(lambda: (here.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "stop").exists())
    here.kill("agent")
    task = here.wait("STOPPED", arn)
    assert task["containers"][0]["exitCode"] == 137
    assert stat_of(first) is None
    eventually(lambda: not here.processes("shim"))


def test_nothing_of_a_container_outlives_it_among_the_hosts_processes(estiva):
    mark = f"98765.{uuid.uuid4().int % 10**9}"
    script = f"(trap '' TERM HUP; sleep {mark}) & sleep 1; exit 5"
    name = family()
    estiva.register(name, [shell(script)], pidMode="host")
    [arn] = estiva.run(name)
    eventually(lambda: processes_with(f"sleep\0{mark}"))
    assert estiva.wait("STOPPED", arn)["containers"][0]["exitCode"] == 5
    assert not processes_with(f"sleep\0{mark}")


def size_of(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_a_flood_of_output_stays_within_its_files(estiva):
    options = {"max-size": "1m", "max-file": "3"}
    definition = shell("seq 1 1000000; echo last; sleep 1000", stopTimeout=2)
    definition["logConfiguration"] = {"logDriver": "json-file", "options": options}
    name = family()
    estiva.register(name, [definition])
    [arn] = estiva.run(name)
    logs = estiva.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "logs/main"
    largest = 0

    def through():
        nonlocal largest
        largest = max(largest, size_of(logs) if logs.exists() else 0)
        newest = logs / "json.log"
        return newest.exists() and '"log":"last\\n"' in newest.read_text()[-200:]

    eventually(through)
    # What is written at once may go over a file's bound.
    assert 1 << 20 < largest <= 3 * ((1 << 20) + (128 << 10))
    assert run(estiva, shell("exit 0"))["containers"][0]["exitCode"] == 0
    estiva.stop(arn)


def test_a_flood_while_nobody_takes_it_neither_blocks_nor_fills_the_disk(new_installation):
    here = new_installation()
    definition = shell("yes a line of the flood | head -n 3000000; echo end; sleep 1; exit 6")
    options = {"awslogs-group": "/flood", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "max-buffer-size": "2m"}
    definition["logConfiguration"] = {"logDriver": "awslogs", "options": options}
    name = family()
    here.register(name, [definition])
    [arn] = here.run(name)
    here.wait("RUNNING", arn)
    task = arn.rsplit("/", 1)[-1]
    shim, [agent] = shim_of(here, arn), here.processes("agent")
    os.kill(agent, 19)
    try:
        eventually(lambda: not children({shim}))
        assert size_of(here.data / "node/tasks" / task / "logs") <= 3 << 20
    finally:
        os.kill(agent, 18)
    assert here.wait("STOPPED", arn)["containers"][0]["exitCode"] == 6
    *lines, last = here.messages("/flood", f"t/main/{task}")
    assert set(lines) <= {"a line of the flood", "end"}
    assert last.endswith("log lines were dropped: the container wrote faster than they could be shipped]")
    assert len(lines) + int(last[1:].split()[0]) == 3_000_001
