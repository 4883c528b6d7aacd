"""Identities that reach beyond what is theirs: sessions of tasks' roles, the node's key, forged ARNs, tokens and signatures."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from inside import Inside
from installation import container, eventually

ADDRESS = "http://169.254.170.2"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/crew/navigator"
TARGETS = {"ecs": "AmazonEC2ContainerServiceV20141113", "logs": "Logs_20140328"}
OF_ROLES = {
    "ecs": {"DescribeTaskDefinition", "DescribeTasks", "GetTaskProtection", "UpdateTaskProtection"},
    "logs": {"CreateLogGroup", "CreateLogStream", "PutLogEvents"},
}
OF_NODES = {
    "ecs": {
        "CreateCluster", "DeregisterContainerInstance", "DiscoverPollEndpoint", "ListTagsForResource", "RegisterContainerInstance",
        "SubmitAttachmentStateChanges", "SubmitContainerStateChange", "SubmitTaskStateChange",
        "UpdateContainerInstancesState",
    },
    "logs": {"CreateLogGroup", "CreateLogStream", "PutLogEvents"},
}  # fmt: skip


@pytest.fixture
def inside(estiva, tmp_path):
    """Makes tasks that obey, and stops them."""
    made = []

    def make(family, **more):
        made.append(Inside(estiva, family, tmp_path / f"told{len(made)}", **more))
        return made[-1]

    yield make
    for task in made:
        task.end()


def session_of(estiva, task):
    """Clients with the credentials of the task's role."""
    given = task.request(ADDRESS + task.environment()["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]).json
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), (given["AccessKeyId"], given["SecretAccessKey"], given["Token"])))
    return boto3.Session(region_name="us-east-1", **keys)


def client_of(estiva, session, service):
    return session.client(service, endpoint_url=estiva.endpoint)


def denied(call, **arguments):
    with pytest.raises(ClientError) as refusal:
        call(**arguments)
    error = refusal.value.response["Error"]
    assert error["Code"] == "AccessDeniedException", error
    return error["Message"]


def post(estiva, credentials, service, operation, body=b"{}", headers=()):
    """The code of the answer to a request that is signed by hand; None if it was not refused."""
    headers = {"X-Amz-Target": f"{TARGETS[service]}.{operation}", "Content-Type": "application/x-amz-json-1.1", **dict(headers)}
    request = AWSRequest("POST", f"{estiva.endpoint}/", headers=headers, data=body)
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    try:
        urllib.request.urlopen(urllib.request.Request(request.url, body, dict(request.headers.items())), timeout=30).close()
    except urllib.error.HTTPError as error:
        answer = json.loads(error.read())
        return answer["__type"].rsplit("#", 1)[-1]
    return None


def test_a_role_reaches_its_own_task_alone(estiva, inside):
    secret = [{"name": "PASSWORD", "value": "hunter2-of-a-stranger"}]
    victim = inside("identity-victim", settings={"environment": secret})
    thief = inside("identity-thief", taskRoleArn=ROLE)
    session = session_of(estiva, thief)
    ecs = client_of(estiva, session, "ecs")
    user = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/navigator/{thief.id} is not authorized to perform: "

    assert ecs.describe_tasks(tasks=[thief.arn])["tasks"][0]["taskArn"] == thief.arn
    assert ecs.describe_task_definition(taskDefinition=thief.task["taskDefinitionArn"])["taskDefinition"]["family"] == "identity-thief"
    assert ecs.get_task_protection(cluster="default", tasks=[thief.id])["protectedTasks"][0]["taskArn"] == thief.arn
    ecs.update_task_protection(cluster="default", tasks=[thief.id], protectionEnabled=False)

    for tasks in ([victim.arn], [victim.id], [thief.arn, victim.arn], ["0" * 32], []):
        message = denied(ecs.describe_tasks, tasks=tasks)
        assert message.startswith(f"{user}ecs:DescribeTasks on resource: arn:aws:ecs:us-east-1:{ACCOUNT}:task/default/"), message
        assert message.endswith(" because no identity-based policy allows the ecs:DescribeTasks action"), message
        denied(ecs.update_task_protection, cluster="default", tasks=tasks or [victim.id], protectionEnabled=True, expiresInMinutes=2880)
        denied(ecs.get_task_protection, cluster="default", tasks=tasks)
    for definition in (victim.task["taskDefinitionArn"], "identity-victim", "identity-victim:1", "not-there", "not-there:1"):
        assert "hunter2" not in denied(ecs.describe_task_definition, taskDefinition=definition)
    denied(ecs.execute_command, task=thief.arn, command="id", interactive=True)
    denied(ecs.list_tasks)

    estiva.stop(thief.arn)
    estiva.wait("STOPPED", thief.arn)
    denied(ecs.describe_tasks, tasks=[thief.arn])
    assert client_of(estiva, session, "sts").get_caller_identity()["Arn"].endswith(thief.id)


