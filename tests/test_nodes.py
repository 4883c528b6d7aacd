"""Several nodes on one machine: sizes, zones, ports, networks, crashes, and what is left of them."""

import hashlib
import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from installation import BINARY, Installation, container, eventually, logged, shell

CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = (CGROUPS / "cgroup.controllers").exists()
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
SLEEPER = container(command=["sleep", "1000"], stopTimeout=2)


def add(here, *arguments):
    return here.estiva("node", "add", *arguments).stdout.split()


def nodes(here):
    """The further nodes by the ARN of their container instance."""
    [_, *further] = json.loads(here.estiva("node", "list", "--json").stdout)
    return {node["containerInstanceArn"]: node for node in further}


def instance(here, arn, cluster="default"):
    return here.ecs.describe_container_instances(cluster=cluster, containerInstances=[arn])["containerInstances"][0]


def attributes(described):
    return {it["name"]: it.get("value") for it in described["attributes"]}


def resources(described):
    return {it["name"]: it["integerValue"] for it in described["registeredResources"] if "integerValue" in it}


def start(here, family, arn, **more):
    answer = here.ecs.start_task(taskDefinition=family, containerInstances=[arn], **more)
    assert not answer["failures"], answer["failures"]
    return answer["tasks"][0]["taskArn"]


def processes(name, *words):
    """Ids of the processes that have the node's name and all the words in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if name in arguments and all(word in arguments.split("\0") for word in words):
            found.append(int(entry.name))
    return found


def kill(pids):
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def connected(here):
    arns = here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"]
    return set(arns)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def digest(here, name):
    """What the kernel's objects of a node are called by."""
    return Installation(here.data / "nodes" / name).name


def traces(here, *names):
    """What the kernel has of the installation and of nodes that it has or had."""
    called = "est" + hashlib.sha256(here.name.encode()).hexdigest()[:6]
    fleet = here.data / "nodes/fleet.json"
    block = json.loads(fleet.read_text())["block"] if fleet.exists() else called
    digests = [here.name, *(digest(here, name) for name in names)]
    of_ours = lambda text: any(word in text for word in [called, f"estiva_{called[3:]}", block, str(here.data), *digests])
    cgroups = [str(path) for path in CGROUPS.glob("**/estiva-*/") if path.is_dir()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    namespaces = [str(path) for name in digests for path in (Path("/run/estiva") / name).glob("**/netns/*")]
    return {
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir() if of_ours(path.name)),
        "tables": sorted(filter(of_ours, run("nft", "list", "tables").splitlines())),
        "routes": sorted(filter(of_ours, run("ip", "route").splitlines())),
        "mounts": sorted(line.split()[4] for line in mounts if of_ours(line)),
        "cgroups": sorted(filter(of_ours, cgroups)),
        "namespaces": namespaces + sorted(str(path) for path in here.run_dir.glob("nodes/*")),
        "directories": sorted(name for name in digests if (Path("/run/estiva") / name).exists()),
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory, image_files):
    """An installation with two further nodes, and their ARNs. Tests leave it as they found it."""
    here = Installation(tmp_path_factory.mktemp("pair") / "data")
    for file in image_files.values():
        here.estiva("image", "import", str(file))
    here.up()
    [one] = add(here, "--type", "t3.small", "--az", "us-east-1b")
    [other] = add(here, "--type", "t3.nano", "--az", "us-east-1c")
    yield here, one, other
    here.down()


def test_nodes_have_the_size_of_their_type_and_stand_in_their_zone(pair):
    here, one, other = pair
    listed = nodes(here)
    for arn, cpu, memory, kind, zone in [(one, 2048, 2048, "t3.small", "us-east-1b"), (other, 2048, 512, "t3.nano", "us-east-1c")]:
        described = instance(here, arn)
        assert resources(described)["CPU"] == cpu and resources(described)["MEMORY"] == memory
        assert attributes(described)["ecs.instance-type"] == kind
        assert attributes(described)["ecs.availability-zone"] == zone
        assert described["agentConnected"] and described["status"] == "ACTIVE"
        assert described["ec2InstanceId"] == listed[arn]["name"]
        assert (listed[arn]["instanceType"], listed[arn]["availabilityZone"], listed[arn]["state"]) == (kind, zone, "ACTIVE")
    assert "estiva.capability.fargate" not in attributes(instance(here, one))
    text = here.estiva("node", "list").stdout
    assert "t3.small" in text and listed[one]["name"] in text and "us-east-1c" in text


