"""Images on nodes: pulled before any task needs them, for private registries, and gone when nobody uses them."""

import http.server
import json
import threading

import pytest
from installation import container, eventually, files_that_contain, shell
from registry import Registry

SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:registry-a1b2c3"


@pytest.fixture
def registry():
    served = Registry()
    yield served
    served.close()


def names(here):
    return {image["reference"] for image in here.images()}


def test_a_pull_onto_nodes(estiva, registry, image_files):
    digest = registry.add(image_files["busybox"], "early/bird", "v1")
    image = f"{registry.host}/early/bird:v1"
    [node] = json.loads(estiva.estiva("image", "pull", "--json", image).stdout)["nodes"]
    assert (node["status"], node["imageDigest"]) == ("PULLED", digest)
    assert any(name.endswith("early/bird:v1") for name in names(estiva))
    [instance] = estiva.ecs.list_container_instances()["containerInstanceArns"]
    assert node["containerInstanceArn"] == instance
    assert "PULLED" in estiva.estiva("image", "pull", image, "--nodes", instance.rsplit("/", 1)[-1]).stdout


def test_a_pull_that_fails_says_where_and_why(estiva):
    failed = estiva.estiva("image", "pull", "127.0.0.1:1/nothing:here", check=False)
    assert failed.returncode == 1
    assert "FAILED" in failed.stdout and "CannotPullContainerError" in failed.stdout
    unknown = estiva.estiva("image", "pull", "busybox", "--nodes", "0" * 32, check=False)
    assert unknown.returncode == 1 and "containerInstances" in unknown.stderr


def test_images_that_nobody_uses_go(new_installation, registry, image_files, tmp_path):
    import oci_image

    (tmp_path / "file").write_text("of no other image")
    oci_image.write_image(tmp_path / "idle.tar", "x", [(tmp_path / "file", "/file")])
    here = new_installation("--image-cleanup-interval", "2s", "--image-minimum-cleanup-age", "0s")
    registry.add(tmp_path / "idle.tar", "idle")
    registry.add(image_files["hello"], "busy")
    here.register("busy", [container(image=f"{registry.host}/busy", stopTimeout=2)])
    [arn] = here.run("busy")
    here.wait("RUNNING", arn)
    here.estiva("image", "pull", f"{registry.host}/idle")
    idle = f"{registry.host}/idle:latest"
    assert idle in names(here)
    # An image that was used in the last minute stays, whatever the age; those that were imported always do.
    eventually(lambda: idle not in names(here), timeout=90)
    assert f"{registry.host}/busy:latest" in names(here)
    assert len(names(here)) == len(image_files) + 1
    assert here.task(arn)["lastStatus"] == "RUNNING"
    here.stop(arn)


class SecretsManager:
    """Answers GetSecretValue as AWS's does."""

    def __init__(self, secrets):
        self.asked = []
        manager = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                manager.asked.append((self.headers["X-Amz-Target"], body["SecretId"], self.headers["Authorization"]))
                secret = secrets.get(body["SecretId"])
                status, answer = 200, {"ARN": body["SecretId"], "Name": "registry", "SecretString": secret}
                if secret is None:
                    status, answer = 400, {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find it."}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_private_registry(new_installation, monkeypatch, registry, image_files):
    manager = SecretsManager({SECRET: json.dumps({"username": "sailor", "password": "very-moored-secret"}), SECRET + "x": "no json"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", manager.url)
    here = new_installation()
    registry.add(image_files["busybox"], "private")
    registry.password = b"sailor:very-moored-secret"
    image = f"{registry.host}/private"

    def run(family, **more):
        here.register(family, [shell("exit 4", image=image, **more)], executionRoleArn="arn:aws:iam::000000000000:role/execution")
        return here.run_to_end(family)

    refused = run("stranger")
    assert refused["stopCode"] == "TaskFailedToStart" and "CannotPullContainerError" in refused["stoppedReason"]
    welcome = run("sailor", repositoryCredentials={"credentialsParameter": SECRET})
    assert welcome["containers"][0]["exitCode"] == 4, welcome
    [(target, secret, authorization)] = manager.asked
    assert target == "secretsmanager.GetSecretValue" and secret == SECRET and "/secretsmanager/aws4_request" in authorization
    # What is on the node by now is for those alone who prove themselves.
    again = run("stranger")
    assert again["stopCode"] == "TaskFailedToStart", again
    for broken in (SECRET + "x", SECRET + "y"):
        task = run("broken", repositoryCredentials={"credentialsParameter": broken})
        assert "Secrets Manager" in task["stoppedReason"], task["stoppedReason"]
    manager.server.shutdown()
    assert "very-moored-secret" not in here.log()
    assert files_that_contain(here.data / "node", [b"very-moored-secret"]) == []


def test_a_draining_node_takes_no_tasks_and_keeps_its_own(new_installation):
    here = new_installation()
    here.register("stays", [shell("sleep 1000", stopTimeout=2)])
    [arn] = here.run("stays")
    here.wait("RUNNING", arn)
    [instance] = here.ecs.list_container_instances()["containerInstanceArns"]
    here.ecs.update_container_instances_state(containerInstances=[instance], status="DRAINING")
    with pytest.raises(here.ecs.exceptions.InvalidParameterException, match="No Container Instances"):
        here.ecs.run_task(taskDefinition="stays")
    # ECS drains services' tasks; one that was run by hand is its owner's.
    assert here.task(arn)["lastStatus"] == "RUNNING"
    here.ecs.update_container_instances_state(containerInstances=[instance], status="ACTIVE")
    [second] = here.run("stays")
    here.wait("RUNNING", second)
    for running in (arn, second):
        here.stop(running)
