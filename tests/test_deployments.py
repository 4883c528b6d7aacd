"""Deployments of services: from one revision to the next, or back; and what holds them up on the way."""

import pytest
from installation import container, eventually, free_port, shell
from services import PATIENCE, QUIET, define, quiet, refused, revision_of, revisions, unique

# Nobody listens there.
NO_IMAGE = "127.0.0.1:1/none"
CHECK = {"interval": 5, "timeout": 2, "retries": 1}


def breaker(rollback=True, **threshold):
    circuit = {"enable": True, "rollback": rollback}
    if threshold:
        circuit["thresholdConfiguration"] = threshold
    return {"deploymentConfiguration": {"deploymentCircuitBreaker": circuit}}


def checked(passes, **more):
    """A container that is asked whether it is well."""
    return quiet(healthCheck={"command": ["CMD-SHELL", passes], **CHECK}, **more)


def in_order(events, *texts):
    """Whether the texts are in events that come one after the other."""
    rest = iter(events)
    missing = [text for text in texts if not any(text in event for event in rest)]
    assert not missing, (missing, events)


BAD = {
    "no-image": container(image=NO_IMAGE, memory=16),
    "exits": shell("exit 1", memory=16),
    "is-sick": checked("false"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_revision_is_rolled_back(new_service, estiva, bad):
    family = unique("bad")
    good, bad = define(estiva, family), define(estiva, family, bad)
    service = new_service(good, 2, **breaker(type="COUNT", value=2))
    service.stable()
    before, first = service.arns(), service.primary()["id"]
    service.update(taskDefinition=bad)
    failed = service.comes_to("ROLLBACK_SUCCESSFUL")
    shown = service.stable()
    assert {revision_of(task) for task in service.running()} == {1} and service.arns() == before
    assert shown["taskDefinition"].endswith(good) and shown["deployments"][0]["id"] == first
    assert failed["statusReason"] == failed["rollback"]["reason"] == "ECS deployment circuit breaker: tasks failed to start."
    tripped = failed["deploymentCircuitBreaker"]
    assert (tripped["status"], tripped["threshold"]) == ("TRIGGERED", 2) and tripped["failureCount"] >= 2
    [source] = failed["sourceServiceRevisions"]
    assert failed["rollback"]["serviceRevisionArn"] == source["arn"]
    target = failed["targetServiceRevision"]["arn"]
    found = {it["serviceRevisionArn"]: it["taskDefinition"] for it in revisions(estiva, [source["arn"], target])}
    assert found[source["arn"]].endswith(good) and found[target].endswith(bad)
    newest, oldest = service.deployments()
    assert (newest["status"], oldest["status"]) == ("ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
    assert newest["targetServiceRevisionArn"] == target
    [listed] = service.deployments(status=["SUCCESSFUL"])
    assert listed["serviceDeploymentArn"] == oldest["serviceDeploymentArn"]
    service.tells("has reached a steady state.")
    in_order(
        service.events(),
        "has started 2 tasks: ",
        f"(deployment {first}) deployment completed.",
        "has reached a steady state.",
        "has started",
        "deployment failed: tasks failed to start.",
        f"rolling back to deployment {first}.",
        f"(deployment {first}) deployment completed.",
    )


def test_without_rollback_a_bad_revision_is_left_failed_and_the_old_tasks_run_on(new_service, estiva):
    family = unique("failed")
    good, bad = define(estiva, family), define(estiva, family, shell("exit 1", memory=16))
    service = new_service(good, 2, **breaker(rollback=False, type="COUNT", value=1))
    service.stable()
    before = service.arns()
    service.update(taskDefinition=bad)
    failed = service.comes_to("STOPPED")
    assert "rollback" not in failed and "circuit breaker" in failed["statusReason"]
    assert "lifecycleStage" not in failed
    primary, active = service.show()["deployments"]
    assert (primary["status"], primary["rolloutState"]) == ("PRIMARY", "FAILED")
    assert (active["status"], active["runningCount"]) == ("ACTIVE", 2)
    eventually(lambda: service.arns() == before)
    estiva.ecs.stop_task(task=next(iter(before)))
    eventually(lambda: len(service.running()) == 2)
    assert {revision_of(task) for task in service.running()} == {1}, "a lost task is replaced by one of the revision that works"
    service.update(taskDefinition=define(estiva, family))
    service.stable()
    assert {revision_of(task) for task in service.running()} == {3}


@pytest.mark.parametrize(
    ("threshold", "tasks"),
    [
        ({"type": "COUNT", "value": 4}, 4),
        ({"type": "BOUNDED_PERCENT", "value": 50}, 3),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1),
        ({}, 3),
    ],
)
def test_a_threshold_says_how_many_failures_are_too_many(new_service, estiva, threshold, tasks):
    definition = define(estiva, unique("threshold"), shell("exit 1", memory=16))
    service = new_service(definition, 1, **breaker(rollback=True, **threshold))
    failed = service.comes_to("STOPPED")
    assert failed["deploymentCircuitBreaker"]["threshold"] == tasks
    assert failed["deploymentCircuitBreaker"]["failureCount"] == tasks
    [primary] = service.show()["deployments"]
    assert (primary["rolloutState"], primary["failedTasks"]) == ("FAILED", tasks)
    # There was nothing to go back to, and nothing more is tried.
    assert len(service.arns("STOPPED")) == tasks and not service.arns()


def test_a_crash_loop_is_slowed_down_and_told_of_once(new_service, estiva):
    service = new_service(define(estiva, unique("loop"), shell("exit 1", memory=16)), 1)
    service.tells("is unable to consistently start tasks successfully.")
    failed = service.primary()["failedTasks"]
    eventually(lambda: service.primary()["failedTasks"] > failed)
    assert service.deployment()["deploymentCircuitBreaker"]["status"] == "DISABLED"
    assert len([event for event in service.events() if "consistently" in event]) == 1
    service.update(taskDefinition=define(estiva, unique("loop")))
    service.stable()


def test_a_checked_task_that_ends_before_it_is_healthy_has_failed(new_service, estiva):
    """However long it ran: the check says when it is healthy, and not the time."""
    slow = shell("sleep 3; exit 1", memory=16, healthCheck={"command": ["CMD-SHELL", "false"], **CHECK, "interval": 60})
    service = new_service(define(estiva, unique("slow"), slow), 1, **breaker(type="COUNT", value=1))
    failed = service.comes_to("STOPPED")
    assert failed["deploymentCircuitBreaker"]["failureCount"] == 1


def test_health_checks_gate_a_rollout(new_service, estiva, tmp_path):
    """The new task runs, but the old one goes only once the new one's check passes."""
    family = unique("gated")
    volumes = [{"name": "shared", "host": {"sourcePath": str(tmp_path)}}]
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    waits = checked("test -e /shared/well", mountPoints=mount)
    waits["healthCheck"]["retries"] = 10
    good, gated = define(estiva, family), define(estiva, family, waits, volumes=volumes)
    service = new_service(good, 1)
    service.stable()
    before = service.arns()
    service.update(taskDefinition=gated)
    service.runs(2)
    shown = service.comes_to("IN_PROGRESS", "SCALE_UP")
    assert shown["targetServiceRevision"]["runningTaskCount"] == 1 and before < service.arns()
    (tmp_path / "well").touch()
    service.stable()
    [task] = service.running()
    assert revision_of(task) == 2 and task["healthStatus"] == "HEALTHY"


def test_an_unhealthy_task_goes_once_its_replacement_is_healthy(new_service, estiva):
    service = new_service(define(estiva, unique("sick"), checked("test ! -e /tmp/sick")), 1, enableExecuteCommand=True)
    service.stable()
    [first] = service.running()
    estiva.estiva("exec", first["taskArn"], "--", "touch", "/tmp/sick")
    eventually(lambda: estiva.task(first["taskArn"])["healthStatus"] == "UNHEALTHY", 60)
    ended = eventually(lambda: (task := estiva.task(first["taskArn"]))["desiredStatus"] == "STOPPED" and task)
    assert ended["stoppedReason"] == "Task failed container health checks"
    assert ended["stopCode"] == "ServiceSchedulerInitiated"
    [second] = service.running()
    assert second["healthStatus"] == "HEALTHY" and second["taskArn"] != first["taskArn"]
    in_order(service.events(), "has started 1 tasks", f"(task {first['taskArn'].rsplit('/', 1)[1]}) failed container health checks.")


def test_a_grace_period_lets_checks_fail(new_service, estiva):
    definition = define(estiva, unique("grace"), checked("false"))
    service = new_service(definition, 1, healthCheckGracePeriodSeconds=600)
    [task] = service.runs(1)
    eventually(lambda: estiva.task(task["taskArn"])["healthStatus"] == "UNHEALTHY", 60)
    assert service.primary()["failedTasks"] == 0 and service.arns() == {task["taskArn"]}
    service.update(healthCheckGracePeriodSeconds=0)
    service.tells("failed container health checks.")


def hook(*stages, **more):
    return {"lifecycleStages": list(stages), **more}


def configured(*hooks, **more):
    return {"deploymentConfiguration": {"lifecycleHooks": list(hooks), **more}}


def waiting(service):
    """The hook that waits, and the service deployment's ARN."""

    def look():
        shown = service.deployment()
        open_ = [it for it in shown["lifecycleHookDetails"] if it["status"] == "AWAITING_ACTION"]
        return (shown, open_[0]) if open_ else None

    return eventually(look, PATIENCE)


PAUSE = {"targetType": "PAUSE"}


def test_a_pause_before_and_after_scaling_up(new_service, estiva):
    family = unique("pause")
    first, second = define(estiva, family), define(estiva, family)
    service = new_service(first, 1)
    service.stable()
    service.update(taskDefinition=second, **configured(hook("PRE_SCALE_UP", **PAUSE), hook("POST_SCALE_UP", **PAUSE)))
    shown, held = waiting(service)
    assert (shown["lifecycleStage"], shown["status"]) == ("PRE_SCALE_UP", "IN_PROGRESS")
    assert (held["targetType"], held["timeoutAction"]) == ("PAUSE", "ROLLBACK")
    assert [revision_of(task) for task in service.running()] == [1]
    arn = shown["serviceDeploymentArn"]
    refused(
        lambda: estiva.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId="other"),
        "InvalidParameterException",
        "hookId",
    )
    estiva.aws("ecs", "continue-service-deployment", "--service-deployment-arn", arn, "--hook-id", held["hookId"], "--action", "CONTINUE")
    shown, held = waiting(service)
    assert shown["lifecycleStage"] == "POST_SCALE_UP"
    assert sorted(revision_of(task) for task in service.running())[-1] == 2
    estiva.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=held["hookId"], action="CONTINUE")
    ended = service.comes_to("SUCCESSFUL")
    assert [it["status"] for it in ended["lifecycleHookDetails"]] == ["SUCCEEDED", "SUCCEEDED"]
    service.stable()
    assert [revision_of(task) for task in service.running()] == [2]