def test_a_role_writes_into_its_own_streams_alone(estiva, inside):
    options = {"awslogs-group": "/identity", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"}
    logging = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
    victim, thief = inside("identity-writer", settings=logging), inside("identity-forger", settings=logging, taskRoleArn=ROLE)
    owner = estiva.logs
    stream = f"t/main/{victim.id}"
    eventually(lambda: owner.describe_log_streams(logGroupName="/identity", logStreamNamePrefix=stream)["logStreams"])
    owner.create_log_group(logGroupName="/identity-other")
    logs = client_of(estiva, session_of(estiva, thief), "logs")
    now = int(victim.task["createdAt"].timestamp() * 1000)
    events = [{"timestamp": now, "message": "forged"}]

    own = f"mine/{thief.id}"
    logs.create_log_stream(logGroupName="/identity", logStreamName=own)
    logs.put_log_events(logGroupName="/identity", logStreamName=own, logEvents=events)
    assert estiva.messages("/identity", own) == ["forged"]

    for group, name in (
        ("/identity", stream), ("/identity", "mine"), ("/identity", f"{thief.id}/x"), ("/identity-other", own), ("/identity-other", thief.id),
        ("/nowhere", own),
    ):  # fmt: skip
        denied(logs.create_log_stream, logGroupName=group, logStreamName=name)
        denied(logs.put_log_events, logGroupName=group, logStreamName=name, logEvents=events)
    denied(logs.create_log_group, logGroupName="/identity-mine")
    denied(logs.get_log_events, logGroupName="/identity", logStreamName=stream)
    denied(logs.filter_log_events, logGroupName="/identity")
    denied(logs.delete_log_group, logGroupName="/identity")
    assert "forged" not in estiva.messages("/identity", stream)
    owner.delete_log_group(logGroupName="/identity-other")


def test_every_operation_but_a_few_is_denied(estiva, inside):
    asker = inside("identity-walk", taskRoleArn=ROLE)
    role = session_of(estiva, asker).get_credentials().get_frozen_credentials()
    node = estiva.client("ecs", key="node")._request_signer._credentials.get_frozen_credentials()
    for credentials, allowed in ((role, OF_ROLES), (node, OF_NODES)):
        for service in TARGETS:
            operations = boto3.client(service, region_name="us-east-1").meta.service_model.operation_names
            codes = {it: post(estiva, credentials, service, it) for it in operations if it not in allowed[service]}
            # What is newer than Estiva's models it does not know.
            others = {it: code for it, code in codes.items() if code not in ("AccessDeniedException", "UnknownOperationException")}
            assert others == {} and "AccessDeniedException" in codes.values()


def running(marker):
    def has(path):
        try:
            return marker.encode() in (path / "cmdline").read_bytes()
        except OSError:
            return False

    return [path.name for path in Path("/proc").glob("[0-9]*") if has(path)]


def test_a_task_that_is_reported_stopped_is_stopped(estiva):
    estiva.register("identity-reported", [container(command=["sleep", "92837465"], stopTimeout=2)])
    [arn] = estiva.run("identity-reported")
    estiva.wait("RUNNING", arn)
    assert running("92837465")
    # As by somebody else who has the node's key.
    estiva.client("ecs", key="node").submit_task_state_change(cluster="default", task=arn, status="STOPPED", reason="forged")
    assert estiva.task(arn)["lastStatus"] == "STOPPED"
    eventually(lambda: not running("92837465"))


def test_an_arn_that_is_none_makes_nothing(estiva):
    base = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster"
    for name in (
        f"{base}/../identity-x", f"{base}//identity-x", f"{base}/a/identity-x", f"{base}/identity-x/", f"{base}/%2e%2e/identity-x",
        f"arn:aws-cn:ecs:us-east-1:{ACCOUNT}:cluster/identity-x", f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/identity-x",
        "arn:aws:ecs:us-east-1:111111111111:cluster/identity-x", f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/identity-x",
        "../identity-x", "identity-x\n", "identity-x/",
    ):  # fmt: skip
        with pytest.raises(ClientError) as refusal:
            estiva.ecs.create_cluster(clusterName=name)
        assert refusal.value.response["Error"]["Code"] == "InvalidParameterException", name
    assert not [arn for arn in estiva.ecs.list_clusters()["clusterArns"] if arn.endswith("identity-x")]


def test_a_page_token_that_was_not_given_out(estiva):
    ecs = estiva.ecs
    names = [f"identity-page-{number}" for number in range(3)]
    for name in names:
        ecs.create_cluster(clusterName=name)
    token = ecs.list_clusters(maxResults=1)["nextToken"]
    assert ecs.list_clusters(maxResults=1, nextToken=token)["clusterArns"]
    for strange in ("YQ", "AA", token[:-2], token + "AA", "B" + token[1:], token.swapcase()):
        with pytest.raises(ClientError) as refusal:
            ecs.list_clusters(nextToken=strange)
        assert refusal.value.response["Error"]["Code"] == "InvalidParameterException", strange
    # One of another list.
    with pytest.raises(ClientError):
        ecs.list_task_definitions(nextToken=token)
    pages = ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1})
    listed = [arn.rsplit("/", 1)[-1] for page in pages for arn in page["clusterArns"]]
    assert set(names) <= set(listed) and len(listed) == len(set(listed))
    for name in names:
        ecs.delete_cluster(cluster=name)


def test_a_signature_that_leaves_the_payload_out(estiva):
    keys = estiva.client("ecs")._request_signer._credentials.get_frozen_credentials()
    owner = Credentials(keys.access_key, keys.secret_key)
    body = b'{"clusterName":"identity-unsigned"}'
    unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert post(estiva, owner, "ecs", "ListClusters") is None
    assert post(estiva, owner, "ecs", "CreateCluster", body, unsigned) == "InvalidSignatureException"
    assert post(estiva, owner, "logs", "DescribeLogGroups", b"{}", unsigned) == "InvalidSignatureException"
    assert not [arn for arn in estiva.ecs.list_clusters()["clusterArns"] if arn.endswith("/identity-unsigned")]