def test_a_node_without_type_and_zone_is_as_the_first_one(new_installation):
    here = new_installation()
    [first] = here.ecs.list_container_instances()["containerInstanceArns"]
    arns = add(here, "--count", "2")
    assert len(set(arns)) == 2
    for arn in arns:
        assert resources(instance(here, arn)) == resources(instance(here, first))
        assert attributes(instance(here, arn))["ecs.availability-zone"] == "us-east-1a"


def test_what_cannot_be_added_is_refused(pair, tmp_path):
    here, *_ = pair
    before = nodes(here)
    for arguments, word in [(["--type", "t3.huge"], "t3.huge"), (["--az", "B!"], "zone"), (["--count", "0"], "0")]:
        refused = here.estiva("node", "add", *arguments, check=False)
        assert refused.returncode != 0 and word in refused.stderr
    assert nodes(here) == before
    refused = Installation(tmp_path / "down").estiva("node", "add", check=False)
    assert refused.returncode == 1 and "estiva up" in refused.stderr


def test_a_task_that_is_larger_than_the_node_is_not_placed_there(pair):
    here, one, other = pair
    here.register("large", [container(command=["sleep", "1000"], memory=1024, stopTimeout=2)])
    answer = here.ecs.start_task(taskDefinition="large", containerInstances=[other])
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:MEMORY"]
    constraint = [{"type": "memberOf", "expression": "attribute:ecs.instance-type =~ t3.*"}]
    [arn] = here.run("large", placementConstraints=constraint)
    assert here.wait("RUNNING", arn)["containerInstanceArn"] == one
    here.stop(arn)


def limit(here, name, controller, file):
    group = f"estiva-{digest(here, name)}"
    return (CGROUPS / ("" if UNIFIED else controller) / group / file).read_text().strip()


def test_the_nodes_cgroup_is_as_small_as_the_type(pair):
    here, _, nano = pair
    name = nodes(here)[nano]["name"]
    if UNIFIED:
        assert limit(here, name, "memory", "memory.max") == str(512 << 20)
        assert limit(here, name, "cpu", "cpu.max") == "200000 100000"
    else:
        assert limit(here, name, "memory", "memory.limit_in_bytes") == str(512 << 20)
        assert limit(here, name, "cpu", "cpu.cfs_quota_us") == "200000"


def test_tasks_of_a_node_together_get_no_more_memory_than_it_has(pair):
    here, _, nano = pair
    # Each may have what the node has, as a soft limit only is reserved: the second has to end for the first one's.
    hold = "x=$(dd if=/dev/zero bs=1M count=300 2>/dev/null | tr '\\0' 'x'); echo held; sleep 1000"
    here.register("holder", [shell(hold, memory=500, memoryReservation=32, stopTimeout=2)])
    first = start(here, "holder", nano)
    here.wait("RUNNING", first)
    second = start(here, "holder", nano)

    def ended():
        return next((arn for arn in (first, second) if here.task(arn)["lastStatus"] == "STOPPED"), None)

    assert here.task(eventually(ended))["containers"][0]["exitCode"] != 0
    for arn in (first, second):
        here.stop(arn)


def test_an_image_that_was_imported_once_is_there_on_every_node(pair):
    here, one, other = pair
    here.register("imported", [container(command=["true"])])
    for arn in (one, other):
        task = start(here, "imported", arn)
        assert here.wait("STOPPED", task)["containers"][0]["exitCode"] == 0