@pytest.mark.parametrize("stage", ["PRE_SCALE_UP", "POST_SCALE_UP"])
def test_a_pause_can_end_in_a_rollback(new_service, estiva, stage):
    family = unique("back")
    first, second = define(estiva, family), define(estiva, family)
    service = new_service(first, 1)
    service.stable()
    service.update(taskDefinition=second, **configured(hook(stage, **PAUSE)))
    shown, held = waiting(service)
    estiva.ecs.continue_service_deployment(
        serviceDeploymentArn=shown["serviceDeploymentArn"], hookId=held["hookId"], action="ROLLBACK"
    )
    ended = service.comes_to("ROLLBACK_SUCCESSFUL")
    assert [it["status"] for it in ended["lifecycleHookDetails"]] == ["FAILED"]
    service.stable()
    assert [revision_of(task) for task in service.running()] == [1]


def test_a_pause_that_nobody_answers_runs_out(new_service, estiva):
    family = unique("patience")
    first, second = define(estiva, family), define(estiva, family)
    services = {action: new_service(first, 1) for action in ("CONTINUE", "ROLLBACK")}
    for action, service in services.items():
        service.stable()
        timeout = {"timeoutInMinutes": 1, "action": action}
        service.update(taskDefinition=second, **configured(hook("PRE_SCALE_UP", **PAUSE, timeoutConfiguration=timeout)))
    for action, status, revision in (("CONTINUE", "SUCCESSFUL", 2), ("ROLLBACK", "ROLLBACK_SUCCESSFUL", 1)):
        ended = services[action].comes_to(status)
        [told] = ended["lifecycleHookDetails"]
        assert (told["status"], told["timeoutAction"]) == ("TIMED_OUT", action)
        services[action].stable()
        assert {revision_of(task) for task in services[action].running()} == {revision}


