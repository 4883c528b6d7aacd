"""What a node serves to its containers: metadata, credentials and protection, to each task its own alone."""

import json
import re

import boto3
import pytest
from botocore.exceptions import ClientError
from inside import Inside
from installation import container, eventually, files_that_contain

ADDRESS = "http://169.254.170.2"
NETWORK = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}}
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/crew/navigator"


@pytest.fixture
def inside(estiva, tmp_path):
    """Makes tasks that obey, and stops them."""
    made = []

    def make(family, **more):
        made.append(Inside(more.pop("here", estiva), family, tmp_path / f"told{len(made)}", **more))
        return made[-1]

    yield make
    for task in made:
        task.end()


def get(task, path):
    answer = task.request(f"{ADDRESS}{path}")
    assert answer.status == 200, answer
    return answer.json


RICH = {
    "cpu": 128,
    "dockerLabels": {"deck": "lower"},
    "portMappings": [{"containerPort": 8080}],
    "healthCheck": {"command": ["CMD", "true"], "interval": 5},
    "logConfiguration": {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "/endpoints", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"},
    },
}


@pytest.mark.parametrize("mode", ["bridge", "awsvpc"])
def test_metadata_version_4(inside, mode):
    beside = container("beside", command=["sleep", "1000"], memory=32, stopTimeout=2)
    run = {"tags": [{"key": "fleet", "value": "north"}], **(NETWORK if mode == "awsvpc" else {})}
    asker = inside("metadata", containers=[beside], settings=RICH, run=run, cpu="256", memory="256", networkMode=mode)
    eventually(lambda: asker.estiva.task(asker.arn)["healthStatus"] == "HEALTHY")
    described = {it["name"]: it for it in asker.estiva.task(asker.arn)["containers"]}
    url = asker.environment()["ECS_CONTAINER_METADATA_URI_V4"]
    assert re.fullmatch(f"{ADDRESS}/v4/[0-9a-f]+", url)

    own = json.loads(asker.sh(f"wget -q -O - {url}"))
    assert (own["Name"], own["Image"], own["Type"]) == ("main", "busybox", "NORMAL")
    assert own["ContainerARN"] == described["main"]["containerArn"] and own["DockerId"] == described["main"]["runtimeId"]
    assert own["ImageID"] == described["main"]["imageDigest"]
    assert own["DockerName"].startswith("ecs-metadata-")
    assert own["Labels"]["deck"] == "lower" and own["Labels"]["com.amazonaws.ecs.task-arn"] == asker.arn
    assert (own["DesiredStatus"], own["KnownStatus"]) == ("RUNNING", "RUNNING")
    assert own["Limits"] == {"CPU": 128, "Memory": 64}
    assert own["Health"]["status"] == "HEALTHY"
    assert (own["LogDriver"], own["LogOptions"]["awslogs-group"]) == ("awslogs", "/endpoints")
    [network] = own["Networks"]
    address = asker.sh("ip -4 addr show eth0")
    assert network["NetworkMode"] == mode and f"inet {network['IPv4Addresses'][0]}/" in address
    if mode == "bridge":
        [port], [binding] = own["Ports"], described["main"]["networkBindings"]
        assert port == {"ContainerPort": 8080, "HostPort": binding["hostPort"], "HostIp": binding["bindIP"], "Protocol": "tcp"}
    else:
        assert f"ether {network['MACAddress']}" in asker.sh("ip link show eth0")

    task = json.loads(asker.sh(f"wget -q -O - {url}/task"))
    assert task["TaskARN"] == asker.arn and task["Cluster"] == asker.task["clusterArn"]
    assert (task["Family"], task["LaunchType"], task["KnownStatus"]) == ("metadata", "EC2", "RUNNING")
    assert task["Revision"] == asker.task["taskDefinitionArn"].rsplit(":", 1)[-1]
    assert task["Limits"] == {"CPU": 0.25, "Memory": 256}
    assert task["AvailabilityZone"] == asker.task["availabilityZone"]
    assert {it["Name"]: it["DockerId"] for it in task["Containers"]} == {it["name"]: it["runtimeId"] for it in described.values()}
    assert "TaskTags" not in task and task["PullStartedAt"] <= task["PullStoppedAt"]
    tagged = json.loads(asker.sh(f"wget -q -O - {url}/taskWithTags"))
    assert tagged["TaskTags"] == {"fleet": "north"} and tagged["TaskARN"] == asker.arn


