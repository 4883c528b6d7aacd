"""Every setting of a container definition, looked at from inside the container."""

import json
import math
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from installation import container, eventually, logged, shell

UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers").exists()
CAPABILITIES = {"CHOWN": 0, "NET_ADMIN": 12, "NET_RAW": 13, "MKNOD": 27}
# Docker's. Where no cgroup guards devices, nobody may make them.
CAPABILITIES_DEFAULT = 0xA80425FB & ~(UNIFIED << CAPABILITIES["MKNOD"])
# What this machine lets anybody have.
CAPABILITIES_ALL = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)


def inside(estiva, family, script, /, task=None, **settings):
    """What a script wrote in a container with these settings."""
    ended, lines = logged(estiva, family, script, container=settings, **(task or {}))
    assert ended["stopCode"] == "EssentialContainerExited", ended["stoppedReason"]
    return lines


def refused(estiva, family, **settings):
    """Why a task with these settings did not start."""
    task = settings.pop("task", {})
    estiva.register(family, [shell("sleep 1000", stopTimeout=2, **settings)], **task)
    ended = estiva.run_to_end(family)
    assert ended["stopCode"] == "TaskFailedToStart", ended
    return ended["stoppedReason"]


def status(lines):
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def capabilities(estiva, family, **settings):
    fields = status(inside(estiva, family, "cat /proc/self/status", **settings))
    return {name: int(fields[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, CAPABILITIES_DEFAULT),
        ({"add": ["NET_ADMIN"], "drop": ["NET_RAW"]}, CAPABILITIES_DEFAULT ^ (1 << CAPABILITIES["NET_ADMIN"] | 1 << CAPABILITIES["NET_RAW"])),
        ({"add": ["CHOWN"], "drop": ["ALL"]}, 1 << CAPABILITIES["CHOWN"]),
        ({"add": ["ALL"]}, CAPABILITIES_ALL & ~(UNIFIED << CAPABILITIES["MKNOD"])),
    ],
    ids=["default", "one", "drop-all", "add-all"],
)
def test_capabilities(estiva, change, expected):
    seen = capabilities(estiva, "capabilities", linuxParameters={"capabilities": change})
    assert (seen["CapBnd"], seen["CapPrm"], seen["CapEff"]) == (expected, expected, expected)


def test_who_is_not_root_has_no_capability(estiva):
    seen = capabilities(estiva, "capabilities-user", user="nobody")
    assert seen == {"CapBnd": CAPABILITIES_DEFAULT, "CapPrm": 0, "CapEff": 0, "CapInh": 0, "CapAmb": 0}


def test_a_capability_that_does_not_exist(estiva):
    assert "SAIL" in refused(estiva, "capability-unknown", linuxParameters={"capabilities": {"add": ["SAIL"]}})


def test_privileged(estiva):
    # A name of the container's own, since it is of its UTS namespace.
    script = "cat /proc/self/status; ls /dev; (echo moored > /proc/sys/kernel/domainname) 2> /dev/null && echo writable"
    lines = inside(estiva, "privileged", script, privileged=True)
    assert int(status(lines)["CapEff"], 16) == CAPABILITIES_ALL
    assert status(lines)["Seccomp"] == "0"
    assert "kmsg" in lines and "writable" in lines
    lines = inside(estiva, "unprivileged", script)
    assert status(lines)["Seccomp"] == "2"
    assert "kmsg" not in lines and "writable" not in lines


def test_a_tmpfs_with_size_and_options(estiva):
    tmpfs = {"containerPath": "/scratch", "size": 8, "mountOptions": ["mode=1750", "uid=65534", "gid=65534", "exec"]}
    script = """
        stat -c '%a %u:%g' /scratch
        df -m /scratch | tail -n 1
        grep ' /scratch ' /proc/mounts
        dd if=/dev/zero of=/scratch/less bs=1M count=7 && echo fits
        dd if=/dev/zero of=/scratch/more bs=1M count=2 || echo full
    """
    lines = inside(estiva, "tmpfs", script, linuxParameters={"tmpfs": [tmpfs]})
    assert lines[0] == "1750 65534:65534"
    assert lines[1].split()[:2] == ["tmpfs", "8"]
    options = lines[2].split()[3].split(",")
    assert "nosuid" in options and "nodev" in options and "noexec" not in options
    assert "fits" in lines and "full" in lines