def test_a_migration_runs_before_the_new_revision(new_service, estiva, tmp_path):
    volumes = [{"name": "shared", "host": {"sourcePath": str(tmp_path)}}]
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    script = "echo $STEP >> /shared/migrated; exit $CODE"
    migration = estiva.register(unique("migration"), [shell(script, memory=16, mountPoints=mount)], volumes=volumes)

    def migrates(step, code):
        environment = [{"name": "STEP", "value": step}, {"name": "CODE", "value": str(code)}]
        details = {"containerOverrides": [{"name": "main", "environment": environment}]}
        return hook("PRE_SCALE_UP", hookTargetArn=migration["taskDefinitionArn"], hookDetails=details)

    family = unique("migrated")
    first, second, third = (define(estiva, family) for _ in range(3))
    service = new_service(first, 1)
    service.stable()
    service.update(taskDefinition=second, **configured(migrates("one", 0)))
    ended = service.comes_to("SUCCESSFUL")
    assert [it["status"] for it in ended["lifecycleHookDetails"]] == ["SUCCEEDED"]
    assert (tmp_path / "migrated").read_text() == "one\n"
    service.update(taskDefinition=third, **configured(migrates("two", 3)))
    ended = service.comes_to("ROLLBACK_SUCCESSFUL")
    assert "exited with 3" in ended["statusReason"]
    assert (tmp_path / "migrated").read_text() == "one\ntwo\n"
    service.stable()
    assert {revision_of(task) for task in service.running()} == {2}