def test_stats(inside):
    beside = container("beside", command=["sleep", "1000"], memory=32, stopTimeout=2)
    asker = inside("stats", containers=[beside])
    path = asker.environment()["ECS_CONTAINER_METADATA_URI_V4"].removeprefix(ADDRESS)
    own, every = get(asker, f"{path}/stats"), get(asker, f"{path}/task/stats")
    ids = {it["name"]: it["runtimeId"] for it in asker.estiva.task(asker.arn)["containers"]}
    assert set(every) == set(ids.values()) and own["id"] == ids["main"]
    assert own["memory_stats"]["limit"] == 64 << 20 and 0 < own["memory_stats"]["usage"] < 64 << 20
    assert every[ids["beside"]]["memory_stats"]["limit"] == 32 << 20
    assert own["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and own["networks"]["eth0"]["rx_bytes"] > 0
    later = get(asker, f"{path}/stats")
    assert later["cpu_stats"]["cpu_usage"]["total_usage"] > own["cpu_stats"]["cpu_usage"]["total_usage"]
    assert later["precpu_stats"]["cpu_usage"]["total_usage"] >= own["cpu_stats"]["cpu_usage"]["total_usage"]


def test_metadata_version_3(inside):
    asker = inside("version-3")
    path = asker.environment()["ECS_CONTAINER_METADATA_URI"].removeprefix(ADDRESS)
    assert path.startswith("/v3/")
    own, task = get(asker, path), get(asker, f"{path}/task")
    assert own["Name"] == "main" and task["TaskARN"] == asker.arn
    # What version 4 has brought.
    assert "ContainerARN" not in own and "LaunchType" not in task
    assert get(asker, f"{path}/stats")["id"] == own["DockerId"]


@pytest.mark.parametrize("mode", ["bridge", "awsvpc"])
def test_metadata_version_2(inside, mode):
    more = {"run": NETWORK} if mode == "awsvpc" else {}
    asker, other = inside("version-2", networkMode=mode, **more), inside("version-2-other", networkMode=mode, **more)
    task = get(asker, "/v2/metadata")
    assert task["TaskARN"] == asker.arn and get(other, "/v2/metadata")["TaskARN"] == other.arn
    [own] = task["Containers"]
    assert get(asker, f"/v2/metadata/{own['DockerId']}")["Name"] == "main"
    assert list(get(asker, "/v2/stats")) == [own["DockerId"]]
    # The path has no secret in it: only where the question comes from tells tasks apart.
    for path in ("metadata", "stats"):
        assert other.request(f"{ADDRESS}/v2/{path}/{own['DockerId']}").status == 404


def test_each_task_sees_its_own_alone(inside):
    victim, thief = inside("victim", taskRoleArn=ROLE), inside("thief", taskRoleArn=ROLE)
    there = victim.environment()
    uris = [there["ECS_CONTAINER_METADATA_URI_V4"] + path for path in ("", "/task", "/taskWithTags", "/stats", "/task/stats")]
    uris += [there["ECS_CONTAINER_METADATA_URI"], f"{there['ECS_AGENT_URI']}/task-protection/v1/state"]
    uris += [ADDRESS + there["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]]
    for uri in uris:
        assert victim.request(uri).status == 200, uri
        answer = thief.request(uri)
        assert answer.status == 403, (uri, answer)
        assert victim.id not in answer.text and "AccessKeyId" not in answer.text and "Token" not in answer.text
    assert victim.request(f"{ADDRESS}/").status == thief.request(f"{ADDRESS}/v4").status == 404


def test_unknown_ids(inside):
    asker = inside("unknown", taskRoleArn=ROLE)
    for path in ("/v3/0123456789abcdef", "/v4/0123456789abcdef", "/v4/0123456789abcdef/task", "/api/0123456789abcdef/task-protection/v1/state"):
        assert asker.request(ADDRESS + path).status == 404, path
    own = asker.environment()["ECS_CONTAINER_METADATA_URI_V4"]
    assert asker.request(f"{own}/secrets").status == 404
    refused = asker.request(f"{ADDRESS}/v2/credentials/00000000-0000-0000-0000-000000000000")
    assert (refused.status, refused.json["code"]) == (400, "InvalidIdInRequest")
    # An id of one kind does not open another.
    assert asker.request(f"{ADDRESS}/v2/credentials/{own.rsplit('/', 1)[-1]}").status == 400


@pytest.mark.parametrize("host", ["metadata.example", "169.254.170.2.evil.example", "192.0.2.1", ""])
def test_a_host_header_that_names_another_host(inside, host):
    asker = inside("host-header", taskRoleArn=ROLE)
    answer = asker.request(ADDRESS + asker.environment()["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], Host=host)
    assert answer.status == 403 and "AccessKeyId" not in answer.text


def test_too_many_requests_of_one_task(inside):
    asker, other = inside("flood"), inside("flood-other")
    path = asker.environment()["ECS_CONTAINER_METADATA_URI_V4"].removeprefix(ADDRESS)
    request = f"GET {path} HTTP/1.1\r\nHost: 169.254.170.2\r\n\r\n"
    answers = asker.send("169.254.170.2", request.encode() * 399 + request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())
    statuses = re.findall(r"HTTP/1\.1 (\d+)", answers)
    assert len(statuses) == 400 and set(statuses) == {"200", "429"}
    assert statuses[:60] == ["200"] * 60
    # Another task has its own allowance, and the first gets it back.
    assert get(other, other.environment()["ECS_CONTAINER_METADATA_URI_V4"].removeprefix(ADDRESS))["Name"] == "main"
    eventually(lambda: asker.request(ADDRESS + path).status == 200)


def test_network_mode_host_shows_a_token(inside):
    asker = inside("endpoint-host", networkMode="host", taskRoleArn=ROLE)
    variables = asker.environment()
    uri, token = variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    assert uri.startswith("http://127.0.0.1:") and "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in variables
    assert asker.request(uri, Authorization=token).json["RoleArn"] == ROLE
    for headers in ({}, {"Authorization": ""}, {"Authorization": token[:-1]}, {"Authorization": token.upper() + "0"}):
        answer = asker.request(uri, **headers)
        assert answer.status == 403 and "AccessKeyId" not in answer.text, headers
    assert asker.request(variables["ECS_CONTAINER_METADATA_URI_V4"] + "/task").json["TaskARN"] == asker.arn
    # Where the question comes from counts too.
    stranger = inside("endpoint-stranger")
    answer = stranger.request(f"{ADDRESS}/{uri.split('/', 3)[3]}", Authorization=token)
    assert answer.status == 403 and "AccessKeyId" not in answer.text


def test_network_mode_none_is_told_of_nothing(inside):
    variables = inside("endpoint-none", networkMode="none", taskRoleArn=ROLE).environment()
    assert not [name for name in variables if name.startswith(("ECS_", "AWS_CONTAINER_"))]


def session(estiva, service, credentials):
    return boto3.client(
        service,
        endpoint_url=estiva.endpoint,
        region_name="us-east-1",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )


def credentials_of(task):
    return get(task, task.environment()["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])


def test_credentials_are_the_task_roles(estiva, inside):
    asker = inside("credentials", taskRoleArn=ROLE)
    credentials = credentials_of(asker)
    assert credentials["RoleArn"] == ROLE and credentials["AccessKeyId"].startswith("ASIA")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", credentials["Expiration"])
    identity = session(estiva, "sts", credentials).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/navigator/{asker.id}" and identity["Account"] == ACCOUNT
    ecs = session(estiva, "ecs", credentials)
    assert ecs.describe_tasks(tasks=[asker.arn])["tasks"][0]["taskArn"] == asker.arn
    for denied in (
        lambda: ecs.run_task(taskDefinition="credentials"),
        lambda: ecs.stop_task(task=asker.arn),
        lambda: ecs.register_task_definition(family="mine", containerDefinitions=[container(privileged=True)]),
        lambda: ecs.submit_task_state_change(task=asker.arn, status="STOPPED"),
        lambda: ecs.discover_poll_endpoint(),
    ):
        with pytest.raises(ClientError) as refusal:
            denied()
        assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"


def test_credentials_that_were_changed_are_refused(estiva, inside):
    credentials = credentials_of(inside("forged", taskRoleArn=ROLE))
    other = credentials_of(inside("forged-other", taskRoleArn=ROLE))
    token = credentials["Token"]
    middle = len(token) // 2
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    changes = [{"Token": it} for it in (changed, token[:-4], "", other["Token"])]
    for change in (*changes, *({name: other[name]} for name in ("AccessKeyId", "SecretAccessKey"))):
        with pytest.raises(ClientError) as refusal:
            session(estiva, "sts", {**credentials, **change}).get_caller_identity()
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), change
    assert session(estiva, "sts", credentials).get_caller_identity()


@pytest.mark.parametrize("role", [f"arn:aws:iam::{ACCOUNT}:role/ecsInstanceRole", "arn:aws:iam::999999999999:role/navigator"], ids=["nodes", "foreign"])
def test_a_role_that_is_not_for_tasks_gives_no_credentials(inside, role):
    asker = inside("not-for-tasks", taskRoleArn=role)
    assert not [name for name in asker.environment() if name.startswith("AWS_CONTAINER_")]


def test_an_overridden_role_takes_the_place_of_the_task_definitions(estiva, inside):
    asker = inside("role-override", taskRoleArn=ROLE, run={"overrides": {"taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/stoker"}})
    credentials = credentials_of(asker)
    assert credentials["RoleArn"].endswith(":role/stoker")
    assert "/stoker/" in session(estiva, "sts", credentials).get_caller_identity()["Arn"]


def test_credentials_survive_the_agent_and_are_never_written_down(new_installation, inside):
    here = new_installation()
    asker = inside("survivor", here=here, taskRoleArn=ROLE)
    uri = ADDRESS + asker.environment()["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
    before = asker.request(uri).json
    [agent] = here.kill("agent")
    eventually(lambda: here.processes("agent") not in ([], [agent]))

    def served():
        # Until the agent listens, and until it has been sent them again.
        try:
            answer = asker.request(uri)
        except Exception:  # noqa: BLE001 - a connection that is refused is no answer
            return None
        return answer.json if answer.status == 200 else None

    after = eventually(served)
    assert session(here, "sts", after).get_caller_identity()["Arn"].endswith(f"/navigator/{asker.id}")
    assert get(asker, asker.environment()["ECS_CONTAINER_METADATA_URI_V4"].removeprefix(ADDRESS))["Name"] == "main"
    secrets = {credentials[name].encode() for credentials in (before, after) for name in ("SecretAccessKey", "Token")}
    assert "record.json" in {path.name for path in files_that_contain(here.data, [asker.id.encode()])}
    assert files_that_contain(here.data, secrets) == []


def test_task_protection_is_for_tasks_of_services(inside):
    asker, without = inside("protected", taskRoleArn=ROLE), inside("unprotected")
    uri = f"{asker.environment()['ECS_AGENT_URI']}/task-protection/v1/state"
    state = asker.request(uri)
    assert (state.status, state.json["protection"]["ProtectionEnabled"], state.json["protection"]["TaskArn"]) == (200, False, asker.arn)
    failure = asker.request(uri, "PUT", {"ProtectionEnabled": True, "ExpiresInMinutes": 10}).json["failure"]
    assert (failure["Arn"], failure["Reason"]) == (asker.arn, "TASK_NOT_VALID")
    assert asker.request(uri).json["protection"]["ProtectionEnabled"] is False
    for body in (b"{", b"", {"ExpiresInMinutes": 10}, {"ProtectionEnabled": "yes"}, {"ProtectionEnabled": True, "ExpiresInMinutes": "soon"}):
        refused = asker.request(uri, "PUT", body)
        assert (refused.status, refused.json["error"]["Code"]) == (400, "InvalidParameterException"), body
    assert asker.request(uri, "PUT", {"ProtectionEnabled": True, "ExpiresInMinutes": 0}).status == 400
    assert asker.request(uri, "DELETE").status == 405
    # It is the task's own role that signs.
    unsigned = without.request(f"{without.environment()['ECS_AGENT_URI']}/task-protection/v1/state")
    assert (unsigned.status, unsigned.json["error"]["Code"]) == (403, "AccessDeniedException")