def test_every_option_of_a_tmpfs_that_docker_takes(estiva):
    options = ["defaults", "rw", "nosuid", "nodev", "noexec", "async", "relatime", "nodiratime"]
    tmpfs = {"containerPath": "/scratch", "size": 8, "mountOptions": options}
    [line] = inside(estiva, "tmpfs-options", "grep ' /scratch ' /proc/mounts", linuxParameters={"tmpfs": [tmpfs]})
    assert {"rw", "nosuid", "nodev", "noexec", "relatime", "nodiratime"} <= set(line.split()[3].split(","))


def test_shared_memory_size(estiva):
    script = "df -m /dev/shm | tail -n 1; stat -c %a /dev/shm"
    [default, mode] = inside(estiva, "shm-default", script)
    assert (default.split()[1], mode) == ("64", "1777")
    [larger, _] = inside(estiva, "shm", script, linuxParameters={"sharedMemorySize": 96})
    assert larger.split()[1] == "96"


MIB = 1 << 20
SWAP = "cat /sys/fs/cgroup/memory.swap.max" if UNIFIED else "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"


@pytest.mark.parametrize(("linux", "swap"), [({}, 0), ({"maxSwap": 0}, 0), ({"maxSwap": 32}, 32)], ids=["default", "none", "some"])
def test_max_swap(estiva, linux, swap):
    [seen] = inside(estiva, "swap", SWAP, linuxParameters=linux)
    assert int(seen) == (swap if UNIFIED else 64 + swap) * MIB


def test_max_swap_comes_on_top_of_an_overridden_memory(estiva):
    estiva.register("swap-override", [shell(f"[ $({SWAP}) = {(32 if UNIFIED else 128 + 32) * MIB} ]", linuxParameters={"maxSwap": 32})])
    overrides = {"containerOverrides": [{"name": "main", "memory": 128}]}
    task = estiva.run_to_end("swap-override", overrides=overrides)
    assert task["containers"][0].get("exitCode") == 0, task["stoppedReason"]


def test_swappiness(estiva):
    # Version 2 has no such control: there the task starts, and nothing is to be seen.
    script = "echo 37" if UNIFIED else "cat /sys/fs/cgroup/memory/memory.swappiness"
    assert inside(estiva, "swappiness", script, linuxParameters={"swappiness": 37, "maxSwap": 32}) == ["37"]


def test_memory_and_its_reservation(estiva):
    files = ["memory.max", "memory.low"] if UNIFIED else ["memory/memory.limit_in_bytes", "memory/memory.soft_limit_in_bytes"]
    script = "cat " + " ".join(f"/sys/fs/cgroup/{file}" for file in files)
    lines = inside(estiva, "memory", script, memory=48, memoryReservation=24)
    assert [int(line) for line in lines] == [48 * MIB, 24 * MIB]


@pytest.mark.parametrize(("cpu", "shares"), [(0, 2), (256, 256), (1024, 1024)])
def test_cpu_shares(estiva, cpu, shares):
    script = "cat /sys/fs/cgroup/cpu.weight" if UNIFIED else "cat /sys/fs/cgroup/cpu/cpu.shares"
    # The conversion of runc and crun since 2025, which leaves 1,024 shares the default weight.
    exponent = (math.log2(shares) ** 2 + 125 * math.log2(shares)) / 612 - 7 / 34
    expected = math.ceil(round(10**exponent, 6)) if UNIFIED else shares
    assert inside(estiva, "shares", script, cpu=cpu) == [str(expected)]


UNREAPED = """
    (sleep 0.1 &)
    (sleep 0.5; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l) &
    exec sleep 1
"""


def test_an_init_process_reaps(estiva):
    """The program never waits for anybody: an orphan is its own to reap unless something else is process 1."""
    assert inside(estiva, "no-init", UNREAPED) == ["1"]
    assert inside(estiva, "init", UNREAPED, linuxParameters={"initProcessEnabled": True}) == ["0"]
    assert inside(estiva, "no-init", "echo $$") == ["1"]
    [own] = inside(estiva, "init", "echo $$", linuxParameters={"initProcessEnabled": True})
    assert own != "1"