@pytest.mark.parametrize("how", ["superseded", "aborted", "deleted"])
def test_a_migration_ends_with_its_deployment(new_service, estiva, how):
    family = unique("endless")
    migration = estiva.register(unique("migration"), [quiet()])["taskDefinitionArn"]
    first, second, third = (define(estiva, family) for _ in range(3))
    service = new_service(first, 1)
    service.stable()
    service.update(taskDefinition=second, **configured(hook("PRE_SCALE_UP", hookTargetArn=migration)))

    def migrating():
        listed = estiva.ecs.list_tasks(family=migration.rsplit("/")[-1].split(":")[0])["taskArns"]
        return listed[0] if listed and estiva.task(listed[0])["lastStatus"] == "RUNNING" else None

    task = eventually(migrating, PATIENCE)
    arn = service.deployment()["serviceDeploymentArn"]
    if how == "superseded":
        service.update(taskDefinition=third, **configured())
    elif how == "aborted":
        estiva.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ABORT")
    else:
        service.delete()
    eventually(lambda: estiva.task(task)["lastStatus"] == "STOPPED", PATIENCE)
    assert estiva.task(task)["stoppedReason"] == "The deployment of the lifecycle hook has ended."
    [ended] = estiva.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"]
    assert ended["status"] == "STOPPED" and [it["status"] for it in ended["lifecycleHookDetails"]] == ["FAILED"]
    if how == "superseded":
        service.stable()
        assert [revision_of(task) for task in service.running()] == [3]