def test_two_nodes_publish_the_same_port(pair):
    here, *both = pair
    here.register("web", [container(image="hello", memory=16, portMappings=[{"containerPort": 8080, "hostPort": 8080}], stopTimeout=2)])
    listed = nodes(here)
    tasks = [start(here, "web", arn) for arn in both]
    addresses = set()
    for arn, task in zip(both, tasks):
        [binding] = here.wait("RUNNING", task)["containers"][0]["networkBindings"]
        assert (binding["bindIP"], binding["hostPort"]) == (listed[arn]["address"], 8080)
        with urllib.request.urlopen(f"http://{binding['bindIP']}:8080", timeout=10) as answer:
            assert answer.status == 200
        addresses.add(binding["bindIP"])
    assert len(addresses) == 2
    for task in tasks:
        here.stop(task)


def address(task):
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    return details["privateIPv4Address"]


def test_awsvpc_tasks_of_all_nodes_reach_each_other_and_the_host_reaches_them(pair):
    here, one, other = pair
    [first] = set(here.ecs.list_container_instances()["containerInstanceArns"]) - {one, other}
    here.register("server", [container(image="hello", memory=16, stopTimeout=2)], networkMode="awsvpc")
    servers = [start(here, "server", arn, networkConfiguration=NETWORK) for arn in (first, one, other)]
    at = [address(here.wait("RUNNING", task)) for task in servers]
    assert len(set(at)) == 3
    for ip in at:
        with urllib.request.urlopen(f"http://{ip}:8080", timeout=10) as answer:
            assert answer.status == 200
    ask = " && ".join(f"timeout 10 wget -q -O /dev/null http://{ip}:8080" for ip in at)
    here.register("asker", [shell(f"{ask} && exit 7")], networkMode="awsvpc")
    for arn in (first, one, other):
        task = start(here, "asker", arn, networkConfiguration=NETWORK)
        assert here.wait("STOPPED", task)["containers"][0]["exitCode"] == 7
    for task in servers:
        here.stop(task)


def test_tasks_on_further_nodes_have_logs_metadata_and_exec(pair):
    here, one, _ = pair
    constraint = {"placementConstraints": [{"type": "memberOf", "expression": "attribute:ecs.instance-type == t3.small"}]}
    task, lines = logged(here, "told", 'wget -q -O - "$ECS_CONTAINER_METADATA_URI_V4/task"', run=constraint)
    assert task["containerInstanceArn"] == one
    assert json.loads("".join(lines))["AvailabilityZone"] == "us-east-1b"
    here.register("shelter", [SLEEPER])
    [arn] = here.run("shelter", enableExecuteCommand=True, **constraint)
    here.wait("RUNNING", arn)
    done = here.estiva("exec", arn, "--", "echo", "aboard", check=False)
    assert "aboard" in done.stdout, done.stderr
    here.stop(arn)


def test_in_network_mode_host_a_task_has_its_nodes_network(pair):
    here, one, _ = pair
    constraint = {"placementConstraints": [{"type": "memberOf", "expression": "attribute:ecs.instance-type == t3.small"}]}
    _, lines = logged(here, "of-the-node", "ip -4 addr show eth0", networkMode="host", run=constraint)
    assert nodes(here)[one]["address"] in "".join(lines)


def test_firewalls_that_somebody_flushes_are_made_again(pair):
    here, one, _ = pair
    here.register("walled", [container(image="hello", memory=16, portMappings=[{"containerPort": 8080, "hostPort": 8081}], stopTimeout=2)])
    [first] = set(here.ecs.list_container_instances()["containerInstanceArns"]) - set(pair[1:])
    tasks = [start(here, "walled", arn) for arn in (first, one)]
    at = [here.wait("RUNNING", task)["containers"][0]["networkBindings"][0]["bindIP"] for task in tasks]
    name = nodes(here)[one]["name"]
    within = ["nsenter", f"--net={here.run_dir}/nodes/{name}", "nft"]
    tables = lambda *nft: sorted(line for line in run(*nft, "list", "tables").splitlines() if "estiva" in line)
    of_host = lambda: [line for line in tables("nft") if hashlib.sha256(here.name.encode()).hexdigest()[:6] in line]
    before = of_host(), tables(*within)
    assert len(before[0]) == 3 and len(before[1]) == 2
    run(*within, "flush", "ruleset")
    for line in before[0]:
        run("nft", "delete", *line.split())
    eventually(lambda: (of_host(), tables(*within)) == before)
    for ip in at:
        with urllib.request.urlopen(f"http://{ip}:8081", timeout=10) as answer:
            assert answer.status == 200
    for task in tasks:
        here.stop(task)


