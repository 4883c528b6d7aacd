"""Volumes: what containers find in them, who shares them, and what of them outlives a task."""

import subprocess
from pathlib import Path

import pytest
from installation import Installation, container, eventually, logged, shell


def mount(volume, path, **more):
    return {"sourceVolume": volume, "containerPath": path, **more}


def host(name, path):
    return {"name": name, "host": {"sourcePath": str(path)}}


def docker(name, **configuration):
    return {"name": name, "dockerVolumeConfiguration": configuration}


def inside(estiva, family, script, mounts=(), volumes=(), **settings):
    """What a script wrote in a container with these mounts."""
    ended, lines = logged(estiva, family, script, container={"mountPoints": list(mounts), **settings}, volumes=list(volumes))
    assert ended["stopCode"] == "EssentialContainerExited", ended["stoppedReason"]
    return lines


def codes(task):
    return {it["name"]: it.get("exitCode") for it in task["containers"]}


def own_directory(estiva, arn):
    return estiva.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "volumes"


def test_a_directory_of_the_host(estiva, tmp_path):
    (tmp_path / "old").write_text("aboard\n")
    script = "cat /data/old; echo moored > /data/new; (echo lost > /read/other) 2> /dev/null || echo refused; cat /read/old"
    mounts = [mount("here", "/data"), mount("here", "/read", readOnly=True)]
    assert inside(estiva, "bind", script, mounts, [host("here", tmp_path)]) == ["aboard", "refused", "aboard"]
    assert (tmp_path / "new").read_text() == "moored\n" and not (tmp_path / "other").exists()


def test_what_the_host_has_mounted_below_is_only_read_too(estiva, tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", below], check=True)
    try:
        script = "grep ' /data/below ' /proc/mounts | wc -l; (echo lost > /data/below/file) 2> /dev/null || echo refused"
        lines = inside(estiva, "bind-deep", script, [mount("here", "/data", readOnly=True)], [host("here", tmp_path)])
        assert lines == ["1", "refused"] and not any(below.iterdir())
    finally:
        subprocess.run(["umount", below], check=True)


def test_a_directory_of_the_host_that_is_missing_is_made(estiva, tmp_path):
    missing = tmp_path / "a/b"
    assert inside(estiva, "bind-missing", "echo moored > /data/file; ls /data", [mount("here", "/data")], [host("here", missing)]) == ["file"]
    assert (missing / "file").read_text() == "moored\n"


def test_a_file_of_the_host_takes_the_place_of_the_nodes(estiva, tmp_path):
    (tmp_path / "hosts").write_text("192.0.2.1\tmine\n")
    (tmp_path / "other").write_text("moored\n")
    mounts = [mount("other", "/srv/file"), mount("hosts", "/etc/hosts", readOnly=True)]
    volumes = [host("hosts", tmp_path / "hosts"), host("other", tmp_path / "other")]
    assert inside(estiva, "bind-file", "cat /srv/file /etc/hosts", mounts, volumes) == ["moored", "192.0.2.1\tmine"]


@pytest.mark.parametrize("volume", [{"name": "shared"}, docker("shared", scope="task", driver="local")], ids=["host", "docker"])
def test_containers_of_a_task_share_a_volume_that_ends_with_it(estiva, volume):
    points = [mount("shared", "/data")]
    over = [{"containerName": "writer", "condition": "SUCCESS"}]
    writer = shell("echo moored > /data/file", name="writer", essential=False, mountPoints=points)
    reader = shell("read line < /data/file; [ $line = moored ] && sleep 1000", dependsOn=over, mountPoints=points, stopTimeout=2)
    estiva.register("task-volume", [reader, writer], volumes=[volume])
    arns = estiva.run("task-volume", count=2)
    for arn in arns:
        estiva.wait("RUNNING", arn)
        assert (own_directory(estiva, arn) / "shared/file").read_text() == "moored\n"
    for arn in arns:
        estiva.stop(arn)
        eventually(lambda arn=arn: not own_directory(estiva, arn).exists())


def test_a_shared_volume_outlives_its_task(estiva):
    volume = docker("logbook", scope="shared", autoprovision=True)
    script = "echo $HOSTNAME >> /data/book; cat /data/book | wc -l"
    assert inside(estiva, "shared-volume", script, [mount("logbook", "/data")], [volume]) == ["1"]
    assert inside(estiva, "shared-volume", script, [mount("logbook", "/data")], [volume]) == ["2"]
    assert len((estiva.data / "node/volumes/logbook/book").read_text().splitlines()) == 2
    # Once it is there, nobody needs to provide it.
    found = docker("logbook", scope="shared")
    assert inside(estiva, "found-volume", script, [mount("logbook", "/data")], [found]) == ["3"]


def test_a_shared_volume_that_is_not_there_is_refused_without_autoprovision(estiva):
    estiva.register("missing", [shell("true", mountPoints=[mount("nowhere", "/data")])], volumes=[docker("nowhere", scope="shared")])
    task = estiva.run_to_end("missing")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "nowhere" in task["stoppedReason"] and "autoprovision" in task["stoppedReason"]
    assert not (estiva.data / "node/volumes/nowhere").exists()


def test_another_driver_is_refused(estiva):
    volume = docker("far", scope="task", driver="rexray")
    estiva.register("driver", [shell("true", mountPoints=[mount("far", "/data")])], volumes=[volume])
    answer = estiva.ecs.run_task(taskDefinition="driver")
    assert not answer["tasks"]
    [failure] = answer["failures"]
    assert failure["reason"] == "ATTRIBUTE"


def test_an_option_that_the_driver_has_not_is_refused(estiva):
    volume = docker("strange", scope="task", driverOpts={"colour": "blue"})
    estiva.register("driver-option", [shell("true", mountPoints=[mount("strange", "/data")])], volumes=[volume])
    task = estiva.run_to_end("driver-option")
    assert task["stopCode"] == "TaskFailedToStart" and "colour" in task["stoppedReason"]


def mounted_below(directory):
    mounts = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in mounts if place.startswith(f"{directory}/")]


