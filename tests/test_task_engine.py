"""The order of a task's containers, their health, and their restarts."""

import os
import signal
import time

from installation import container, eventually, shell


def exit_codes(task):
    return {it["name"]: it.get("exitCode") for it in task["containers"]}


def depends(*pairs):
    return [{"containerName": name, "condition": condition} for name, condition in pairs]


HEALTHY_AFTER_FILE = {"command": ["CMD-SHELL", "test -e /tmp/ready"], "interval": 5, "timeout": 2, "retries": 1}


def test_an_init_container_comes_first(estiva):
    volume = {"name": "shared", "host": {}}
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    first = shell("sleep 0.5; echo made > /shared/file", name="first", essential=False, mountPoints=mount)
    main = shell("cat /shared/file && exit 4", mountPoints=mount, dependsOn=depends(("first", "SUCCESS")))
    estiva.register("init", [main, first], volumes=[volume])
    assert exit_codes(estiva.run_to_end("init")) == {"main": 4, "first": 0}


def test_a_condition_that_never_comes_ends_the_task(estiva):
    first = shell("exit 3", name="first", essential=False)
    main = shell("sleep 1000", dependsOn=depends(("first", "SUCCESS")))
    estiva.register("vain", [main, first])
    task = estiva.run_to_end("vain")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "main waits for SUCCESS of container first" in task["stoppedReason"]
    assert exit_codes(task) == {"main": None, "first": 3}


def test_complete_is_content_with_any_exit(estiva):
    first = shell("exit 3", name="first", essential=False)
    estiva.register("complete", [shell("exit 0", dependsOn=depends(("first", "COMPLETE"))), first])
    assert exit_codes(estiva.run_to_end("complete")) == {"main": 0, "first": 3}


def test_a_start_timeout_ends_the_wait(estiva):
    first = shell("sleep 1000", name="first", essential=False, startTimeout=2, stopTimeout=2)
    estiva.register("late", [shell("exit 0", dependsOn=depends(("first", "COMPLETE"))), first])
    task = estiva.run_to_end("late")
    assert "startTimeout" in task["stoppedReason"]
    assert exit_codes(task) == {"main": None, "first": 137}


def test_containers_stop_in_reverse(estiva):
    volume = {"name": "shared", "host": {}}
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    script = "trap 'sleep 0.3; echo {0} >> /shared/order; exit 0' TERM; touch /shared/{0}; while :; do sleep 0.05; done"
    database = shell(script.format("database"), name="database", mountPoints=mount)
    web = shell(script.format("web"), name="web", mountPoints=mount, dependsOn=depends(("database", "START")))
    proxy = shell(script.format("proxy"), name="proxy", mountPoints=mount, dependsOn=depends(("web", "START")))
    # The last to end, since everything depends on it, is who can look.
    look = shell(
        "trap 'cat /shared/order; [ \"$(cat /shared/order | head -n 3)\" = \"proxy\nweb\ndatabase\" ] && exit 21; exit 22' TERM; while :; do sleep 0.05; done",
        name="look",
        mountPoints=mount,
    )
    database["dependsOn"] = depends(("look", "START"))
    estiva.register("reverse", [proxy, web, database, look], volumes=[volume])
    [arn] = estiva.run("reverse")
    estiva.wait("RUNNING", arn)
    time.sleep(0.5)
    assert exit_codes(estiva.stop(arn)) == {"proxy": 0, "web": 0, "database": 0, "look": 21}


def test_health_is_seen_and_waited_for(estiva):
    sick = shell("sleep 1; touch /tmp/ready; sleep 3; rm /tmp/ready; sleep 1000", name="sick", stopTimeout=2, healthCheck=HEALTHY_AFTER_FILE)
    after = shell("sleep 1000", name="after", stopTimeout=2, dependsOn=depends(("sick", "HEALTHY")))
    estiva.register("health", [after, sick])
    [arn] = estiva.run("health")
    seen = eventually(lambda: estiva.task(arn)["containers"][1]["lastStatus"] == "RUNNING" and estiva.task(arn))
    assert (seen["lastStatus"], seen["healthStatus"], seen["containers"][0]["lastStatus"]) == ("PENDING", "UNKNOWN", "PENDING")
    estiva.wait("RUNNING", arn)
    # Only containers with a health check count.
    assert eventually(lambda: estiva.task(arn)["healthStatus"] == "HEALTHY")
    assert eventually(lambda: estiva.task(arn)["healthStatus"] == "UNHEALTHY")
    assert [it["healthStatus"] for it in estiva.task(arn)["containers"]] == ["UNKNOWN", "UNHEALTHY"]
    # ECS leaves a task of its own alone, healthy or not.
    assert estiva.task(arn)["lastStatus"] == "RUNNING"
    estiva.stop(arn)


