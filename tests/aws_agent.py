"""A node with AWS's agent as version 1.105.1 speaks: on the wire it is that agent, but it runs no containers.

What it does with a task is in `behave`. By default a task runs as soon as it comes and stops when it is told to; a test that sets
`behave = None` reports by itself.
"""

import contextlib
import functools
import json
import re
import threading
import time
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timezone
from pathlib import Path

import boto3
import websocket
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from installation import eventually

VERSION, HASH, DOCKER = "1.105.1", "*fd4a1de2", "DockerVersion: 20.10.24+dfsg1"
DIGEST = "sha256:" + "ab" * 32
CAPABILITIES = [
    "com.amazonaws.ecs.capability.privileged-container",
    *(f"com.amazonaws.ecs.capability.docker-remote-api.1.{minor}" for minor in range(17, 33)),
    *(f"com.amazonaws.ecs.capability.logging-driver.{driver}" for driver in
      ["awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "none", "splunk", "syslog"]),
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    *(f"ecs.capability.{name}" for name in [
        "aws-appmesh", "container-health-check", "container-ordering", "container-restart-policy", "docker-plugin.local",
        "env-files.s3", "execution-role-awslogs", "execution-role-ecr-pull", "firelens.fluentbit", "firelens.fluentd",
        "full-sync", "pid-ipc-namespace-sharing", "private-registry-authentication.secretsmanager",
        "secrets.asm.environment-variables", "secrets.ssm.environment-variables", "task-cpu-mem-limit",
    ]),
]
# What dockerd 20.10 takes, by driver; the others take what these tests send.
OF_EVERY_DRIVER = {"mode", "max-buffer-size"}
LOG_OPTIONS = {
    "awslogs": {
        "awslogs-create-group", "awslogs-credentials-endpoint", "awslogs-datetime-format", "awslogs-endpoint",
        "awslogs-force-flush-interval-seconds", "awslogs-group", "awslogs-max-buffered-events", "awslogs-multiline-pattern",
        "awslogs-region", "awslogs-stream", "tag",
    },
    "json-file": {"max-file", "max-size", "compress", "env", "env-regex", "labels", "tag"},
}


def seconds():
    """The time as the agent writes it: with a fraction, always."""
    return int(time.time()) + 0.125


def runs(agent, task):
    """Does what is wanted of a task, and reports it as the agent does."""
    if task["desiredStatus"] == "STOPPED":
        agent.report(task, "STOPPED", exitCode=137)
    elif refusal := agent.refusal(task):
        agent.report(task, "STOPPED", why=refusal)
    else:
        agent.report(task, "RUNNING")


class AwsAgent:
    def __init__(self, here, directory, cluster="default", attributes=(), document=None, cpu=1024, memory=1000):
        self.here, self.cluster = here, cluster
        self.custom, self.document, self.size = list(attributes), document, (cpu, memory)
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.key = json.loads((here.data / "credentials.json").read_text())["node"]
        self.behave, self.disk = runs, threading.Lock()
        self.tasks, self.payloads, self.credentials, self.manifests, self.discarded = {}, [], {}, [], []
        self.ignored, self.stopped_by_manifest, self.acks, self.errors = [], [], [], []
        self.acs = self.tcs = self.threads = None

    # What survives on the node's disk.

    @property
    def kept(self):
        file = self.directory / "agent.json"
        return json.loads(file.read_text()) if file.exists() else {"arn": None, "sequence": 0}

    def keep(self, **changes):
        with self.disk:
            (self.directory / "new").write_text(json.dumps({**self.kept, **changes}))
            (self.directory / "new").rename(self.directory / "agent.json")

    @property
    def arn(self):
        return self.kept["arn"]

    @functools.cached_property
    def ecs(self):
        return self.here.client("ecs", key="node")

    def call(self, operation, **body):
        """An operation as the agent's own model has it, which is larger than the public one."""
        kind = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}"}
        request = AWSRequest("POST", f"{self.here.endpoint}/", headers=kind, data=json.dumps(body).encode())
        self.sign(request)
        prepared = request.prepare()
        with urllib.request.urlopen(urllib.request.Request(prepared.url, prepared.body, dict(prepared.headers))) as answer:
            return json.load(answer)

    def sign(self, request):
        SigV4Auth(Credentials(self.key["access_key_id"], self.key["secret_access_key"]), "ecs", "us-east-1").add_auth(request)

    # Registration and the two sessions.

    def start(self, send_credentials=True):
        self.register()
        self.connect(send_credentials)
        return self

    def register(self):
        known = self.kept["arn"]
        attributes = [{"name": name} for name in CAPABILITIES] + [{"name": "ecs.os-type", "value": "linux"}]
        if self.document is None:
            attributes += [{"name": "ecs.cpu-architecture", "value": "x86_64"}]
        # Custom attributes come with the first registration alone.
        attributes += [] if known else self.custom
        integer = {"doubleValue": 0.0, "longValue": 0}
        resources = [
            {"name": "CPU", "type": "INTEGER", "integerValue": self.size[0], **integer},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": self.size[1], **integer},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ]
        document = "" if self.document is None else json.dumps(self.document)
        again = {"containerInstanceArn": known} if known else {}
        answer = self.call(
            "RegisterContainerInstance", cluster=self.cluster, totalResources=resources, attributes=attributes, clientToken=str(uuid.uuid4()),
            instanceIdentityDocument=document, instanceIdentityDocumentSignature="", tags=[], platformDevices=[], **again,
        )["containerInstance"]
        echoed = [(it["name"], it.get("value", "")) for it in answer["attributes"]]
        lost = [it for it in attributes if (it["name"], it.get("value", "")) not in echoed]
        assert not lost, f"the agent refuses to run: {lost} did not come back"
        self.keep(arn=answer["containerInstanceArn"])

    def connect(self, send_credentials=True):
        found = self.ecs.discover_poll_endpoint(cluster=self.cluster, containerInstance=self.arn)
        who = {"agentHash": HASH, "agentVersion": VERSION, "dockerVersion": DOCKER}
        cluster = self.arn.rsplit(":", 1)[0] + f":cluster/{self.cluster}"
        self.acs = self.dial(found["endpoint"], {
            "clusterArn": cluster, "containerInstanceArn": self.arn, **who, "protocolVersion": "2",
            "sendCredentials": str(send_credentials).lower(), "seqNum": "1",
        })
        self.tcs = self.dial(found["telemetryEndpoint"], {"cluster": cluster, "containerInstance": self.arn, **who})
        self.threads = [threading.Thread(target=self.listen, args=it, daemon=True) for it in
                        [(self.acs, self.take), (self.tcs, self.take_telemetry)]]
        for thread in self.threads:
            thread.start()
        self.send_telemetry("PublishMetricsRequest", {"metadata": self.metadata(idle=True), "timestamp": seconds()})

    def reconnect(self):
        """As after half an hour: a clean close, and no second wish for credentials."""
        self.kill()
        self.connect(send_credentials=False)

    def kill(self):
        """Both connections are gone; the disk stays."""
        for socket in [self.acs, self.tcs]:
            if socket is not None:
                socket.close()
        for thread in self.threads or []:
            thread.join(20)

    def signed(self, url):
        request = AWSRequest("GET", url)
        self.sign(request)
        return {"Authorization": request.headers["Authorization"], "X-Amz-Date": request.headers["X-Amz-Date"]}

    def dial(self, endpoint, query):
        query = sorted(query.items())
        # Go signs a space as %20 and sends it as a plus sign.
        headers = self.signed(f"{endpoint}/ws?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}")
        url = f"{endpoint.replace('http', 'ws', 1)}/ws?{urllib.parse.urlencode(query)}"
        return websocket.create_connection(url, header=headers, timeout=60, suppress_origin=True)

    def listen(self, socket, take):
        while True:
            try:
                frame = socket.recv()
            except (websocket.WebSocketException, OSError):
                return
            if not frame:
                return
            try:
                envelope = json.loads(frame)
                take(envelope["type"], envelope["message"])
            except (websocket.WebSocketException, OSError):
                return
            except Exception as error:  # a test looks at it: a thread fails alone
                self.errors.append(error)
                raise

    # ACS.

    def say(self, kind, **message):
        self.acs.send(json.dumps({"type": kind, "message": message}))

    def ack(self, message):
        self.say("AckRequest", cluster=message["clusterArn"], containerInstance=self.arn, messageId=message["messageId"])

    def take(self, kind, message):
        if kind == "HeartbeatMessage":
            self.say("HeartbeatAckRequest", messageId=message["messageId"])
        elif kind == "PayloadMessage":
            self.take_payload(message)
        elif kind == "IAMRoleCredentialsMessage":
            credentials = message["roleCredentials"]
            self.credentials[credentials["credentialsId"]] = credentials
            self.say("IAMRoleCredentialsAckRequest", messageId=message["messageId"],
                     credentialsId=credentials["credentialsId"], expiration=credentials["expiration"])
        elif kind == "TaskManifestMessage":
            self.take_manifest(message)
        elif kind == "TaskStopVerificationAck":
            for named in message["stopTasks"]:
                self.stopped_by_manifest.append(named["taskArn"])
                self.tasks.pop(named["taskArn"], None)
        elif kind not in ("CloseMessage", "InactiveInstanceException"):
            self.ignored.append(kind)

    def take_payload(self, message):
        self.keep(sequence=max(self.kept["sequence"], message["seqNum"]))
        self.payloads.append(message)
        for task in message["tasks"]:
            for container in task["containers"]:
                overrides = json.loads(container.get("overrides") or "{}")
                assert set(overrides) <= {"command"}, "UnrecogniedTaskError"
            for kind in ["roleCredentials", "executionRoleCredentials"]:
                if kind in task:
                    self.credentials[task[kind]["credentialsId"]] = task[kind]
            before = self.tasks.get(task["arn"])
            self.tasks[task["arn"]] = task if before is None else {**before, "desiredStatus": task["desiredStatus"]}
            if self.behave and (before is None or before["desiredStatus"] != task["desiredStatus"]):
                self.behave(self, self.tasks[task["arn"]])
        self.ack(message)

    def take_manifest(self, message):
        if message["timeline"] <= self.kept["sequence"]:
            self.discarded.append(message)
            return
        self.keep(sequence=message["timeline"])
        self.ack(message)
        named = {task["taskArn"] for task in message["tasks"]}
        surplus = [task for arn, task in self.tasks.items() if arn not in named and task["desiredStatus"] == "RUNNING"]
        if surplus:
            candidates = [{"desiredStatus": "RUNNING", "taskArn": task["arn"], "taskClusterArn": task["taskClusterArn"]}
                          for task in surplus]
            self.say("TaskStopVerificationMessage", messageId=message["messageId"], stopCandidates=candidates)
        self.manifests.append(message)

    # Reports.

    def refusal(self, task):
        """What dockerd would say of the containers' configurations."""
        for container in task["containers"]:
            log = self.host_config(container).get("LogConfig") or {}
            driver, options = log.get("Type"), log.get("Config") or {}
            known = LOG_OPTIONS.get(driver, set(options)) | OF_EVERY_DRIVER
            for name in options:
                if name not in known:
                    return f"CannotCreateContainerError: Error response from daemon: unknown log opt '{name}' for {driver} log driver"
        return None

    @staticmethod
    def host_config(container):
        return json.loads(container["dockerConfig"]["hostConfig"])

    def report(self, task, status, why="", **container):
        """SubmitTaskStateChange, with a reason always, and no times of a pull where nothing was pulled."""
        host_port = 32768 + 10 * len(self.tasks)

        def change(it):
            bindings = [
                {"bindIP": "0.0.0.0", "containerPort": port["containerPort"], "hostPort": port["hostPort"] or host_port + place,
                 "protocol": port["protocol"]}
                for place, port in enumerate(it.get("portMappings", []))
            ]
            ran = {} if why else {"runtimeId": uuid.uuid5(uuid.NAMESPACE_URL, task["arn"] + it["name"]).hex * 2,
                                  "imageDigest": DIGEST, "networkBindings": bindings}
            return {"containerName": it["name"], "status": status, "reason": why, **ran, **container}

        more = {} if status == "RUNNING" else {"executionStoppedAt": datetime.now(timezone.utc)}
        answer = self.ecs.submit_task_state_change(
            cluster=self.cluster, task=task["arn"], status=status, reason="", attachments=[], managedAgents=[],
            containers=[change(it) for it in task["containers"]], **more,
        )
        assert answer["acknowledgment"] == "ACCEPT"
        if status == "STOPPED":
            self.tasks.pop(task["arn"], None)

    # TCS.

    def metadata(self, **more):
        return {"cluster": self.cluster, "containerInstance": self.arn, "fin": True, "messageId": str(uuid.uuid4()), **more}

    def take_telemetry(self, kind, message):
        self.acks.append(kind)

    def send_telemetry(self, kind, message):
        """Sends a frame behind its signed header block. That nobody acknowledges it the agent does not mind."""
        headers = {"Host": f"127.0.0.1:{self.here.port}", **self.signed(f"{self.here.endpoint}/tcs/ws")}
        block = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.tcs.send(block + "\r\n" + json.dumps({"message": message, "type": kind}))

    def publish(self, kind, message):
        """Sends a frame, and waits until the server has taken it."""
        expected = "Ack" + kind.removesuffix("Request").removesuffix("s")
        if kind == "PublishInstanceStatusRequest":
            expected = "AckPublishInstanceStatus"
        before = self.acks.count(expected)
        self.send_telemetry(kind, message)
        eventually(lambda: self.acks.count(expected) > before, timeout=20)

    def told(self, task):
        """A task as both publications name it."""
        return {"taskArn": task["arn"], "taskDefinitionFamily": task["family"], "taskDefinitionVersion": task["version"]}

    def publish_health(self, statuses):
        """Health of tasks by their ARN: of each container that has a check."""
        tasks = [
            {**self.told(self.tasks[arn]), "containers": [
                {"containerName": it["name"], "healthStatus": status, "statusSince": seconds()}
                for it in self.tasks[arn]["containers"] if it.get("healthCheckType") == "docker"
            ]}
            for arn, status in statuses.items()
        ]
        self.publish("PublishHealthRequest", {"metadata": self.metadata(), "tasks": tasks, "timestamp": seconds()})

    def publish_metrics(self, containers):
        """Measurements by the ARN of a task and the name of a container."""
        tasks = [
            {**self.told(self.tasks[arn]), "clusterArn": self.tasks[arn]["taskClusterArn"], "volumeMetrics": [],
             "containerMetrics": [{"containerName": name, **sets} for name, sets in of_task.items()]}
            for arn, of_task in containers.items()
        ]
        message = {"instanceMetrics": {}, "metadata": self.metadata(idle=False), "taskMetrics": tasks, "timestamp": seconds()}
        self.publish("PublishMetricsRequest", message)

    def publish_status(self):
        status = {"lastStatusChange": seconds(), "lastUpdated": seconds(), "status": "OK", "type": "CONTAINER_RUNTIME"}
        metadata = {"cluster": self.cluster, "containerInstance": self.arn, "requestId": str(uuid.uuid4())}
        self.publish("PublishInstanceStatusRequest", {"metadata": metadata, "statuses": [status], "timestamp": seconds()})

    # dockerd's awslogs.

    def log(self, task, name, *lines):
        """Writes lines as dockerd does: to the endpoint that the options name, by its own key or the execution role's."""
        [container] = [it for it in task["containers"] if it["name"] == name]
        options = self.host_config(container)["LogConfig"]["Config"]
        key = (self.key["access_key_id"], self.key["secret_access_key"], None)
        if container.get("logsAuthStrategy") == "ExecutionRole":
            given = self.credentials[task["executionRoleCredentials"]["credentialsId"]]
            key = (given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])
        assert re.fullmatch("http://[0-9.:]+", options["awslogs-endpoint"]), "the lines go to AWS"
        logs = boto3.client("logs", endpoint_url=options["awslogs-endpoint"], region_name=options["awslogs-region"],
                            aws_access_key_id=key[0], aws_secret_access_key=key[1], aws_session_token=key[2])
        group, stream = options["awslogs-group"], options.get("awslogs-stream", uuid.uuid4().hex * 2)
        if options.get("awslogs-create-group") == "true":
            with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                logs.create_log_group(logGroupName=group)
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        return group, stream, key[0]
