"""Tasks leave nothing behind."""

import hashlib
import subprocess
from pathlib import Path

from installation import container, eventually

TASKS = 100
AT_ONCE = 10


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def traces(here):
    """Everything of the installation that the kernel or the disk has, by kind."""
    name = hashlib.sha256(str(here.data.resolve()).encode()).hexdigest()[:12]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(here.data) in line or name in line]
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/estiva-{name}/*/") if path.is_dir()]
    run_dir = Path("/run/estiva") / name
    return {
        "shims": here.processes("shim"),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "namespaces": sorted(path.name for path in (run_dir / "network/netns").glob("*")),
        "sockets": sorted(path.name for path in (run_dir / "shim").glob("*")),
        "run": sorted(str(path.relative_to(run_dir)) for path in run_dir.rglob("*")),
        "mounts": mounts,
        "cgroups": cgroups,
        "rules": run("nft", "-s", "list", "ruleset"),
        "tasks": sorted(path.name for path in (here.data / "node/tasks").glob("*")),
        "leases": sorted(path.name for path in (here.data / "node/images/leases").glob("*")),
        "unfinished": sorted(path.name for path in (here.data / "node/images/tmp").glob("*")),
    }


def test_a_hundred_tasks_leave_nothing(new_installation):
    here = new_installation()
    here.register(
        "passing",
        [container(image="hello", memory=16, portMappings=[{"containerPort": 8080}])],
    )
    # The first task of an installation makes what all share.
    [arn] = here.run("passing")
    here.wait("RUNNING", arn)
    here.stop(arn)
    eventually(lambda: not traces(here)["tasks"])
    before = traces(here)
    for _ in range(TASKS // AT_ONCE):
        arns = here.run("passing", count=AT_ONCE)
        for arn in arns:
            here.wait("RUNNING", arn)
        for arn in arns:
            here.ecs.stop_task(task=arn)
        for arn in arns:
            here.wait("STOPPED", arn)
    eventually(lambda: not traces(here)["tasks"])
    eventually(lambda: traces(here)["interfaces"] == before["interfaces"])
    assert traces(here) == before


def test_down_stops_tasks_and_takes_the_network_away(new_installation):
    here = new_installation()
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    here.register("left", [container(command=["sleep", "1000"], stopTimeout=2)])
    arns = here.run("left", count=3)
    for arn in arns:
        here.wait("RUNNING", arn)
    assert "stopped 3 tasks" in here.down().stdout
    after = traces(here)
    assert after["shims"] == [] and after["cgroups"] == [] and after["namespaces"] == []
    assert set(after["interfaces"]) < links, "the bridge is gone too"
    assert not here.run_dir.exists(), after["run"]
    here.up()
    for arn in arns:
        task = here.wait("STOPPED", arn)
        assert task["containers"][0]["exitCode"] == 137
