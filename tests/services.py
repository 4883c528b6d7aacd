"""A service as its owner sees it: made, changed, looked at, waited for."""

import uuid

import pytest
from botocore.exceptions import ClientError
from installation import eventually, shell

# Ends at once when it is told to, which a shell's child as PID 1 does not.
QUIET = "trap 'exit 0' TERM; sleep 100000 & wait"
PATIENCE = 120


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def refused(call, code, text=""):
    with pytest.raises(ClientError) as error:
        call()
    told = error.value.response["Error"]
    assert told["Code"] == code, told
    assert text in told["Message"], told
    return error.value.response


def quiet(**more):
    """A container that does nothing and takes little."""
    return shell(QUIET, **{"memory": 16, **more})


def define(here, family, *containers, **more):
    """Registers a revision; `family:revision`."""
    definition = here.register(family, list(containers) or [quiet()], **more)
    return f"{definition['family']}:{definition['revision']}"


class Service:
    """One service. `more` is what CreateService has."""

    def __init__(self, here, task_definition, desired=None, name=None, cluster="default", **more):
        self.here, self.name, self.cluster = here, name or unique("service"), cluster
        if desired is not None:
            more["desiredCount"] = desired
        if task_definition is not None:
            more["taskDefinition"] = task_definition
        self.made = here.ecs.create_service(cluster=cluster, serviceName=self.name, **more)["service"]

    @property
    def arn(self):
        return self.made["serviceArn"]

    def show(self, **more):
        [shown] = self.here.ecs.describe_services(cluster=self.cluster, services=[self.name], **more)["services"]
        return shown

    def update(self, **more):
        return self.here.ecs.update_service(cluster=self.cluster, service=self.name, **more)["service"]

    def events(self):
        """What it told, the oldest first, without its name."""
        told = [event["message"] for event in reversed(self.show()["events"])]
        assert all(message.startswith(f"(service {self.name}) ") for message in told), told
        return [message.removeprefix(f"(service {self.name}) ") for message in told]

    def primary(self):
        return self.show()["deployments"][0]

    def arns(self, desired="RUNNING"):
        pages = self.here.ecs.get_paginator("list_tasks")
        pages = pages.paginate(cluster=self.cluster, serviceName=self.name, desiredStatus=desired)
        return {arn for page in pages for arn in page["taskArns"]}

    def tasks(self, desired="RUNNING"):
        arns = sorted(self.arns(desired))
        chunks = [arns[start : start + 100] for start in range(0, len(arns), 100)]
        include = ["TAGS"]
        answers = [self.here.ecs.describe_tasks(cluster=self.cluster, tasks=chunk, include=include) for chunk in chunks]
        return [task for answer in answers for task in answer["tasks"]]

    def running(self):
        return [task for task in self.tasks() if task["lastStatus"] == "RUNNING"]

    def stable(self, timeout=PATIENCE):
        """Waits for what ECS's waiter waits for, and for the deployment's end."""

        def rests():
            shown = self.show()
            [*others, primary] = reversed(shown["deployments"])
            done = primary["rolloutState"] == "COMPLETED" and shown["runningCount"] == shown["desiredCount"]
            return shown if done and not others and shown["pendingCount"] == 0 else None

        return eventually(rests, timeout)

    def deployments(self, **more):
        """The service deployments, the newest first."""
        listed = self.here.ecs.list_service_deployments(cluster=self.cluster, service=self.name, **more)
        return listed["serviceDeployments"]

    def deployment(self):
        """The newest service deployment."""
        [shown] = self.here.ecs.describe_service_deployments(
            serviceDeploymentArns=[self.deployments()[0]["serviceDeploymentArn"]]
        )["serviceDeployments"]
        return shown

    def runs(self, count, timeout=PATIENCE):
        """Waits until so many tasks are RUNNING; these."""

        def there():
            found = self.running()
            return found if len(found) == count else None

        return eventually(there, timeout)

    def comes_to(self, status, stage=None, timeout=PATIENCE):
        """Waits until the newest service deployment has a status, and is at a stage."""

        def there():
            shown = self.deployment()
            return shown if shown["status"] == status and stage in (None, shown.get("lifecycleStage")) else None

        return eventually(there, timeout)

    def tells(self, text, timeout=PATIENCE):
        """Waits for an event; the first with the text."""
        return eventually(lambda: next((event for event in self.events() if text in event), None), timeout)

    def delete(self):
        self.here.ecs.delete_service(cluster=self.cluster, service=self.name, force=True)
        eventually(lambda: self.show()["status"] == "INACTIVE", PATIENCE)


def revisions(here, arns):
    return here.ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]


def revision_of(task):
    return int(task["taskDefinitionArn"].rsplit(":", 1)[1])