def test_an_agent_that_is_killed_comes_back_and_nobody_else_notices(new_installation):
    here = new_installation()
    one, other = add(here, "--type", "t3.small", "--count", "2")
    here.register("steady", [SLEEPER])
    tasks = {arn: start(here, "steady", arn) for arn in (one, other)}
    for task in tasks.values():
        here.wait("RUNNING", task)
    listed = nodes(here)
    name, neighbour = listed[one]["name"], listed[other]["name"]
    before, others = processes(name, "agent"), processes(neighbour, "agent")
    shims = here.processes("shim")
    kill(before)
    eventually(lambda: set(processes(name, "agent")) - set(before))
    eventually(lambda: connected(here) >= {one, other})
    assert processes(neighbour, "agent") == others and sorted(here.processes("shim")) == sorted(shims)
    for task in tasks.values():
        assert here.task(task)["lastStatus"] == "RUNNING"
        here.stop(task)


def test_the_tasks_of_a_node_that_was_killed_are_reported_stopped(new_installation):
    here = new_installation()
    one, other = add(here, "--type", "t3.small", "--count", "2")
    here.register("doomed", [SLEEPER])
    lost, kept = start(here, "doomed", one), start(here, "doomed", other)
    for task in (lost, kept):
        here.wait("RUNNING", task)
    name = nodes(here)[one]["name"]
    kill(processes(name, "agent") + processes(name, "shim"))
    assert here.wait("STOPPED", lost)["stopCode"]
    eventually(lambda: connected(here) >= {one, other})
    assert here.task(kept)["lastStatus"] == "RUNNING"
    again = start(here, "doomed", one)
    here.wait("RUNNING", again)


def test_a_restart_takes_back_the_tasks_of_all_nodes(new_installation):
    here = new_installation()
    arns = add(here, "--type", "t3.small", "--count", "2")
    here.register("lasting", [container(image="hello", memory=16, portMappings=[{"containerPort": 8080}], stopTimeout=2)])
    tasks = [start(here, "lasting", arn) for arn in arns]
    running = [here.wait("RUNNING", task) for task in tasks]
    here.down("--keep-tasks")
    assert len(here.processes("shim")) == 2 and not here.processes("agent")
    here.up()
    assert connected(here) >= set(arns)
    shims = here.processes("shim")
    here.kill("up")
    eventually(lambda: not here.processes("agent") and not here.processes("server"))
    here.up()
    assert sorted(here.processes("shim")) == sorted(shims)
    for task, before in zip(tasks, running):
        now = here.task(task)
        assert now["lastStatus"] == "RUNNING" and now["startedAt"] == before["startedAt"]
        [binding] = now["containers"][0]["networkBindings"]
        with urllib.request.urlopen(f"http://{binding['bindIP']}:{binding['hostPort']}", timeout=10) as answer:
            assert answer.status == 200
    assert "stopped 2 tasks" in here.down().stdout
    assert not here.processes("shim")


def test_removal_is_refused_while_tasks_run_and_leaves_nothing(new_installation):
    here = new_installation()
    here.register("lodger", [container(command=["sleep", "1000"], stopTimeout=2, portMappings=[{"containerPort": 80, "hostPort": 8081}])])
    # The first task of an installation makes what all share.
    [at_home] = here.run("lodger")
    here.wait("RUNNING", at_home)
    [arn] = add(here, "--type", "t3.micro")
    name = nodes(here)[arn]["name"]
    with_the_node = traces(here, name)
    task = start(here, "lodger", arn)
    here.wait("RUNNING", task)
    refused = here.estiva("node", "remove", name, check=False)
    assert refused.returncode == 1 and "running tasks" in refused.stderr and "--force" in refused.stderr
    assert here.task(task)["lastStatus"] == "RUNNING" and instance(here, arn)["status"] == "ACTIVE"
    assert "1 task" in here.estiva("node", "remove", name, "--force").stdout
    assert nodes(here) == {} and instance(here, arn)["status"] == "INACTIVE"
    assert here.task(task)["lastStatus"] == "STOPPED"
    assert not processes(name) and not (here.data / "nodes" / name).exists()
    after = traces(here, name)
    for kind in after:
        assert set(after[kind]) < set(with_the_node[kind]), kind
    # What is left is the first node's.
    assert len(after["interfaces"]) == 2 and len(after["routes"]) == 1 and after["directories"] == [here.name]
    assert here.task(at_home)["lastStatus"] == "RUNNING"
    refused = here.estiva("node", "remove", name, check=False)
    assert refused.returncode == 1 and name in refused.stderr


