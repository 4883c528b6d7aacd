"""Services whose deployment controller is EXTERNAL: their owner makes task sets and says how many tasks each has."""

from installation import eventually
from services import PATIENCE, define, refused, revision_of, unique


def sets(service, *ids, **more):
    answer = service.here.ecs.describe_task_sets(cluster="default", service=service.name, taskSets=list(ids), **more)
    return answer["taskSets"]


def percent(value):
    return {"value": value, "unit": "PERCENT"}


def test_task_sets_have_the_tasks_that_their_scale_says(new_service, estiva):
    ecs, family = estiva.ecs, unique("blue")
    blue, green = define(estiva, family), define(estiva, family)
    service = new_service(None, 4, deploymentController={"type": "EXTERNAL"})
    where = {"cluster": "default", "service": service.name}
    assert service.show()["deployments"] == [] and service.show()["taskSets"] == []
    made = ecs.create_task_set(
        **where, taskDefinition=blue, scale=percent(100), externalId="the-blue", tags=[{"key": "colour", "value": "blue"}]
    )["taskSet"]
    assert (made["status"], made["stabilityStatus"], made["externalId"]) == ("ACTIVE", "STABILIZING", "the-blue")

    def settled(name, count):
        [shown] = sets(service, name)
        rests = shown["stabilityStatus"] == "STEADY_STATE" and shown["pendingCount"] == 0
        return shown if rests and shown["runningCount"] == count else None

    shown = eventually(lambda: settled(made["id"], 4), PATIENCE)
    assert shown["computedDesiredCount"] == 4 and shown["taskSetArn"].endswith(made["id"])
    assert sets(service, made["taskSetArn"], include=["TAGS"])[0]["tags"] == [{"key": "colour", "value": "blue"}]
    second = ecs.create_task_set(**where, taskDefinition=green, scale=percent(30))["taskSet"]
    eventually(lambda: settled(second["id"], 2), PATIENCE)
    assert sorted(revision_of(task) for task in service.running()) == [1, 1, 1, 1, 2, 2]
    for task in service.running():
        assert task["startedBy"] in (made["id"], second["id"])

    ecs.update_service_primary_task_set(**where, primaryTaskSet=second["id"])
    assert {it["id"]: it["status"] for it in sets(service)} == {made["id"]: "ACTIVE", second["id"]: "PRIMARY"}
    ecs.update_task_set(**where, taskSet=second["taskSetArn"], scale=percent(100))
    eventually(lambda: settled(second["id"], 4), PATIENCE)
    ecs.update_task_set(**where, taskSet=made["id"], scale=percent(0))
    eventually(lambda: settled(made["id"], 0), PATIENCE)
    ecs.delete_task_set(**where, taskSet=made["id"])
    eventually(lambda: [it["id"] for it in sets(service)] == [second["id"]], PATIENCE)
    refused(lambda: ecs.delete_task_set(**where, taskSet=second["id"]), "InvalidParameterException", "force")
    service.update(desiredCount=1)
    eventually(lambda: settled(second["id"], 1), PATIENCE)
    [left] = service.arns()
    estiva.stop(left)
    eventually(lambda: settled(second["id"], 1) and service.arns() != {left}, PATIENCE)
    assert ecs.delete_task_set(**where, taskSet=second["id"], force=True)["taskSet"]["status"] == "DRAINING"
    eventually(lambda: sets(service) == [] and not service.arns(), PATIENCE)


def test_task_sets_refuse_what_cannot_be(new_service, estiva):
    ecs, definition = estiva.ecs, define(estiva, unique("sets"))
    service = new_service(None, 1, deploymentController={"type": "EXTERNAL"})
    where = {"cluster": "default", "service": service.name}
    both = {"launchType": "EC2", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}
    for call, code, text in [
        (lambda: ecs.create_task_set(**where, taskDefinition="none"), "ClientException", "TaskDefinition not found."),
        (lambda: ecs.create_task_set(**where, taskDefinition=definition, scale=percent(101)), "InvalidParameterException", "scale"),
        (lambda: ecs.create_task_set(**where, taskDefinition=definition, **both), "InvalidParameterException", "both a launch type"),
        (lambda: ecs.update_task_set(**where, taskSet="none", scale=percent(1)), "TaskSetNotFoundException", ""),
        (lambda: ecs.delete_task_set(**where, taskSet="none"), "TaskSetNotFoundException", ""),
        (lambda: ecs.update_service_primary_task_set(**where, primaryTaskSet="none"), "TaskSetNotFoundException", ""),
        (lambda: service.update(taskDefinition=definition), "InvalidParameterException", "EXTERNAL"),
        (lambda: service.update(forceNewDeployment=True), "InvalidParameterException", "EXTERNAL"),
    ]:
        refused(call, code, text)
    answer = ecs.describe_task_sets(**where, taskSets=["none"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    made = [ecs.create_task_set(**where, taskDefinition=definition, scale=percent(0))["taskSet"] for _ in range(5)]
    refused(lambda: ecs.create_task_set(**where, taskDefinition=definition), "InvalidParameterException", "at most 5")
    ecs.delete_task_set(**where, taskSet=made[0]["id"])
    eventually(lambda: len(sets(service)) == 4)
    ecs.delete_service(**where, force=True)
    eventually(lambda: service.show()["status"] == "INACTIVE")
