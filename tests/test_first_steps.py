"""The README's first steps, with the real AWS CLI."""

import json
import urllib.request

from installation import eventually, shell


def test_a_task_answers_and_its_lines_are_read(estiva):
    definition = {
        "family": "first-steps",
        "containerDefinitions": [
            {
                "name": "web",
                "image": "hello",
                "memory": 32,
                "portMappings": [{"containerPort": 8080}],
                "environment": [{"name": "GREETING", "value": "moored"}],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": "/first-steps",
                        "awslogs-region": "us-east-1",
                        "awslogs-stream-prefix": "ecs",
                        "awslogs-create-group": "true",
                    },
                },
            }
        ],
    }
    registered = estiva.aws("ecs", "register-task-definition", "--cli-input-json", json.dumps(definition))
    assert registered["taskDefinition"]["status"] == "ACTIVE"
    ran = estiva.aws("ecs", "run-task", "--task-definition", "first-steps")
    assert ran["failures"] == []
    arn = ran["tasks"][0]["taskArn"]
    estiva.aws("ecs", "wait", "tasks-running", "--tasks", arn)
    [task] = estiva.aws("ecs", "describe-tasks", "--tasks", arn)["tasks"]
    [binding] = task["containers"][0]["networkBindings"]
    assert binding["containerPort"] == 8080
    with urllib.request.urlopen(f"http://127.0.0.1:{binding['hostPort']}/", timeout=5) as answer:
        assert "moored" in answer.read().decode()
    stream = f"ecs/web/{arn.rsplit('/', 1)[-1]}"
    eventually(lambda: estiva.messages("/first-steps", stream) or None)
    events = estiva.aws("logs", "get-log-events", "--log-group-name", "/first-steps", "--log-stream-name", stream)
    assert events["events"]
    estiva.aws("ecs", "stop-task", "--task", arn)
    estiva.aws("ecs", "wait", "tasks-stopped", "--tasks", arn)
    [task] = estiva.aws("ecs", "describe-tasks", "--tasks", arn)["tasks"]
    assert (task["stopCode"], task["lastStatus"]) == ("UserInitiated", "STOPPED")


def test_the_command_line_says_what_is(estiva):
    status = json.loads(estiva.estiva("status", "--json").stdout)
    assert status["endpoint"] == estiva.endpoint
    [default] = [cluster for cluster in status["clusters"] if cluster["name"] == "default"]
    assert default["container_instances"] == 1
    assert "CLUSTER" in estiva.estiva("status").stdout
    names = [image["reference"] for image in json.loads(estiva.estiva("image", "list", "--json").stdout)]
    assert any("busybox" in name for name in names) and any("hello" in name for name in names)
    exports = estiva.estiva("env").stdout
    assert f"export AWS_ENDPOINT_URL={estiva.endpoint}" in exports
    assert estiva.aws("sts", "get-caller-identity")["Arn"].endswith(":root")


def test_a_second_up_is_told_of_the_first(estiva):
    refused = estiva.estiva("up", "--detach", check=False)
    assert refused.returncode != 0 and "up already" in (refused.stderr + estiva.log())


def test_the_history_of_a_task_has_every_change(estiva):
    estiva.register("historic", [shell("exit 7")])
    task = estiva.run_to_end("historic")
    told = json.loads(estiva.estiva("task", task["taskArn"], "--json").stdout)
    assert told["lastStatus"] == "STOPPED" and told["stopCode"] == "EssentialContainerExited"
    events = [(event.get("container"), event["status"], event.get("exitCode")) for event in told["events"]]
    assert events[0] == (None, "CREATED", None) and events[-1] == (None, "STOPPED", None)
    assert ("main", "STOPPED", 7) in events
    assert [event["at"] for event in told["events"]] == sorted(event["at"] for event in told["events"])
    table = estiva.estiva("task", task["taskArn"].rsplit("/", 1)[1]).stdout
    assert "EssentialContainerExited" in table and "CREATED" in table
    unknown = estiva.estiva("task", "0" * 32, check=False)
    assert unknown.returncode != 0 and "There is no task" in unknown.stderr


def test_stopped_tasks_are_kept_as_long_as_asked(new_installation):
    here = new_installation("--task-retention", "1m")
    here.register("brief", [shell("exit 0")])
    arn = here.run_to_end("brief")["taskArn"]
    assert here.task(arn)["lastStatus"] == "STOPPED"
    [server] = here.processes("server")
    assert b"--task-retention=1m" in open(f"/proc/{server}/cmdline", "rb").read()