def test_a_removal_that_was_cut_short_is_finished_by_the_next_start(new_installation):
    here = new_installation()
    gone, kept = add(here, "--type", "t3.small", "--count", "2")
    here.register("left", [SLEEPER])
    task = start(here, "left", gone)
    here.wait("RUNNING", task)
    name = nodes(here)[gone]["name"]
    here.down("--keep-tasks")
    file = here.data / "nodes" / name / "node.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "leaving": True}))
    # As a crash leaves it that came when the record was gone already.
    (here.data / "nodes" / "i-00000000000000000" / "tasks").mkdir(parents=True)
    here.up()
    assert set(nodes(here)) == {kept} and not processes(name)
    assert sorted(path.name for path in (here.data / "nodes").iterdir()) == sorted(["fleet.json", nodes(here)[kept]["name"]])
    assert not any(name in trace for trace in traces(here, name)["mounts"])


def test_an_empty_node_is_removed_without_force_and_another_takes_its_place(new_installation):
    here = new_installation()
    [arn] = add(here)
    name, address = nodes(here)[arn]["name"], nodes(here)[arn]["address"]
    assert f"{name} is gone" in here.estiva("node", "remove", name).stdout
    [arn] = add(here)
    assert nodes(here)[arn]["name"] != name and nodes(here)[arn]["address"] == address


def test_down_leaves_nothing_of_nodes_and_up_brings_them_back(new_installation):
    here = new_installation()
    arns = add(here, "--type", "t3.small", "--count", "2")
    names = [node["name"] for node in nodes(here).values()]
    assert all(traces(here, *names).values())
    here.register("ephemeral", [SLEEPER])
    tasks = [start(here, "ephemeral", arn) for arn in arns]
    for task in tasks:
        here.wait("RUNNING", task)
    assert "stopped 2 tasks" in here.down().stdout
    after = traces(here, *names)
    assert not any(after.values()), after
    here.up()
    assert connected(here) >= set(arns)
    for task in tasks:
        here.wait("STOPPED", task)


# So long that nobody else sleeps as long.
LONG = str(100_000 + os.getpid())
STUBBORN = container(command=["sleep", LONG], stopTimeout=110)


def test_a_node_that_does_not_go_holds_up_no_other(new_installation):
    here = new_installation()
    one, other = add(here, "--count", "2")
    here.register("stubborn", [STUBBORN])
    here.wait("RUNNING", start(here, "stubborn", one))
    name = nodes(here)[one]["name"]
    command = [BINARY, "--data", here.data, "--listen", f"127.0.0.1:{here.port}", "node", "remove", "--force", name]
    removal = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    file = here.data / "nodes" / name / "node.json"
    eventually(lambda: json.loads(file.read_text())["leaving"] and not processes(name, "agent"))
    again = here.estiva("node", "remove", "--force", name, check=False)
    assert again.returncode != 0 and "is being removed already" in again.stderr
    [third] = add(here)
    here.estiva("node", "remove", nodes(here)[other]["name"])
    assert connected(here) >= {third} and removal.poll() is None
    kill(processes(LONG, "sleep"))
    assert "is gone" in removal.communicate(timeout=60)[0]
    assert not file.parent.exists() and set(nodes(here)) == {third}


