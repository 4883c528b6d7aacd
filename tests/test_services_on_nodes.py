"""Services on several nodes: spread, daemons, draining, and nodes that die, fall silent and come back."""

import contextlib
import subprocess

import pytest
from installation import Installation, container, eventually, shell
from test_nodes import add, connected, instance, kill, nodes, processes

SLEEPER = container(command=["sleep", "10000"], stopTimeout=2, memory=16)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, image_files):
    """An installation with a node in each of three zones, and the ARNs of their container instances. Tests leave it as it was."""
    here = Installation(tmp_path_factory.mktemp("fleet") / "data")
    for file in image_files.values():
        here.estiva("image", "import", str(file))
    here.up("--lost-node-after", "3s", "--healthy-after", "300ms")
    [first] = here.ecs.list_container_instances()["containerInstanceArns"]
    arns = [first, *add(here, "--over-network", "--az", "us-east-1b"), *add(here, "--over-network", "--az", "us-east-1c")]
    here.register("sleeper", [SLEEPER])
    here.register("other", [SLEEPER])
    yield here, arns
    here.down()


@contextlib.contextmanager
def service(here, name, definition="sleeper", **more):
    """A service, deleted and gone afterwards."""
    if more.get("schedulingStrategy") != "DAEMON":
        more = {"desiredCount": 3, "availabilityZoneRebalancing": "DISABLED", **more}
    here.ecs.create_service(serviceName=name, taskDefinition=definition, **more)
    try:
        yield
    finally:
        here.ecs.delete_service(service=name, force=True)
        eventually(lambda: described(here, name)["status"] == "INACTIVE", 60)


def described(here, name):
    return here.ecs.describe_services(services=[name])["services"][0]


def stable(here, name, count=None):
    def reached():
        it = described(here, name)
        done = len(it["deployments"]) == 1 and it["deployments"][0]["rolloutState"] == "COMPLETED"
        return it if done and it["runningCount"] == it["desiredCount"] == (it["desiredCount"] if count is None else count) else None

    return eventually(reached)


def tasks(here, name):
    """The service's tasks that are to run."""
    arns = here.ecs.list_tasks(serviceName=name)["taskArns"]
    return here.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []


def places(here, name):
    return sorted(task["containerInstanceArn"] for task in tasks(here, name))


def running(here, task):
    """Whether the node runs the task: its shim is there."""
    return bool(processes(task["taskArn"].rsplit("/", 1)[-1]))


def name_of(here, arn):
    return nodes(here)[arn]["name"]


