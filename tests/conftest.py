"""Fixtures: images made from static binaries, and an installation that most tests share."""

import shutil
import subprocess
import sys

import pytest

from installation import ROOT, Installation

sys.path.insert(0, str(ROOT / "tools"))
from oci_image import write_image  # noqa: E402

APPLETS = [
    "cat", "date", "dd", "echo", "env", "find", "grep", "head", "id", "ip", "kill", "ln", "ls", "mkdir", "mkfifo",
    "mknod", "mount", "mv", "nc", "nsenter", "ps", "pwd", "readlink", "rm", "seq", "sh", "sleep", "stat", "stty",
    "tail", "touch", "tr", "true", "unshare", "wc", "wget", "yes",
]


@pytest.fixture(scope="session")
def image_files(tmp_path_factory):
    """OCI layouts by name: busybox, and the sample."""
    directory = tmp_path_factory.mktemp("images")
    busybox = shutil.which("busybox")
    links = [(f"/bin/{applet}", "busybox") for applet in APPLETS]
    write_image(directory / "busybox.tar", "busybox", [(busybox, "/bin/busybox")], links, Cmd=["sh"])
    hello = build_hello()
    write_image(directory / "hello.tar", "hello", [(hello, "/hello")], Entrypoint=["/hello"])
    return {"busybox": directory / "busybox.tar", "hello": directory / "hello.tar"}


def build_hello():
    target = subprocess.run([ROOT / "tools/build-hello"], check=True, capture_output=True, text=True)
    return target.stdout.strip()


@pytest.fixture
def new_installation(tmp_path, image_files):
    """Makes installations that are up and have the images; takes each down afterwards."""
    made = []

    def make(*arguments):
        here = Installation(tmp_path / f"estiva{len(made)}")
        made.append(here)
        for file in image_files.values():
            here.estiva("image", "import", str(file))
        here.up(*arguments)
        return here

    yield make
    for here in made:
        here.down()


@pytest.fixture(scope="session")
def estiva(tmp_path_factory, image_files):
    """The installation that tests share which leave it as they found it."""
    here = Installation(tmp_path_factory.mktemp("estiva") / "data")
    for file in image_files.values():
        here.estiva("image", "import", str(file))
    here.up()
    yield here
    here.down()