def test_health_goes_on_after_the_agent_was_killed(new_installation):
    here = new_installation()
    here.register("checked", [shell("touch /tmp/ready; sleep 1000", stopTimeout=2, healthCheck=HEALTHY_AFTER_FILE)])
    [arn] = here.run("checked")
    eventually(lambda: here.task(arn)["healthStatus"] == "HEALTHY")
    here.kill("agent")
    eventually(lambda: here.processes("agent"))
    assert here.task(arn)["healthStatus"] == "HEALTHY"
    pid = eventually(lambda: here.task(arn)["connectivity"] == "CONNECTED")
    assert pid
    here.stop(arn)


def test_an_agent_that_is_told_to_end_leaves_its_tasks(new_installation):
    here = new_installation()
    here.register("stays", [shell("trap 'exit 9' TERM; while :; do sleep 0.05; done")])
    [arn] = here.run("stays")
    here.wait("RUNNING", arn)
    [agent], shims = here.processes("agent"), here.processes("shim")
    os.kill(agent, signal.SIGTERM)
    [successor] = eventually(lambda: [pid for pid in here.processes("agent") if pid != agent] or None)
    assert here.processes("shim") == shims and successor != agent
    eventually(lambda: here.task(arn)["connectivity"] == "CONNECTED")
    assert here.task(arn)["lastStatus"] == "RUNNING"
    assert here.stop(arn)["containers"][0]["exitCode"] == 9


def test_a_check_that_hangs_is_a_failure(estiva):
    check = {"command": ["CMD-SHELL", "sleep 1000"], "interval": 5, "timeout": 2, "retries": 1}
    estiva.register("hangs", [shell("sleep 1000", stopTimeout=2, healthCheck=check)])
    [arn] = estiva.run("hangs")
    assert eventually(lambda: estiva.task(arn)["healthStatus"] == "UNHEALTHY")
    estiva.stop(arn)


def test_a_check_that_talks_is_no_failure(estiva):
    check = {"command": ["CMD", "seq", "1", "100000"], "interval": 5}
    estiva.register("talks", [shell("sleep 1000", stopTimeout=2, healthCheck=check)])
    [arn] = estiva.run("talks")
    assert eventually(lambda: estiva.task(arn)["healthStatus"] == "HEALTHY")
    estiva.stop(arn)


def test_a_container_is_restarted_once_it_has_run_for_long_enough(estiva):
    policy = {"enabled": True, "restartAttemptPeriod": 60, "ignoredExitCodes": [9]}
    late = shell("echo run >> /tmp/runs; [ $(cat /tmp/runs | tail -n +2) ] && exit 5; sleep 61; exit 3", name="late", essential=True, restartPolicy=policy)
    soon = shell("exit 3", name="soon", essential=False, restartPolicy=policy)
    estiva.register("restart", [late, soon])
    [arn] = estiva.run("restart")
    first = eventually(lambda: estiva.task(arn)["containers"][1].get("exitCode"))
    assert first == 3
    # Restarted once with its files; the second time it had not run for a minute.
    task = estiva.wait("STOPPED", arn, timeout=90)
    assert exit_codes(task) == {"late": 5, "soon": 3}


def test_links(estiva):
    server = container(name="server", image="hello", portMappings=[{"containerPort": 8080}])
    client = shell("wget -q -O - http://$BACKEND_PORT_8080_TCP_ADDR:$BACKEND_PORT_8080_TCP_PORT/ && wget -q -O - http://backend:8080/", name="client", links=["server:backend"])
    estiva.register("links", [client, server], networkMode="bridge")
    assert exit_codes(estiva.run_to_end("links"))["client"] == 0
