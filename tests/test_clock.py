"""The machine's clock is set forward and back: nothing is taken for dead, nothing ends early, timers go on."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from installation import BINARY, Installation, eventually, shell

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """Sets the wall clock of installations that are made after it, by an offset such as "+3600"."""
    offset = tmp_path / "offset"

    def turn(text):
        offset.with_suffix(".new").write_text(text)
        offset.with_suffix(".new").rename(offset)

    turn("+0")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return turn


def test_a_clock_that_is_set_changes_nothing(new_installation, clock):
    # The tests' own clock stays as it is: their signatures would be too old, or too new.
    here = new_installation("--accept-any-credentials")
    check = {"command": ["CMD-SHELL", "test ! -e /dev/shm/sick"], "interval": 5, "timeout": 2, "retries": 1}
    here.register("steady", [shell("trap 'exit 9' TERM; while :; do sleep 0.05; done", healthCheck=check)])
    here.register("stubborn", [shell("trap '' TERM; while :; do sleep 0.05; done", stopTimeout=3)])
    [arn] = here.run("steady")
    here.wait("RUNNING", arn)
    [shim] = here.processes("shim")
    eventually(lambda: here.task(arn)["healthStatus"] == "HEALTHY")
    begun = here.task(arn)["startedAt"]
    for offset in ("+3600", "-3600", "+0"):
        clock(offset)
        agents, servers = here.processes("agent"), here.processes("server")
        # One that starts and ends meanwhile, with a kill that is not before its time.
        [other] = here.run("stubborn")
        here.wait("RUNNING", other)
        stop = time.monotonic()
        assert here.stop(other)["containers"][0]["exitCode"] == 137
        assert time.monotonic() - stop >= 3
        task = here.task(arn)
        assert (task["lastStatus"], task["healthStatus"], task["connectivity"]) == ("RUNNING", "HEALTHY", "CONNECTED")
        assert (here.processes("agent"), here.processes("server"), here.processes("shim")) == (agents, servers, [shim])
    assert task["startedAt"] == begun
    # An agent that comes back by another clock takes its tasks back all the same.
    clock("-3600")
    here.kill("agent")
    eventually(lambda: here.processes("agent") and here.task(arn)["connectivity"] == "CONNECTED")
    assert here.stop(arn)["containers"][0]["exitCode"] == 9
    history = json.loads(here.estiva("task", "--json", arn.rsplit("/", 1)[-1]).stdout)
    # It really was another clock.
    times = [event["at"] for event in history["events"]]
    assert times != sorted(times), os.environ["LD_PRELOAD"]


def test_a_node_whose_clock_is_wrong_works_all_the_same(new_installation, tmp_path, image_files):
    """It signs by the server's clock: by its own no call would be believed."""
    here = new_installation()
    node = Installation(tmp_path / "node")
    node.estiva("image", "import", str(image_files["busybox"]))
    environment = {
        **here.node_environment(),
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": "-3600",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [BINARY, "--data", node.data, "agent", "--server", here.endpoint, "--external"]
    agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: len(here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"]) == 2)
        here.register("there", [shell("exit 8")], requiresCompatibilities=["EXTERNAL"])
        [arn] = here.run("there", launchType="EXTERNAL")
        assert here.wait("STOPPED", arn)["containers"][0]["exitCode"] == 8
    finally:
        agent.terminate()
        assert agent.wait(timeout=60) == 0
        node.down()