def test_a_rollback_whose_tasks_fail_has_failed_and_the_service_goes_on(new_service, estiva, tmp_path):
    """The first revision needs a file that is gone when it is wanted again, and that comes back."""
    (needed := tmp_path / "needed").touch()
    volumes = [{"name": "shared", "host": {"sourcePath": str(tmp_path)}}]
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    family = unique("no-way-back")
    needs = shell(f"test -e /shared/needed || exit 1; {QUIET}", memory=16, mountPoints=mount)
    first, second = define(estiva, family, needs, volumes=volumes), define(estiva, family)
    configuration = breaker(type="COUNT", value=2)["deploymentConfiguration"]
    configuration |= {"minimumHealthyPercent": 0, "maximumPercent": 100, "bakeTimeInMinutes": 60}
    service = new_service(first, 1, deploymentConfiguration={**configuration, "bakeTimeInMinutes": 0})
    service.stable()
    service.tells("has reached a steady state.")
    before = service.primary()["id"]
    service.update(taskDefinition=second, deploymentConfiguration=configuration)
    arn = service.comes_to("IN_PROGRESS", "BAKE_TIME")["serviceDeploymentArn"]
    needed.unlink()
    estiva.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    ended = service.comes_to("ROLLBACK_FAILED")
    assert ended["finishedAt"] and "tasks failed to start." in ended["statusReason"]
    primary = service.primary()
    assert (primary["id"], primary["rolloutState"]) == (before, "FAILED")
    failed = primary["failedTasks"]
    eventually(lambda: service.primary()["failedTasks"] > failed, PATIENCE)
    needed.touch()
    eventually(lambda: [revision_of(task) for task in service.running()] == [1], PATIENCE)
    eventually(lambda: len([event for event in service.events() if "steady" in event]) == 2, PATIENCE)
    service.update(taskDefinition=second, deploymentConfiguration={"bakeTimeInMinutes": 0})
    service.stable()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (hook(**PAUSE), "at least one lifecycle stage"),
        (hook("PRODUCTION_TRAFFIC_SHIFT", **PAUSE), "PAUSE is not supported"),
        (hook("TEST_TRAFFIC_SHIFT", **PAUSE), "no meaning for ROLLING"),
        (hook("PRE_SCALE_UP", hookTargetArn="arn:aws:lambda:us-east-1:000000000000:function:f"), "AWS Lambda"),
    ],
)
def test_a_hook_that_cannot_be_is_refused(new_service, estiva, wrong, text):
    definition = define(estiva, "hooked")
    refused(lambda: new_service(definition, 0, **configured(wrong)), "InvalidParameterException", text)


@pytest.mark.parametrize(("stop_type", "status", "revision"), [("ROLLBACK", "ROLLBACK_SUCCESSFUL", 1), ("ABORT", "STOPPED", 2)])
def test_a_deployment_that_bakes_can_be_stopped(new_service, estiva, stop_type, status, revision):
    family = unique("bakes")
    first, second = define(estiva, family), define(estiva, family)
    service = new_service(first, 1)
    service.stable()
    service.update(taskDefinition=second, deploymentConfiguration={"bakeTimeInMinutes": 60})
    shown = service.comes_to("IN_PROGRESS", "BAKE_TIME")
    arn = shown["serviceDeploymentArn"]
    stopped = estiva.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType=stop_type)
    assert stopped["serviceDeploymentArn"] == arn
    ended = service.comes_to(status)
    assert ended["stoppedAt"] <= ended["finishedAt"]
    eventually(lambda: {revision_of(task) for task in service.running()} == {revision}, PATIENCE)
    refused(lambda: estiva.ecs.stop_service_deployment(serviceDeploymentArn=arn), "ConflictException")


def test_early_success_needs_a_part_of_the_tasks(new_service, estiva):
    """Of two tasks one finds its port; half of them is enough."""
    family = unique("early")
    first = define(estiva, family)
    service = new_service(first, 2)
    service.stable()
    second = define(estiva, family, quiet(portMappings=[{"containerPort": 80, "hostPort": free_port()}]))
    early = {"enable": True, "healthyPercent": 50, "sourceServiceRevisionCleanup": "DEFERRED"}
    service.update(taskDefinition=second, deploymentConfiguration={"earlySuccessCriteria": early})
    service.comes_to("SUCCESSFUL")
    assert sorted(revision_of(task) for task in service.running())[-1] == 2
    service.update(desiredCount=1)
    service.stable()


def test_a_new_deployment_of_the_same_revision_replaces_every_task(new_service, estiva):
    service = new_service(define(estiva, unique("again")), 2, enableExecuteCommand=False)
    service.stable()
    before, revision = service.arns(), service.deployment()["targetServiceRevision"]["arn"]
    service.update(desiredCount=2)
    assert len(service.deployments()) == 1, "the count alone deploys nothing"
    service.update(forceNewDeployment=True)
    service.stable()
    assert not before & service.arns() and len(service.arns()) == 2
    assert service.deployment()["targetServiceRevision"]["arn"] != revision
    assert service.show()["currentServiceDeployment"] == service.deployments()[0]["serviceDeploymentArn"]