def test_down_ends_every_nodes_tasks_though_one_nodes_do_not_end(new_installation):
    here = new_installation()
    [first] = connected(here)
    further = add(here, "--count", "2")
    here.register("stubborn", [STUBBORN])
    here.register("willing", [SLEEPER])
    names = [node["name"] for node in nodes(here).values()]
    slowest = min(further, key=lambda arn: nodes(here)[arn]["name"])
    tasks = [start(here, "stubborn" if arn == slowest else "willing", arn) for arn in [first, *further]]
    for task in tasks:
        here.wait("RUNNING", task)
    command = [BINARY, "--data", here.data, "--listen", f"127.0.0.1:{here.port}", "down"]
    down = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    eventually(lambda: len(here.processes("shim")) == 1)
    assert down.poll() is None
    kill(processes(LONG, "sleep"))
    assert "stopped 3 tasks" in down.communicate(timeout=60)[0]
    after = traces(here, *names)
    assert not any(after.values()), after


def test_a_cluster_of_the_nodes_own(new_installation):
    here = new_installation()
    [arn] = add(here, "--cluster", "ships", "--type", "t3.small")
    here.register("aboard", [container(command=["true"])])
    [task] = here.run("aboard", cluster="ships")
    assert here.wait("STOPPED", task, "ships")["containerInstanceArn"] == arn
    assert instance(here, arn, "ships")["registeredResources"]


def test_only_the_owner_reaches_what_nodes_keep(pair):
    here, one, _ = pair
    mode = lambda path: path.stat().st_mode & 0o077
    name = nodes(here)[one]["name"]
    for path in (here.data / "nodes", here.data / "nodes" / name, here.data / "nodes" / name / "node.json", here.run_dir / "up.sock"):
        assert mode(path) == 0, path


def test_a_remote_machine_joins_as_an_external_one(new_installation, tmp_path, image_files):
    here, node = new_installation(), Installation(tmp_path / "node")
    node.estiva("image", "import", str(image_files["busybox"]))
    environment = here.node_environment()
    more = ["--external", "--az", "cellar-1", "--instance-type", "rack-7", "--attribute", "rack=7", "--attribute", "dry", "--task-slots", "3"]
    command = [BINARY, "--data", node.data, "agent", "--server", here.endpoint, *more]
    agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        [first] = here.ecs.list_container_instances(filter="attribute:ecs.capability.fargate !exists and attribute:rack !exists")["containerInstanceArns"]
        [arn] = eventually(lambda: list(connected(here) - {first}) or None)
        described = instance(here, arn)
        offered = attributes(described)
        assert "ecs.capability.external" in offered and "dry" in offered
        assert (offered["rack"], offered["ecs.instance-type"], offered["ecs.availability-zone"]) == ("7", "rack-7", "cellar-1")
        assert described["ec2InstanceId"].startswith("mi-")
        here.register("abroad", [container(command=["true"])], requiresCompatibilities=["EC2", "EXTERNAL"])
        [task] = here.run("abroad", launchType="EXTERNAL")
        ended = here.wait("STOPPED", task)
        assert (ended["containerInstanceArn"], ended["launchType"]) == (arn, "EXTERNAL")
        assert ended["containers"][0]["exitCode"] == 0
        for task in here.run("abroad", launchType="EC2", count=4):
            assert here.task(task)["containerInstanceArn"] == first
    finally:
        agent.terminate()
        assert agent.wait(timeout=60) == 0
        node.down()


def test_an_agent_that_dies_before_it_keeps_its_registration_is_no_second_node(new_installation, tmp_path):
    here, node = new_installation(), Installation(tmp_path / "node")
    [first] = connected(here)
    environment = here.node_environment()
    marker = tmp_path / "reached"
    command = [BINARY, "--data", node.data, "agent", "--server", here.endpoint]
    all_of_them = lambda: set(here.ecs.list_container_instances()["containerInstanceArns"])
    try:
        died = subprocess.run(command, env={**environment, "ESTIVA_FAIL_POINT": f"registered={marker}"}, stderr=subprocess.DEVNULL, timeout=60)
        assert died.returncode == -signal.SIGABRT and marker.exists()
        [arn] = all_of_them() - {first}
        agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        eventually(lambda: arn in connected(here))
        assert all_of_them() == {first, arn}
    finally:
        agent.terminate()
        assert agent.wait(timeout=60) == 0
        node.down()
