"""What breaks under services: tasks, nodes' agents, the control plane, room. Nothing is doubled, bounds hold, it comes to rest."""

import concurrent.futures
import os
import signal
import threading
from pathlib import Path

from installation import container, eventually, free_port, shell
from services import PATIENCE, Service, define, quiet, revision_of, unique


def answers(here):
    try:
        return here.ecs.list_clusters() is not None
    except Exception:  # noqa: BLE001 - it is down
        return False


def tolerant(look):
    """What a look gives, and `None` while the control plane is down."""
    try:
        return look()
    except Exception:  # noqa: BLE001 - the next look will do
        return None


def connected(here):
    [arn] = here.ecs.list_container_instances()["containerInstanceArns"]
    [instance] = here.ecs.describe_container_instances(containerInstances=[arn])["containerInstances"]
    return instance["agentConnected"]


def kill(here, part):
    """Kills a part and waits until there is another."""
    here.kill(part)
    eventually(lambda: here.processes(part) or None, 60)
    eventually(lambda: tolerant(lambda: connected(here)), 60)


def processes_of(arguments):
    """Processes of containers: those with exactly these arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().split(b"\0")[:-1] == [it.encode() for it in arguments]:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_task_whose_process_is_killed_is_replaced(new_service, estiva):
    # The number is the test's own: no other process has it.
    command = ["sleep", str(10_000_000 + os.getpid())]
    service = new_service(define(estiva, unique("killed"), container(memory=16, command=command, stopTimeout=2)), 3)
    service.stable()
    before, pids = service.arns(), processes_of(command)
    assert len(pids) == 3
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: service.arns() != before, PATIENCE)
    service.stable()
    gone = before - service.arns()
    assert len(gone) == 1 and len(service.arns() - before) == 1
    ended = estiva.task(gone.pop())
    assert ended["stopCode"] == "EssentialContainerExited" and ended["containers"][0]["exitCode"] == 137
    assert len(processes_of(command)) == 3
    assert service.primary()["failedTasks"] <= 1


def test_a_task_that_somebody_stops_is_replaced(new_service, estiva):
    service = new_service(define(estiva, unique("stopped")), 2)
    service.stable()
    [stopped, kept] = sorted(service.arns())
    estiva.ecs.stop_task(task=stopped, reason="a test")
    eventually(lambda: len(service.arns() - {stopped, kept}) == 1, PATIENCE)
    service.stable()
    assert kept in service.arns() and estiva.task(stopped)["stopCode"] == "UserInitiated"
    assert service.primary()["failedTasks"] == 0, "somebody's wish is no failure"
    assert not [event for event in service.events() if "consistently" in event]


def test_nothing_is_replaced_when_the_agent_is_killed(new_installation):
    here = new_installation()
    service = Service(here, define(here, "calm"), 5)
    service.stable()
    before = {task["taskArn"]: task["containers"][0]["runtimeId"] for task in service.running()}
    events = service.events()
    for _ in range(3):
        kill(here, "agent")
    # What is still to come would come before this is there.
    here.wait("RUNNING", here.run("calm")[0])
    service.stable()
    assert {task["taskArn"]: task["containers"][0]["runtimeId"] for task in service.running()} == before
    assert not [event for event in service.events()[len(events) :] if "task" in event]
    assert len(here.processes("shim")) == 6
    service.delete()


def test_a_rollout_ends_however_often_the_control_plane_is_killed(new_installation):
    """The bounds hold at each moment, no task is made twice, and each of the old ones goes."""
    here = new_installation("--healthy-after", "500ms")
    old, new = define(here, "killed", quiet(memory=32)), define(here, "killed", quiet(memory=32))
    bounds = {"minimumHealthyPercent": 80, "maximumPercent": 140}
    service = Service(here, old, 10, deploymentConfiguration=bounds)
    service.stable()
    seen, faults, ends = set(), [], threading.Event()

    def watch():
        while not ends.is_set():
            tasks = tolerant(service.tasks)
            if tasks is None:
                continue
            seen.update(task["taskArn"] for task in tasks)
            if len([task for task in tasks if task["lastStatus"] == "RUNNING"]) < 8 or len(tasks) > 14:
                # Lists and descriptions are two looks; only what both show and the next look shows too is a fault.
                again = tolerant(service.tasks)
                if again is not None and (len(again) > 14 or len([it for it in again if it["lastStatus"] == "RUNNING"]) < 8):
                    faults.append([(it["lastStatus"], revision_of(it)) for it in again])

    watcher = threading.Thread(target=watch)
    watcher.start()
    service.update(taskDefinition=new)
    kills = 0
    while kills < 12 and tolerant(lambda: service.primary()["rolloutState"]) != "COMPLETED":
        ends.wait(0.1 * (kills % 4))
        here.kill("server")
        kills += 1
        eventually(lambda: answers(here), 60)
    service.stable()
    ends.set()
    watcher.join()
    assert kills > 0 and not faults, faults
    assert [revision_of(task) for task in service.running()] == [2] * 10
    eventually(lambda: len(here.processes("shim")) == 10)
    made = seen | service.arns("STOPPED") | service.arns()
    revisions = [revision_of(here.task(arn)) for arn in made]
    assert (revisions.count(1), revisions.count(2)) == (10, 10), "no task was made twice"
    assert service.deployment()["status"] == "SUCCESSFUL" and len(service.deployments()) == 2
    service.delete()


def test_a_node_under_way_is_no_reason_to_do_a_thing_twice(new_installation):
    """Server and agent are killed while a service starts: it has as many tasks as it wants."""
    here = new_installation()
    definition = define(here, "both")
    service = Service(here, definition, 10)
    for part in ("server", "agent", "server", "agent"):
        kill(here, part)
    service.stable()
    assert len(service.arns()) == 10 and not service.arns("STOPPED")
    eventually(lambda: len(here.processes("shim")) == 10)
    service.delete()
    eventually(lambda: not here.processes("shim"))


def test_a_migration_runs_once_though_the_control_plane_is_killed(new_installation, tmp_path):
    here = new_installation()
    shared = tmp_path / "shared"
    shared.mkdir()
    volumes = [{"name": "shared", "host": {"sourcePath": str(shared)}}]
    script = "echo ran >> /shared/ran; while [ ! -e /shared/go ]; do sleep 0.05; done"
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    migration = here.register("migration", [shell(script, memory=16, mountPoints=mount)], volumes=volumes)
    first, second = define(here, "migrated"), define(here, "migrated")
    service = Service(here, first, 2)
    service.stable()
    hook = {"hookTargetArn": migration["taskDefinitionArn"], "lifecycleStages": ["PRE_SCALE_UP"]}
    service.update(taskDefinition=second, deploymentConfiguration={"lifecycleHooks": [hook]})
    for _ in range(3):
        kill(here, "server")
    eventually((shared / "ran").exists, PATIENCE)
    assert [revision_of(task) for task in service.running()] == [1, 1]
    (shared / "go").touch()
    service.comes_to("SUCCESSFUL")
    service.stable()
    assert (shared / "ran").read_text() == "ran\n"
    assert [revision_of(task) for task in service.running()] == [2, 2]
    service.delete()


def test_a_service_is_there_again_after_everything_was_down(new_installation):
    here = new_installation()
    service = Service(here, define(here, "back"), 3)
    service.stable()
    before = service.arns()
    here.down()
    assert not here.processes("shim")
    here.up()
    service.stable()
    assert len(service.runs(3)) == 3 and not before & service.arns()
    assert {here.task(arn)["lastStatus"] for arn in before} == {"STOPPED"}
    eventually(lambda: len(here.processes("shim")) == 3)
    service.delete()


def revision_count(service):
    """How much the service has told and done."""
    return len(service.events()), len(service.arns()), len(service.arns("STOPPED"))


def test_what_finds_no_room_says_so_once_and_is_placed_once_there_is(new_service, estiva):
    [instance] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    [shown] = estiva.ecs.describe_container_instances(containerInstances=[instance])["containerInstances"]
    cpu = next(it["integerValue"] for it in shown["remainingResources"] if it["name"] == "CPU")
    half, family = cpu // 2, unique("half")
    estiva.register(family, [quiet(cpu=half)])
    occupants = estiva.run(family, count=2)
    for arn in occupants:
        estiva.wait("RUNNING", arn)
    service = new_service(define(estiva, unique("large"), quiet(cpu=half + 1)), 1)
    told = service.tells("was unable to place a task")
    assert "CPU" in told and instance.rsplit("/", 1)[1] in told
    before = revision_count(service)
    # Others come and go meanwhile; none of it is room.
    estiva.register(family, [shell("exit 0", memory=16)])
    for _ in range(3):
        estiva.run_to_end(family)
    # Half of the room that is needed, and then the rest of it.
    estiva.stop(occupants[0])
    assert revision_count(service) == before
    estiva.stop(occupants[1])
    service.stable()
    assert len([event for event in service.events() if "unable to place" in event]) == 1


def test_an_attribute_that_comes_later_is_room_too(new_service, estiva):
    name = unique("disk")
    constraint = [{"type": "memberOf", "expression": f"attribute:{name} == ssd"}]
    service = new_service(define(estiva, unique("choosy")), 1, placementConstraints=constraint)
    assert "constraint" in service.tells("was unable to place a task").lower()
    [instance] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    attribute = {"name": name, "targetId": instance}
    estiva.ecs.put_attributes(attributes=[{**attribute, "value": "ssd"}])
    service.stable()
    estiva.ecs.delete_attributes(attributes=[attribute])


def test_a_service_on_one_port_makes_room_for_its_successor(new_service, estiva):
    """A host port is had by one task; a minimum of 0 percent lets the old task go first."""
    web = container(image="hello", memory=16, portMappings=[{"containerPort": 8080, "hostPort": free_port()}])
    family = unique("port")
    first, second = define(estiva, family, web), define(estiva, family, web)
    service = new_service(first, 1, deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200})
    service.stable()
    service.update(taskDefinition=second)
    service.stable()
    assert [revision_of(task) for task in service.running()] == [2]


def test_bounds_that_leave_no_room_are_told_of(new_service, estiva):
    family = unique("stuck")
    first, second = define(estiva, family), define(estiva, family)
    bounds = {"minimumHealthyPercent": 100, "maximumPercent": 100}
    service = new_service(first, 2, deploymentConfiguration=bounds)
    service.stable()
    before = service.arns()
    service.update(taskDefinition=second)
    service.tells("because of the service deployment configuration")
    assert service.arns() == before
    service.update(deploymentConfiguration={"maximumPercent": 150})
    service.stable()
    assert [revision_of(task) for task in service.running()] == [2, 2]


def test_room_for_one_is_given_once_to_a_thousand(estiva):
    """1,000 callers at once, one place: one task, and 999 that are told why."""
    [instance] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    name = unique("slot")
    definition = define(estiva, name, quiet(portMappings=[{"containerPort": 80, "hostPort": free_port()}]))
    clients = [estiva.client("ecs", max_pool_connections=1) for _ in range(16)]

    def run(number):
        answer = clients[number % 16].run_task(taskDefinition=definition)
        return len(answer["tasks"]), [(it["arn"], it["reason"]) for it in answer["failures"]]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        told = list(pool.map(run, range(1000)))
    assert sum(placed for placed, _ in told) == 1
    failures = [failures for placed, failures in told if not placed]
    assert failures == [[(instance, "RESOURCE:PORTS")]] * 999
    [arn] = estiva.ecs.list_tasks(family=name)["taskArns"]
    estiva.stop(arn)


def test_a_normal_life_leaves_no_error_in_the_log(new_installation):
    here = new_installation()
    good, bad = define(here, "life"), define(here, "life", shell("exit 1", memory=16))
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    service = Service(here, good, 3, deploymentConfiguration=breaker)
    service.stable()
    service.update(taskDefinition=bad)
    service.comes_to("ROLLBACK_SUCCESSFUL")
    service.update(desiredCount=6)
    service.stable()
    service.delete()
    log = (here.data / "estiva.log").read_text()
    assert not [line for line in log.splitlines() if "ERROR" in line or "panicked" in line]
