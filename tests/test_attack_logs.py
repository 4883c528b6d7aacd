"""Logs under attack: of containers, and of the platform itself."""

import ctypes
import os
import re
import uuid

import pytest
from installation import container, eventually, shell

AWSLOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/many", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"},
}
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def no_inotify():
    """Takes every inotify instance that this user may have, as a container of the same user could."""
    libc, taken = ctypes.CDLL(None, use_errno=True), []
    while (descriptor := libc.inotify_init()) >= 0:
        taken.append(descriptor)
    yield
    for descriptor in taken:
        os.close(descriptor)


def test_200_containers_log_though_no_watch_is_left(new_installation, no_inotify):
    here = new_installation()
    containers = [
        shell(f"echo line {number}", name=f"c{number}", memory=8, essential=False, logConfiguration=AWSLOGS)
        for number in range(9)
    ]
    last = shell("echo line 9; sleep 1000", name="c9", memory=8, logConfiguration=AWSLOGS)
    here.register("many", [*containers, last])
    arns = here.run("many", count=10) + here.run("many", count=10)
    expected = {f"t/c{number}/{arn.rsplit('/', 1)[-1]}": f"line {number}" for arn in arns for number in range(10)}

    def arrived():
        pages = here.logs.get_paginator("filter_log_events").paginate(logGroupName="/many")
        return {event["logStreamName"]: event["message"] for page in pages for event in page["events"]} == expected

    for arn in arns:
        here.wait("RUNNING", arn)
    eventually(arrived)


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x9b31m", "\u202etxt.exe", "two\r\nlines", "\u2066x"])
def test_what_is_printed_of_a_task_shows_what_is_hidden(estiva, text):
    family = f"hidden-{uuid.uuid4().hex[:8]}"
    estiva.register(family, [container(command=["sleep", "1000"])])
    [arn] = estiva.run(family)
    estiva.wait("RUNNING", arn)
    estiva.stop(arn, reason=f"because{text}")
    for more in ([], ["--json"]):
        printed = estiva.estiva("task", arn, *more).stdout
        assert "because" in printed and not HIDDEN.search(printed), repr(printed)
