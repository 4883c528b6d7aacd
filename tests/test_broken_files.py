"""What is broken, copied or hangs of an installation keeps nothing running, and ends nothing that is another's."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from installation import Installation, eventually, shell


def run(here, family="steady", **more):
    here.register(family, [shell("exec sleep 100000", stopTimeout=2, **more)])
    [arn] = here.run(family)
    here.wait("RUNNING", arn)
    return arn.rsplit("/", 1)[-1]


def nothing_is_left(here):
    groups = [*Path("/sys/fs/cgroup").glob(f"estiva-{here.name}"), *Path("/sys/fs/cgroup").glob(f"*/estiva-{here.name}")]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(here.data) in line or here.name in line]
    assert not groups and not mounts and not here.run_dir.exists()
    assert not [pid for command in ("up", "server", "agent", "shim") for pid in here.processes(command)]


def test_a_copy_does_not_touch_the_original(new_installation, tmp_path):
    here = new_installation()
    task = run(here)
    [shim] = here.processes("shim")
    copy = Installation(tmp_path / "copy")
    subprocess.run(["cp", "-a", here.data, copy.data], check=True)
    copy.up()
    copy.down()
    copy.down()
    nothing_is_left(copy)
    assert here.processes("shim") == [shim] and here.processes("up") and here.run_dir.exists()
    here.kill("agent")
    [arn] = [arn for arn in here.running_tasks() if arn.endswith(task)]
    assert here.task(arn)["lastStatus"] == "RUNNING"
    here.stop(arn)


def empty(file):
    file.write_text("")


def garbage(file):
    file.write_bytes(b"\xff{]")


BROKEN = {
    "task.json empty": lambda here, task: empty(here.data / f"node/tasks/{task}/task.json"),
    "shim.json empty": lambda here, task: empty(here.data / f"node/tasks/{task}/shim.json"),
    "both absent": lambda here, task: [(here.data / f"node/tasks/{task}" / name).unlink() for name in ("task.json", "shim.json")],
    "record.json broken": lambda here, task: garbage(here.data / f"node/tasks/{task}/record.json"),
    "tasks gone": lambda here, task: shutil.rmtree(here.data / "node/tasks"),
    "network.json broken": lambda here, task: garbage(here.data / "node/network/network.json"),
    "up.json broken": lambda here, task: garbage(here.data / "up.json"),
}


def test_down_ends_everything_whatever_the_files_say(new_installation):
    here = new_installation()
    for what, damage in BROKEN.items():
        here.up() if not here.processes("up") else None
        damage(here, run(here))
        here.down()
        nothing_is_left(here)


@pytest.mark.parametrize("what", ["network.json broken", "shim.json empty", "task.json empty"])
def test_up_goes_on_with_what_it_can_repair(new_installation, what):
    here = new_installation()
    task = run(here)
    here.down("--keep-tasks")
    BROKEN[what](here, task)
    here.up()
    [arn] = [arn for arn in here.running_tasks() if arn.endswith(task)]
    assert here.task(arn)["lastStatus"] == "RUNNING"
    here.stop(arn)


def test_down_ends_parts_that_hang(new_installation):
    here = new_installation()
    run(here)
    for part in ("server", "agent"):
        [pid] = here.processes(part)
        os.kill(pid, signal.SIGSTOP)
    done = here.down()
    assert "did not end within" in done.stderr
    nothing_is_left(here)


def test_a_node_keeps_its_registration(new_installation):
    here = new_installation()
    task = run(here)
    [instance] = here.ecs.list_container_instances()["containerInstanceArns"]
    file = here.data / "node/container-instance-arn"
    for damage in (empty, garbage):
        here.down("--keep-tasks")
        damage(file)
        here.up()
        assert here.ecs.list_container_instances()["containerInstanceArns"] == [instance]
        assert file.read_text().strip() == instance
        [arn] = [arn for arn in here.running_tasks() if arn.endswith(task)]
        assert here.task(arn)["lastStatus"] == "RUNNING" and len(here.processes("shim")) == 1


def test_a_registration_that_is_lost_is_told_not_guessed(new_installation):
    here = new_installation()
    run(here)
    here.down("--keep-tasks")
    file = here.data / "node/container-instance-arn"
    instance = file.read_text()
    file.write_text("")
    (here.data / "node/container-instance-arn.copy").unlink()
    refused = here.estiva("up", "--detach", check=False)
    assert refused.returncode != 0 and len(here.processes("shim")) == 1
    assert "container-instance-arn" in here.log()
    file.write_text(instance)
    here.up()


def test_a_broken_record_of_an_image_counts_as_absent(new_installation, image_files):
    here = new_installation()
    for records in ("names", "images"):
        for file in (here.data / "node/images" / records).glob("*.json"):
            garbage(file)
        here.estiva("image", "import", str(image_files["busybox"]))
        run(here, f"after-{records}")


def test_up_right_after_up_was_killed(new_installation):
    here = new_installation()
    task = run(here)
    here.kill("up")
    here.up()
    eventually(lambda: any(arn.endswith(task) for arn in here.running_tasks()))
    assert json.loads((here.data / "up.json").read_text())["pid"] in here.processes("up")
