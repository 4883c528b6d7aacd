"""The control plane under load, killed and restarted: nothing acknowledged is lost, nothing is made twice or sold twice."""

import concurrent.futures
import itertools
import threading

import botocore.exceptions
import pytest
from installation import container, eventually, free_port, shell


def answers(here):
    try:
        return here.ecs.list_clusters() is not None
    except Exception:  # noqa: BLE001 - it is down
        return False


def killed_again_and_again(here, times, work):
    """Runs `work(stop)` in four threads while the server is killed; what the threads give, together."""
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, number, stop) for number in range(4)]
        for _ in range(times):
            stop.wait(0.15)
            here.kill("server")
            eventually(lambda: answers(here))
        stop.set()
        return list(itertools.chain.from_iterable(it.result() for it in running))


def test_what_was_acknowledged_is_there_after_every_kill(new_installation):
    here = new_installation()

    def write(number, stop):
        client, acknowledged = here.client("ecs"), []
        for count in itertools.count():
            if stop.is_set():
                return acknowledged
            try:
                name = f"cluster-{number}-{count}"
                client.create_cluster(clusterName=name, tags=[{"key": "n", "value": str(count)}])
                acknowledged.append(name)
                if count % 2:
                    client.delete_cluster(cluster=name)
                    acknowledged[-1] = f"{name} is gone"
            except Exception:  # noqa: BLE001 - nothing was acknowledged, and either may be so
                acknowledged = [it for it in acknowledged if not it.startswith(name)]

    acknowledged = killed_again_and_again(here, 8, write)
    assert len(acknowledged) > 20
    pages = here.ecs.get_paginator("list_clusters").paginate()
    there = {arn.rsplit("/", 1)[1] for page in pages for arn in page["clusterArns"]}
    for name in acknowledged:
        if name.endswith(" is gone"):
            assert name.removesuffix(" is gone") not in there
        else:
            assert name in there


def test_a_client_token_makes_its_tasks_once_whatever_happens(new_installation):
    here = new_installation()
    here.register("once", [shell("sleep 1000")])

    def run(_, stop):
        client, made = here.client("ecs"), []
        while not stop.is_set() or not made:
            try:
                answer = client.run_task(taskDefinition="once", count=2, clientToken="the-same")
                made += [task["taskArn"] for task in answer["tasks"]]
            except Exception:  # noqa: BLE001 - asked again, as a client would
                pass
        return made

    made = killed_again_and_again(here, 5, run)
    assert len(made) >= 8 and len(set(made)) == 2
    assert sorted(here.ecs.list_tasks()["taskArns"]) == sorted(set(made))
    with pytest.raises(botocore.exceptions.ClientError) as error:
        here.ecs.run_task(taskDefinition="once", count=1, clientToken="the-same")
    assert error.value.response["Error"]["Code"] == "ConflictException"


def test_one_port_is_given_once_however_many_ask(estiva):
    port = free_port()
    estiva.register("one-port", [container(image="hello", portMappings=[{"containerPort": 8080, "hostPort": port}])])

    def run(_):
        answer = estiva.client("ecs").run_task(taskDefinition="one-port")
        return len(answer["tasks"]), [failure["reason"] for failure in answer["failures"]]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers_ = list(pool.map(run, range(200)))
    assert sum(placed for placed, _ in answers_) == 1
    assert all(reasons == ["RESOURCE:PORTS"] for placed, reasons in answers_ if not placed)
    [arn] = estiva.ecs.list_tasks(family="one-port")["taskArns"]
    estiva.stop(arn)


def test_who_calls_too_often_is_throttled_and_nodes_go_on(new_installation):
    here = new_installation("--throttle")
    codes = set()
    for _ in range(40):
        try:
            here.ecs.create_cluster(clusterName="often")
        except botocore.exceptions.ClientError as error:
            codes.add((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert codes == {("ThrottlingException", 400)}
    here.register("meanwhile", [shell("exit 0")])
    assert here.run_to_end("meanwhile")["containers"][0]["exitCode"] == 0