def unmount_below(directory):
    for place in mounted_below(directory):
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def here(new_installation):
    """An installation of which no mount, should one be left, stays in the way of the tests' directories."""
    made = new_installation()
    yield made
    made.down()
    unmount_below(made.data)


FILL = """
    stat -c '%a %u' /data
    df -m /data | tail -n 1
    dd if=/dev/zero of=/data/less bs=1M count=7 2> /dev/null && echo fits
    dd if=/dev/zero of=/data/more bs=1M count=2 2> /dev/null || echo full
"""
SCOPES = pytest.mark.parametrize("scope", [{"scope": "task"}, {"scope": "shared", "autoprovision": True}], ids=["task", "shared"])


@SCOPES
def test_a_volume_in_memory_has_its_size(here, scope):
    volume = docker("memory", **scope, driver="local", driverOpts={"type": "tmpfs", "device": "tmpfs", "o": "size=8m,mode=1750,uid=65534,noexec"})
    lines = inside(here, "volume-memory", FILL, [mount("memory", "/data")], [volume])
    assert lines[0] == "1750 65534"
    assert lines[1].split()[:2] == ["tmpfs", "8"]
    assert lines[2:] == ["fits", "full"]


@SCOPES
def test_a_volume_on_a_device_writes_there(here, scope, tmp_path):
    device = tmp_path / "device"
    device.mkdir()
    volume = docker("device", **scope, driver="local", driverOpts={"type": "none", "device": str(device), "o": "bind"})
    for number in ("1", "2"):
        lines = inside(here, "volume-device", f"echo moored > /data/{number}; ls /data", [mount("device", "/data")], [volume])
        assert lines[-1] == number
    # Taking the volume away takes nothing away of what the device has.
    here.down()
    assert sorted(path.name for path in device.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("name", ["the node's data", "link/data"])
def test_the_end_of_a_volume_leaves_its_device_alone_whatever_the_directory_is_called(tmp_path, image_files, name):
    """The kernel lists mounts without symbolic links, and with some characters of their paths escaped."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    here, heirloom = Installation(tmp_path / name), tmp_path / "device/heirloom"
    heirloom.parent.mkdir()
    heirloom.write_text("old\n")
    here.estiva("image", "import", str(image_files["busybox"]))
    here.up()
    try:
        options = {"type": "none", "device": str(heirloom.parent), "o": "bind"}
        volumes = [docker("device", scope="task", driver="local", driverOpts=options)]
        here.register("spaces", [shell("sleep 1000", mountPoints=[mount("device", "/data")], stopTimeout=2)], volumes=volumes)
        [arn] = here.run("spaces")
        here.wait("RUNNING", arn)
        here.ecs.stop_task(task=arn)
        eventually(lambda: not own_directory(here, arn).exists() or not heirloom.exists())
        assert heirloom.exists(), "what the host has was deleted with the volume"
    finally:
        unmount_below(here.data.resolve())
        here.down()


@SCOPES
def test_a_volume_is_not_left_mounted(here, scope):
    volume = docker("memory", **scope, driver="local", driverOpts={"type": "tmpfs", "device": "tmpfs"})
    inside(here, "volume-left", "true", [mount("memory", "/data")], [volume])
    here.down()
    assert mounted_below(here.data) == []


def test_a_size_that_cannot_be_kept_is_refused(estiva):
    """The driver has an option of this name; what is written beyond it must not be taken in silence."""
    volume = docker("sized", scope="task", driver="local", driverOpts={"size": "8m"})
    script = "dd if=/dev/zero of=/data/more bs=1M count=16"
    estiva.register("volume-size", [shell(script, mountPoints=[mount("sized", "/data")])], volumes=[volume])
    task = estiva.run_to_end("volume-size")
    assert codes(task) != {"main": 0}, "16 MiB fit into 8"


@pytest.mark.parametrize(("read_only", "seen"), [(False, "written"), (True, "refused")])
def test_volumes_from_another_container(estiva, read_only, seen):
    volumes = [{"name": "one"}, {"name": "two"}]
    source = shell(
        "echo first > /one/file; echo second > /two/file",
        name="source",
        essential=False,
        mountPoints=[mount("one", "/one"), mount("two", "/two")],
    )
    settings = {
        "volumesFrom": [{"sourceContainer": "source", "readOnly": read_only}],
        "dependsOn": [{"containerName": "source", "condition": "SUCCESS"}],
    }
    script = "cat /one/file /two/file; (echo third > /one/new) 2> /dev/null && echo written || echo refused; exit 0"
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/from", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}}
    estiva.register("volumes-from", [shell(script, logConfiguration=log, **settings), source], volumes=volumes)
    task = estiva.run_to_end("volumes-from")
    assert codes(task) == {"main": 0, "source": 0}
    lines = estiva.messages("/from", f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}")
    assert lines == ["first", "second", seen]


CARGO = "stat -c '%a %u:%g %n' /srv/cargo /srv/cargo/manifest /srv/cargo/hold /srv/cargo/hold/barrel; cat /srv/cargo/manifest"
CARGO_OF_THE_IMAGE = [
    "2750 1500:1600 /srv/cargo",
    "640 1500:1700 /srv/cargo/manifest",
    "1777 0:1600 /srv/cargo/hold",
    "4755 0:0 /srv/cargo/hold/barrel",
    "40 barrels",
]


@pytest.mark.parametrize("mounts", [[], [mount("mine", "/srv/cargo")]], ids=["declared", "mounted"])
def test_an_empty_volume_gets_what_the_image_has(estiva, furnished, mounts):
    script = CARGO + "; grep ' /srv/cargo ' /proc/mounts | wc -l"
    volumes = [{"name": "mine"}] if mounts else []
    lines = inside(estiva, "image-volume", script, mounts, volumes, image=furnished, entryPoint=["env"])
    assert lines == [*CARGO_OF_THE_IMAGE, "1"]


def test_volumes_from_has_the_volumes_of_an_image(estiva, furnished):
    over = [{"containerName": "source", "condition": "SUCCESS"}]
    source = container("source", furnished, entryPoint=["sh", "-c", "echo changed > /srv/cargo/manifest"], essential=False)
    reader = shell("read line < /srv/cargo/manifest; [ $line = changed ]", volumesFrom=[{"sourceContainer": "source"}], dependsOn=over)
    estiva.register("from-image", [reader, source])
    assert codes(estiva.run_to_end("from-image")) == {"main": 0, "source": 0}


def test_a_volume_that_is_not_empty_stays_as_it_is(estiva, furnished):
    volume = docker("stowed", scope="shared", autoprovision=True)
    settings = {"image": furnished, "entryPoint": ["env"]}
    mounts = [mount("stowed", "/srv/cargo")]
    assert inside(estiva, "stow", CARGO + "; rm -r /srv/cargo/hold; echo 39 barrels > /srv/cargo/manifest", mounts, [volume], **settings) == CARGO_OF_THE_IMAGE
    assert inside(estiva, "stowed", "ls /srv/cargo; cat /srv/cargo/manifest", mounts, [volume], **settings) == ["manifest", "39 barrels"]


def test_a_directory_of_the_host_gets_nothing_of_the_image(estiva, furnished, tmp_path):
    lines = inside(estiva, "bind-image", "ls /srv/cargo | wc -l", [mount("here", "/srv/cargo")], [host("here", tmp_path)], image=furnished, entryPoint=["env"])
    assert lines == ["0"] and not any(tmp_path.iterdir())


def test_mounts_below_mounts(estiva, tmp_path):
    """In whatever order they are given, what is deeper is on top."""
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    volumes = [host("outer", tmp_path / "outer"), host("inner", tmp_path / "inner"), {"name": "deepest"}]
    mounts = [mount("deepest", "/data/a/b"), mount("inner", "/data/a"), mount("outer", "/data")]
    lines = inside(estiva, "nested", "ls /data; ls /data/a; ls /data/a/b; grep ' /data' /proc/mounts | wc -l", mounts, volumes)
    assert lines == ["a", "outer", "b", "inner", "3"]


def test_a_tmpfs_below_a_volume(estiva):
    linux = {"tmpfs": [{"containerPath": "/data/cache", "size": 8}]}
    script = "df -m /data/cache | tail -n 1; echo moored > /data/cache/file; ls /data"
    line, *rest = inside(estiva, "tmpfs-below", script, [mount("outer", "/data")], [{"name": "outer"}], linuxParameters=linux)
    assert line.split()[:2] == ["tmpfs", "8"] and rest == ["cache"]


def test_a_volume_is_there_after_the_agent_was_killed(here):
    points = [mount("own", "/own"), mount("ours", "/ours")]
    script = "echo moored > /own/file; echo moored > /ours/file; until [ -e /own/end ]; do sleep 0.05; done; exec cat /own/end /ours/end"
    volumes = [{"name": "own"}, docker("ours", scope="shared", autoprovision=True)]
    here.register("steady", [shell(script, mountPoints=points)], volumes=volumes)
    [arn] = here.run("steady")
    here.wait("RUNNING", arn)
    own, ours = own_directory(here, arn) / "own", here.data / "node/volumes/ours"
    eventually(lambda: (ours / "file").exists())
    here.kill("agent")
    assert (own / "file").read_text() == (ours / "file").read_text() == "moored\n"
    eventually(lambda: here.processes("agent"))
    assert (own / "file").read_text() == (ours / "file").read_text() == "moored\n"
    # The container has them still: it sees what is written now.
    (ours / "end").write_text("")
    (own / "end").write_text("")
    assert codes(here.wait("STOPPED", arn)) == {"main": 0}
    eventually(lambda: not own.exists())
    assert (ours / "file").read_text() == "moored\n"