def test_an_init_process_passes_signals_and_exit_codes_on(estiva):
    init = {"linuxParameters": {"initProcessEnabled": True}}
    estiva.register("init-polite", [shell("trap 'exit 9' TERM; while :; do sleep 0.05; done", **init)])
    # Process 1 would not hear of a signal that it does not handle.
    estiva.register("init-plain", [container(command=["sleep", "1000"], **init)])
    estiva.register("init-code", [shell("exit 42", **init)])
    [polite], [plain] = estiva.run("init-polite"), estiva.run("init-plain")
    for arn in (polite, plain):
        estiva.wait("RUNNING", arn)
    assert estiva.stop(polite)["containers"][0]["exitCode"] == 9
    assert estiva.stop(plain)["containers"][0]["exitCode"] == 143
    assert estiva.run_to_end("init-code")["containers"][0]["exitCode"] == 42


def test_ulimits(estiva):
    limits = [("nofile", 1234, 2345), ("core", 0, -1), ("nproc", 300, 400), ("memlock", 1 << 20, 1 << 21), ("stack", 1 << 20, -1)]
    limits = [{"name": name, "softLimit": soft, "hardLimit": hard} for name, soft, hard in limits]
    lines = inside(estiva, "ulimits", "cat /proc/self/limits", ulimits=limits)
    seen = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert seen["Max open files"] == ["1234", "2345"]
    assert seen["Max core file size"] == ["0", "unlimited"]
    assert seen["Max processes"] == ["300", "400"]
    assert seen["Max locked memory"] == [str(1 << 20), str(1 << 21)]
    assert seen["Max stack size"] == [str(1 << 20), "unlimited"]


def test_system_controls(estiva):
    controls = {"net.core.somaxconn": "777", "net.ipv4.ip_unprivileged_port_start": "80", "kernel.shm_rmid_forced": "1"}
    here = {name: Path("/proc/sys", name.replace(".", "/")).read_text() for name in controls}
    script = "; ".join(f"cat /proc/sys/{name.replace('.', '/')}" for name in controls)
    settings = [{"namespace": name, "value": value} for name, value in controls.items()]
    assert inside(estiva, "sysctl", script, systemControls=settings) == list(controls.values())
    assert {name: Path("/proc/sys", name.replace(".", "/")).read_text() for name in controls} == here


@pytest.mark.parametrize(
    ("name", "task"),
    [("vm.stat_interval", {}), ("kernel.printk_ratelimit", {}), ("net.core.somaxconn", {"networkMode": "host"}), ("kernel.shm_rmid_forced", {"ipcMode": "host"})],
)
def test_a_system_control_of_the_host_is_refused(estiva, name, task):
    # The value that it has, lest a task that starts after all changes this machine.
    value = Path("/proc/sys", name.replace(".", "/")).read_text().strip()
    assert name in refused(estiva, "sysctl-host", systemControls=[{"namespace": name, "value": value}], task=task)


def test_a_root_file_system_that_is_only_read(estiva):
    script = """
        grep ' / ' /proc/mounts
        for file in /new /bin/new /etc/new /etc/hosts /etc/hostname /etc/resolv.conf /scratch/new /dev/shm/new; do
            (echo moored >> $file) 2> /dev/null && echo $file
        done
    """
    linux = {"tmpfs": [{"containerPath": "/scratch", "size": 8}]}
    root, *written = inside(estiva, "readonly", script, readonlyRootFilesystem=True, linuxParameters=linux)
    assert "ro" in root.split()[3].split(",")
    assert written == ["/scratch/new", "/dev/shm/new"]


@pytest.mark.parametrize(
    ("user", "ids", "groups", "home"),
    [
        ("skipper", "1500:1600", "1600 1700", "/home/skipper"),
        ("1500", "1500:1600", "1600 1700", "/home/skipper"),
        ("skipper:cooks", "1500:1800", "1800", "/home/skipper"),
        ("skipper:1900", "1500:1900", "1900", "/home/skipper"),
        ("2000:2001", "2000:2001", "2001", "/"),
        ("2000", "2000:0", "0", "/"),
        (":pilots", "0:1700", "1700", "/"),
    ],
)
def test_users_and_groups(estiva, furnished, user, ids, groups, home):
    script = "cat /proc/self/status; echo home $HOME"
    lines = inside(estiva, "user", script, image=furnished, entryPoint=["env"], user=user)
    uid, gid = ids.split(":")
    assert status(lines)["Uid"] == "\t".join([uid] * 4) and status(lines)["Gid"] == "\t".join([gid] * 4)
    assert status(lines)["Groups"].split() == groups.split()
    assert lines[-1] == f"home {home}"