@contextlib.contextmanager
def cut(here, arn, *rules):
    """The node's agent does not get through to the server, in the given directions."""
    [agent] = processes(name_of(here, arn), "agent")
    nft = ["nsenter", "-t", str(agent), "-n", "nft"]
    chains = ["add table inet cut"]
    for hook, rule in rules:
        chains += [f"add chain inet cut {hook} {{ type filter hook {hook} priority -10; }}", f"add rule inet cut {hook} {rule} drop"]
    subprocess.run([*nft, "-f", "-"], input="\n".join(chains), text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([*nft, "delete", "table", "inet", "cut"], check=True)


def kill_agent(here, arn):
    """Kills the node's agent, and waits for the next one."""
    before = eventually(lambda: processes(name_of(here, arn), "agent") or None)
    kill(before)
    eventually(lambda: bool(set(processes(name_of(here, arn), "agent")) - set(before)) and arn in connected(here))


def both(here):
    return ("output", f"tcp dport {here.port}"), ("input", f"tcp sport {here.port}")


def test_tasks_spread_over_zones_and_move_with_a_new_revision(fleet):
    here, arns = fleet
    with service(here, "spread", desiredCount=6):
        stable(here, "spread")
        assert places(here, "spread") == sorted(arns * 2)
        here.ecs.update_service(service="spread", taskDefinition="other")
        stable(here, "spread")
        assert places(here, "spread") == sorted(arns * 2)
        assert {task["taskDefinitionArn"].rsplit("/", 1)[-1] for task in tasks(here, "spread")} == {"other:1"}


def test_a_fixed_host_port_is_once_on_each_node_and_makes_room_for_the_next_revision(fleet):
    here, arns = fleet
    for family in ["port-one", "port-two"]:
        here.register(family, [container(image="hello", memory=16, stopTimeout=2, portMappings=[{"containerPort": 8080, "hostPort": 18099}])])
    bounds = {"minimumHealthyPercent": 60, "maximumPercent": 100}
    with service(here, "port", "port-one", deploymentConfiguration=bounds):
        stable(here, "port")
        assert places(here, "port") == sorted(arns)
        here.ecs.update_service(service="port", taskDefinition="port-two")
        stable(here, "port")
        assert places(here, "port") == sorted(arns)
        assert {task["taskDefinitionArn"].rsplit("/", 1)[-1] for task in tasks(here, "port")} == {"port-two:1"}


def test_strategies_decide_where_tasks_go_and_which_end_first(fleet):
    here, arns = fleet
    with service(here, "packed", desiredCount=4, placementStrategy=[{"type": "binpack", "field": "memory"}]):
        stable(here, "packed")
        assert len(set(places(here, "packed"))) == 1
    constraint = [{"type": "memberOf", "expression": "attribute:ecs.availability-zone == us-east-1c"}]
    with service(here, "bound", desiredCount=2, placementConstraints=constraint):
        stable(here, "bound")
        assert places(here, "bound") == [arns[2]] * 2
    with service(here, "even", desiredCount=6):
        stable(here, "even")
        here.ecs.update_service(service="even", desiredCount=3)
        stable(here, "even", 3)
        assert places(here, "even") == sorted(arns)


def test_a_daemon_runs_on_every_node_and_on_each_that_joins(fleet):
    here, arns = fleet
    with service(here, "daemon", schedulingStrategy="DAEMON"):
        eventually(lambda: places(here, "daemon") == sorted(arns))
        [more] = add(here, "--az", "us-east-1d")
        eventually(lambda: places(here, "daemon") == sorted([*arns, more]))
        here.ecs.update_service(service="daemon", taskDefinition="other")
        stable(here, "daemon")
        assert places(here, "daemon") == sorted([*arns, more])
        here.ecs.update_container_instances_state(containerInstances=[more], status="DRAINING")
        eventually(lambda: places(here, "daemon") == sorted(arns))
        eventually(lambda: instance(here, more)["runningTasksCount"] == 0)
        here.estiva("node", "remove", name_of(here, more))


def test_a_node_that_is_drained_gives_its_tasks_away(fleet):
    here, arns = fleet
    with service(here, "drained", desiredCount=6):
        stable(here, "drained")
        standalone = here.ecs.start_task(taskDefinition="sleeper", containerInstances=[arns[1]])["tasks"][0]["taskArn"]
        here.wait("RUNNING", standalone)
        here.ecs.update_container_instances_state(containerInstances=[arns[1]], status="DRAINING")
        eventually(lambda: arns[1] not in places(here, "drained") and len(places(here, "drained")) == 6)
        stable(here, "drained")
        assert here.task(standalone)["lastStatus"] == "RUNNING", "it is nobody's to move"
        eventually(lambda: instance(here, arns[1])["runningTasksCount"] == 1)
        here.ecs.update_container_instances_state(containerInstances=[arns[1]], status="ACTIVE")
        here.stop(standalone)


def test_tasks_move_back_onto_a_zone_that_is_there_again(fleet):
    here, arns = fleet
    with service(here, "evened", desiredCount=6, availabilityZoneRebalancing="ENABLED"):
        stable(here, "evened")
        here.ecs.update_container_instances_state(containerInstances=[arns[2]], status="DRAINING")
        eventually(lambda: arns[2] not in places(here, "evened") and len(places(here, "evened")) == 6)
        stable(here, "evened")
        here.ecs.update_container_instances_state(containerInstances=[arns[2]], status="ACTIVE")
        eventually(lambda: places(here, "evened") == sorted(arns * 2))


def test_an_agent_that_is_killed_costs_no_task(fleet):
    here, arns = fleet
    with service(here, "kept", desiredCount=6):
        stable(here, "kept")
        before = {task["taskArn"] for task in tasks(here, "kept")}
        kill_agent(here, arns[1])
        stable(here, "kept")
        assert {task["taskArn"] for task in tasks(here, "kept")} == before


def test_a_node_whose_tasks_are_killed_with_its_agent_gets_others(fleet):
    here, arns = fleet
    with service(here, "killed", desiredCount=6):
        stable(here, "killed")
        before = [task["taskArn"] for task in tasks(here, "killed") if task["containerInstanceArn"] == arns[1]]
        kill(processes(name_of(here, arns[1])))
        eventually(lambda: all(here.task(arn)["lastStatus"] == "STOPPED" for arn in before), 60)
        stable(here, "killed")
        assert len(tasks(here, "killed")) == 6


@pytest.mark.parametrize("direction", ["both", "from the node", "to the node"])
def test_a_silent_node_is_replaced_and_its_surplus_ends_when_it_is_back(fleet, direction):
    here, arns = fleet
    outbound, inbound = both(here)
    rules = {"both": [outbound, inbound], "from the node": [outbound], "to the node": [inbound]}[direction]
    with service(here, "silent", desiredCount=6):
        stable(here, "silent")
        lost = [task for task in tasks(here, "silent") if task["containerInstanceArn"] == arns[1]]
        assert len(lost) == 2
        with cut(here, arns[1], *rules):
            eventually(lambda: arns[1] not in places(here, "silent") and described(here, "silent")["runningCount"] == 6, 60)
            assert arns[1] not in connected(here)
            assert all(running(here, task) for task in lost), "it does not know that it is silent"
            for task in lost:
                seen = here.task(task["taskArn"])
                assert (seen["desiredStatus"], seen["stopCode"], seen["connectivity"]) == ("STOPPED", "InfrastructureHealth", "DISCONNECTED")
        for task in lost:
            here.wait("STOPPED", task["taskArn"], timeout=90)
        eventually(lambda: not any(running(here, task) for task in lost))
        stable(here, "silent")
        assert len(tasks(here, "silent")) == 6


def test_a_node_that_flaps_keeps_its_tasks(fleet):
    here, arns = fleet
    with service(here, "flapping", desiredCount=6):
        stable(here, "flapping")
        before = {task["taskArn"] for task in tasks(here, "flapping")}
        for _ in range(5):
            kill_agent(here, arns[2])
        stable(here, "flapping")
        assert {task["taskArn"] for task in tasks(here, "flapping")} == before


def test_a_server_that_dies_with_a_node_finds_out(fleet):
    here, arns = fleet
    with service(here, "together", desiredCount=6):
        stable(here, "together")
        with cut(here, arns[2], *both(here)):
            here.kill("server")
            eventually(lambda: len(connected_or_none(here)) == 2, 30)
            eventually(lambda: arns[2] not in places(here, "together") and described(here, "together")["runningCount"] == 6, 60)
        eventually(lambda: arns[2] in connected(here), 120)
        stable(here, "together")
        assert len(tasks(here, "together")) == 6


def connected_or_none(here):
    try:
        return connected(here)
    except Exception:  # noqa: BLE001 - the server is not there
        return set()


def test_deregistering_by_force_moves_what_ran_there(fleet):
    here, _ = fleet
    [more] = add(here, "--az", "us-east-1b")
    constraint = [{"type": "memberOf", "expression": "attribute:ecs.availability-zone == us-east-1b"}]
    with service(here, "moved", desiredCount=4, placementConstraints=constraint):
        stable(here, "moved")
        assert more in places(here, "moved")
        here.estiva("node", "remove", "--force", name_of(here, more))
        eventually(lambda: more not in places(here, "moved") and len(places(here, "moved")) == 4)
        stable(here, "moved")


def test_tasks_have_one_digest_in_a_deployment(fleet):
    here, _ = fleet
    here.register("pinned", [shell("sleep 1000", memory=16, stopTimeout=2)])
    with service(here, "pinned", "pinned", desiredCount=1):
        service_now = stable(here, "pinned")
        revision = service_now["currentServiceRevisions"][0]["arn"]
        images = eventually(lambda: [it for it in here.ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"][0]["containerImages"] if "imageDigest" in it] or None)
        here.ecs.update_service(service="pinned", desiredCount=3)
        stable(here, "pinned", 3)
        assert {task["containers"][0]["imageDigest"] for task in tasks(here, "pinned")} == {images[0]["imageDigest"]}


def test_a_service_that_wants_it_moves_onto_a_node_that_joins(fleet):
    here, _ = fleet
    constraint = [{"type": "memberOf", "expression": "attribute:ecs.availability-zone == us-east-1b"}]
    tags = [{"key": "estiva:instance-rebalancing", "value": "enabled"}]
    with service(here, "settled", desiredCount=4, placementConstraints=constraint, tags=tags), service(here, "unmoved", desiredCount=4, placementConstraints=constraint):
        stable(here, "settled")
        stable(here, "unmoved")
        [more] = add(here, "--az", "us-east-1b")
        eventually(lambda: places(here, "settled").count(more) == 2 and len(places(here, "settled")) == 4)
        assert more not in places(here, "unmoved")
        here.ecs.update_container_instances_state(containerInstances=[more], status="DRAINING")
        eventually(lambda: instance(here, more)["runningTasksCount"] == 0)
    here.estiva("node", "remove", name_of(here, more))
