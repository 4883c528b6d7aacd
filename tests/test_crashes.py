"""kill -9 of the control plane and of the agent: nothing is lost, nothing is doubled."""

import json
import os
import signal
import subprocess
import threading
import time

from installation import container, eventually, shell


def marked(script, mark):
    """A script that leaves a line of its own in its log each time that it is started."""
    definition = shell(f"echo started $(cat /proc/sys/kernel/random/uuid); {script}", stopTimeout=2)
    definition["logConfiguration"] = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": mark, "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"},
    }
    return definition


def starts(here, group, arn):
    """How often a task was started. A crash may have a line shipped twice, but not written twice."""
    lines = here.messages(group, f"t/main/{arn.rsplit('/', 1)[-1]}")
    return len({line for line in lines if line.startswith("started")})


def answers(here):
    try:
        here.ecs.list_clusters()
    except Exception:  # noqa: BLE001 - while it restarts, whatever comes is no answer
        return None
    return True


def connected(here):
    [arn] = here.ecs.list_container_instances()["containerInstanceArns"]
    [instance] = here.ecs.describe_container_instances(containerInstances=[arn])["containerInstances"]
    return instance["agentConnected"]


def test_tasks_survive_the_control_plane(new_installation):
    here = new_installation()
    here.register("steady", [marked("sleep 1000", "/crash")])
    here.register("ends", [marked("sleep 1; exit 7", "/crash")])
    [steady] = here.run("steady")
    [ends] = here.run("ends")
    before = here.wait("RUNNING", steady)
    here.wait("RUNNING", ends)
    here.kill("server")
    eventually(lambda: answers(here))
    ended = here.wait("STOPPED", ends)
    assert ended["containers"][0]["exitCode"] == 7
    after = here.wait("RUNNING", steady)
    assert after["containers"][0]["runtimeId"] == before["containers"][0]["runtimeId"]
    assert after["startedAt"] == before["startedAt"]
    eventually(lambda: connected(here))
    here.stop(steady)
    assert starts(here, "/crash", steady) == 1 and starts(here, "/crash", ends) == 1


def test_tasks_survive_the_agent(new_installation):
    here = new_installation()
    here.register("steady", [marked("sleep 1000", "/crash")])
    here.register("ends", [marked("sleep 0.5; exit 9", "/crash")])
    [steady] = here.run("steady")
    [ends] = here.run("ends")
    for arn in (steady, ends):
        here.wait("RUNNING", arn)
    shims = sorted(here.processes("shim"))
    # While the supervisor starts the agent again, the short one ends.
    here.kill("agent")
    ended = here.wait("STOPPED", ends)
    assert ended["containers"][0]["exitCode"] == 9
    assert here.wait("RUNNING", steady)["containers"][0]["lastStatus"] == "RUNNING"
    assert set(here.processes("shim")) <= set(shims), "no shim was started anew"
    eventually(lambda: connected(here))
    here.stop(steady)
    assert starts(here, "/crash", steady) == 1 and starts(here, "/crash", ends) == 1


def test_an_exit_while_everything_is_down_is_reported(new_installation):
    here = new_installation()
    here.register("ends", [marked("sleep 1; exit 11", "/crash")])
    here.register("steady", [marked("sleep 1000", "/crash")])
    [ends] = here.run("ends")
    [steady] = here.run("steady")
    for arn in (ends, steady):
        here.wait("RUNNING", arn)
    here.down("--keep-tasks")
    time.sleep(1.2)
    here.up()
    ended = here.wait("STOPPED", ends)
    assert ended["containers"][0]["exitCode"] == 11
    assert here.task(steady)["lastStatus"] == "RUNNING"
    here.stop(steady)
    assert starts(here, "/crash", steady) == 1


def test_a_start_that_is_cut_short_goes_on(new_installation):
    """Agent and server are killed again and again while tasks start; each task runs exactly once."""
    here = new_installation()
    here.register("starting", [marked("sleep 1000", "/starting")])
    arns = []
    for round_number in range(4):
        stop = threading.Event()

        def killer(part="agent" if round_number % 2 else "server"):
            stop.wait(0.01 * (1 + round_number))
            here.kill(part)

        thread = threading.Thread(target=killer)
        thread.start()
        for _ in range(3):
            try:
                arns += [task["taskArn"] for task in here.ecs.run_task(taskDefinition="starting")["tasks"]]
            except Exception:  # noqa: BLE001 - the server may be gone: then nothing was acknowledged
                pass
        thread.join()
        eventually(lambda: answers(here))
        eventually(lambda: connected(here))
    assert arns
    for arn in arns:
        here.wait("RUNNING", arn)
    listed = here.ecs.list_tasks()["taskArns"]
    for arn in listed:
        here.wait("RUNNING", arn)
    assert set(arns) <= set(listed)
    eventually(lambda: len(here.processes("shim")) == len(listed))
    for arn in listed:
        here.stop(arn)
        assert starts(here, "/starting", arn) == 1, arn
    eventually(lambda: not here.processes("shim"))


def test_a_killed_shim_ends_its_task(new_installation):
    here = new_installation()
    here.register("orphan", [container(command=["sleep", "1000"])])
    [arn] = here.run("orphan")
    here.wait("RUNNING", arn)
    here.kill("shim")
    task = here.wait("STOPPED", arn)
    assert "shim" in task["containers"][0]["reason"]


def test_a_killed_supervisor_leaves_nothing_that_hinders_the_next(new_installation):
    here = new_installation()
    here.register("steady", [container(command=["sleep", "1000"], stopTimeout=2)])
    [arn] = here.run("steady")
    here.wait("RUNNING", arn)
    here.kill("up")
    here.up()
    assert here.wait("RUNNING", arn)["taskArn"] == arn
    here.stop(arn)


def test_down_after_a_supervisor_was_killed_ends_nobody_else(new_installation):
    """Its file stays, over reboots too, and another process may have its number by then."""
    here = new_installation()
    [supervisor] = here.processes("up")
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not here.processes("up") and not here.processes("server") and not here.processes("agent"))
    file = here.data / "up.json"
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": bystander.pid}))
        here.estiva("down")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    here.up()
    assert connected(here)