def test_a_user_or_a_group_that_the_image_has_not(estiva):
    assert "find user stranger" in refused(estiva, "user-unknown", user="stranger")
    assert "find group strangers" in refused(estiva, "group-unknown", user="nobody:strangers")


def test_names_of_the_container_and_of_others(estiva):
    settings = {
        "hostname": "lighthouse",
        "extraHosts": [{"hostname": "buoy", "ipAddress": "192.0.2.7"}, {"hostname": "reef", "ipAddress": "2001:db8::7"}],
        "dnsServers": ["192.0.2.53", "192.0.2.54"],
        "dnsSearchDomains": ["a.example", "b.example"],
    }
    script = "hostname; echo $HOSTNAME; cat /etc/hostname; grep lighthouse /etc/hosts | wc -l; grep -E 'buoy|reef' /etc/hosts; cat /etc/resolv.conf"
    lines = inside(estiva, "names", script, **settings)
    assert lines[:4] == ["lighthouse", "lighthouse", "lighthouse", "1"]
    assert lines[4:6] == ["192.0.2.7\tbuoy", "2001:db8::7\treef"]
    assert lines[6:] == ["nameserver 192.0.2.53", "nameserver 192.0.2.54", "search a.example b.example"]


def test_labels_are_in_the_metadata(estiva):
    lines = inside(estiva, "labels", "wget -q -O - $ECS_CONTAINER_METADATA_URI_V4", dockerLabels={"deck": "lower", "com.example.crew": "7"})
    labels = json.loads(lines[0])["Labels"]
    assert (labels["deck"], labels["com.example.crew"]) == ("lower", "7")
    assert labels["com.amazonaws.ecs.container-name"] == "main" and labels["com.amazonaws.ecs.task-definition-family"] == "labels"


def test_standard_input_stays_open_if_asked(estiva):
    script = "timeout 1 cat 2> /dev/null; echo $?"
    assert inside(estiva, "closed", script) == ["0"]
    assert inside(estiva, "interactive", script, interactive=True) == ["143"]


def test_a_terminal_if_asked(estiva):
    script = "for fd in 0 1 2; do test -t $fd && echo $fd; done; tty; echo term $TERM"
    lines = [line.rstrip("\r") for line in inside(estiva, "terminal", script, pseudoTerminal=True, interactive=True)]
    assert lines[:3] == ["0", "1", "2"] and lines[3].startswith("/dev/") and lines[4] == "term xterm"
    assert inside(estiva, "no-terminal", script) == ["not a tty", "term"]


def test_networking_can_be_disabled(estiva):
    assert sorted(inside(estiva, "network", "ls /sys/class/net")) == ["eth0", "lo"]
    assert inside(estiva, "no-network", "ls /sys/class/net", disableNetworking=True) == ["lo"]


def test_entry_point_command_and_working_directory(estiva, furnished):
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/entry", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}}
    cases = {
        "image": ({}, "from the image: nothing"),
        "command": ({"command": ["anchor", "chain"]}, "from the image: anchor chain"),
        # An entry point takes the place of the image's command too.
        "entry": ({"entryPoint": ["echo", "mine:"]}, "mine:"),
        "both": ({"entryPoint": ["echo", "mine:"], "command": ["anchor"]}, "mine: anchor"),
        "directory": ({"entryPoint": ["pwd"], "workingDirectory": "/made/for/this"}, "/made/for/this"),
        "root": ({"entryPoint": ["pwd"]}, "/"),
    }
    definitions = [container(name, furnished, logConfiguration=log, memory=16, **settings) for name, (settings, _) in cases.items()]
    for definition in definitions[1:]:
        definition["essential"] = False
    definitions[0]["dependsOn"] = [{"containerName": name, "condition": "COMPLETE"} for name in list(cases)[1:]]
    estiva.register("entry", definitions)
    task = estiva.run_to_end("entry")["taskArn"].rsplit("/", 1)[-1]
    seen = {name: estiva.messages("/entry", f"t/{name}/{task}") for name in cases}
    assert seen == {name: [line] for name, (_, line) in cases.items()}


def test_credential_specs_are_refused_by_name(estiva):
    estiva.register("credential-specs", [shell("true", credentialSpecs=["credentialspec:arn:aws:s3:::bucket/spec.json"])])
    with pytest.raises(ClientError, match="credentialSpecs"):
        estiva.ecs.run_task(taskDefinition="credential-specs")
